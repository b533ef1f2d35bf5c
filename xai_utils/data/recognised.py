"""Which stamps does a dual encoder know by name, and of which pictures is a classifier sure? Maps
for what a network does not know say nothing about the method."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F

from ..checks import check_choice, check_counts, check_number
from ..types import DualEncoder, ImageEncoder
from .cache import prepared
from .samples import Dataset, Sample, readable
from .stamps import SPLITS, stamps, table


@torch.no_grad()
def recognised(model: DualEncoder, *, split: str = "test", top: int = 5) -> list[str]:
    """Ids of the split's stamps whose own caption is among the `top` of all stamps' captions, each
    stamp alone on grey.

    The ranks are kept in the cache, under what the model makes of the first stamp and of its
    caption, bit for bit.
    """
    if not isinstance(model, DualEncoder):
        raise TypeError(f"model must be a dual encoder, got {type(model).__name__}")
    check_choice("split", split, SPLITS)
    check_counts(top=top)
    rows, shown = table(), stamps(split, 0, None)
    captions = sorted({row["caption"] for row in rows})
    key = hashlib.sha256(
        json.dumps([model.name, split, [(row["id"], row["caption"]) for row in rows]]).encode()
    )
    for h in (embed(model, shown[:1]), model.encode_text([shown[0].caption])):
        key.update(h.cpu().numpy().tobytes())

    def build(folder: Path) -> None:
        (folder / "ranks.json").write_text(json.dumps(ranks(model, shown, captions)))

    folder = prepared(f"recognised-{key.hexdigest()[:16]}", build)
    return [i for i, rank in json.loads((folder / "ranks.json").read_text()).items() if rank < top]


def ranks(model: DualEncoder, shown: Dataset, captions: list[str]) -> dict[str, int]:
    """How many captions are nearer to each stamp than its own, by the stamp's id."""
    texts, found = F.normalize(model.encode_text(captions), dim=-1), {}  # (captions, D)
    for i in range(0, len(shown), 32):
        samples = shown[i : i + 32]
        similar = embed(model, samples) @ texts.T  # (B, captions)
        own = similar[range(len(samples)), [captions.index(s.things[0].caption) for s in samples]]
        found |= zip((s.id for s in samples), (similar > own[:, None]).sum(1).tolist())
    return found


def embed(model: DualEncoder, samples) -> torch.Tensor:
    return F.normalize(
        model.encode_image(torch.stack([model.image.transform(s.image) for s in samples])), dim=-1
    )


@torch.no_grad()
def confident(
    encoder: ImageEncoder, dataset: Iterable[Sample], n: int, *, least: float
) -> list[Sample]:
    """The first n samples whose leading class has a probability of at least `least`, whatever the
    class; fewer where the data set holds no more.

    encoder  an image encoder with a head
    dataset  is looked at in its own order, one picture at a time, and no further than needed; one
             of a `Dataset` that cannot be read is passed over, with a warning
    Raises ValueError for an encoder without a head.
    """
    check_number("n", n, 0, integer=True)
    check_number("least", least, 0)
    if encoder.head is None:
        raise ValueError(f"{encoder.name} has no classifier head: it is sure of no class")
    found, samples = [], readable(dataset)
    while len(found) < n and (sample := next(samples, None)):
        x = encoder.transform(sample.image)[None]
        if encoder.head(encoder(x)).softmax(1).max() >= least:
            found.append(sample)
    return found
