"""Cases: what is explained, with what is known of it. Cases -> explain -> score.

c = xu.cases("conse-lite0", xu.load_dataset("scenes", n=5), target="things")
maps = xu.explain({"p-ibisa": p_ibisa, "random": random_map}, c)
table = xu.score(maps, c, [confidence_drop, iou])
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .batching import row_groups
from .checks import check_counts, check_seed
from .data import Sample, SampleError, load_dataset
from .match import match
from .metrics.base import SIDES
from .models import load_model
from .types import DualEncoder, Encoder, ImageEncoder

TARGETS = ("caption", "things", "self", "predicted", "label")


@dataclass(frozen=True, kw_only=True)
class Cases:
    """n inputs of one encoder with their targets; made by `cases`, never changed.

    model     the model; encoder: the tower of it whose inputs are explained
    dataset   name of the data set; modality: "image" or "text"
    inputs    (n, 3, H, W), or n strings
    targets   (n, D) embeddings, or (n,) class indices
    samples   the n samples that the cases come from, for drawing
    names     n names, each once; of the k-th thing of a sample "id/k"
    clusters  n names of the pictures behind the cases: cases of one picture are not independent
    texts     what each target is called: the text, the class, or "self"
    masks     (n, H, W) bool: where the named thing is (all things of the sample, if the target
              names no single one), exact or its box; None where a sample has no things
    others    (n, H, W) bool: where the sample's other things are; None unless the target is one
    matched   (n,) bool, False for samples whose caption was swapped
    seed      of everything random that is done to these cases
    """

    model: DualEncoder | ImageEncoder
    encoder: Encoder
    dataset: str
    modality: str
    inputs: Tensor | list[str]
    targets: Tensor
    samples: tuple[Sample, ...]
    names: list[str]
    clusters: list[str]
    texts: list[str]
    masks: Tensor | None
    others: Tensor | None
    matched: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def embeddings(self) -> Tensor:
        """The untouched inputs' embeddings, (n, D), computed at the first use, one by one on a CPU
        so that they do not depend on the rest of the batch."""
        with torch.no_grad():
            parts = row_groups(self.encoder, len(self), 1, 64)
            return torch.cat([self.encoder(picked(self.inputs, rows)) for rows in parts])

    @cached_property
    def match(self) -> Tensor:
        """The untouched match with the target, (n,): cosine, or the class's probability."""
        with torch.no_grad():
            return match(self.encoder, self.embeddings, self.targets).float().cpu()

    @cached_property
    def images(self) -> Tensor:
        """The pictures of all cases as the image tower takes them, (n, 3, H, W)."""
        if isinstance(self.inputs, Tensor):
            return self.inputs
        return torch.stack([self.model.image.transform(s.image) for s in self.samples])

    @cached_property
    def places(self) -> Tensor | None:
        """(n, k, H, W) bool: where each of a sample's things is, whichever of them the target
        names; None unless all samples have as many."""
        counts = {len(s.things) for s in self.samples}
        if len(counts) > 1 or counts == {0}:
            return None
        return torch.stack([s.masks(tuple(self.images.shape[-2:])) for s in self.samples])

    @cached_property
    def tokens(self) -> list[list[str]]:
        """The words that the columns of a text map belong to; for texts alone."""
        return self.encoder.tokenize(self.inputs)[2]

    def take(self, picks: Sequence[int]) -> "Cases":
        """Some of the cases, by their indices, in that order; what is known of them goes along."""
        picks = [int(i) for i in picks]
        lists = ("samples", "names", "clusters", "texts")
        some = {k: type(v)(v[i] for i in picks) for k in lists if (v := getattr(self, k))}
        tensors = ("targets", "masks", "others", "matched")
        some |= {k: v[picks] for k in tensors if (v := getattr(self, k)) is not None}
        fewer = replace(self, inputs=picked(self.inputs, picks), **some)
        for name in ("embeddings", "match", "images"):
            if name in vars(self):
                vars(fewer)[name] = vars(self)[name][picks]
        return fewer


def cases(
    model,
    dataset: Sequence[Sample] | str,
    *,
    modality: str = "image",
    target: str = "caption",
    n: int | None = None,
    seed: int = 0,
) -> Cases:
    """Cases of a model and a data set.

    model     a name for `load_model`, a dual encoder or an image encoder
    dataset   a list of Sample, a Dataset or anything else with a length whose items are Samples,
              or a name for `load_dataset`
    modality  "image": pictures are explained; "text": captions, for their picture's embedding
    target    "caption": the sample's caption; "things": each thing's caption, one case each; and
              for images alone "self": the image's own embedding; "predicted", "label": a class
              index
    n         the first n samples at most; None: all
    seed      of everything random that is done to these cases
    A sample that cannot be read is left out, and a warning says how many are. Raises ValueError for
    a target that the model or a sample does not have, before any embedding is computed.
    """
    model = load_model(model) if isinstance(model, str) else model
    check_task(model, modality, target)
    if n is not None:
        check_counts(n=n)
    check_seed(seed)
    dataset = checked_dataset(dataset, n)
    count = len(dataset) if n is None else min(n, len(dataset))
    samples = read_first(dataset, count)
    picks = [(s, k) for s in samples for k in things_of(s, target)]
    if not picks:
        raise ValueError("dataset has no cases: its samples have no things")
    return gather(model, picks, name_of_set(dataset), modality, target, seed)


def checked_dataset(dataset, n: int | None = None) -> Sequence[Sample]:
    """Something with a length whose items are Samples; of a name, what `load_dataset` has.

    What is a list or a tuple is looked through at once; other sets make their samples when they are
    asked for, and are not asked here.
    """
    if isinstance(dataset, str):
        dataset = load_dataset(dataset, n=n)
    listed = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not listed or isinstance(dataset, bytes) or hasattr(dataset, "keys"):
        raise TypeError(
            "dataset must be a list of Sample, a Dataset or a name for load_dataset, got"
            f" {type(dataset).__name__}"
        )
    for i, sample in enumerate(dataset if isinstance(dataset, (list, tuple)) else ()):
        check_sample(sample, i)
    if not len(dataset):
        raise ValueError("dataset is empty")
    return dataset


def read_first(dataset, count: int) -> list[Sample]:
    """The first `count` samples without those that cannot be read, of which a warning tells.
    Raises SampleError where none can."""
    samples, lost = [], []
    for i in range(count):
        try:
            samples.append(check_sample(dataset[i], i))
        except SampleError as error:
            lost.append(error)
    if lost:
        said = f"{len(lost)} of {count} samples of {name_of_set(dataset)} are left out: {lost[0]}"
        if not samples:
            raise SampleError(said)
        warnings.warn(said, stacklevel=3)
    return samples


def check_sample(sample, i: int) -> Sample:
    if not isinstance(sample, Sample):
        raise TypeError(
            f"dataset[{i}] must be a Sample, got {type(sample).__name__}: Sample(id, image,"
            " caption)"
        )
    return sample


def name_of_set(dataset) -> str:
    return getattr(dataset, "name", None) or type(dataset).__name__


class Names:
    """Names of cases, each once: "id", "id/k" for the k-th thing, "id#2" where it comes again."""

    def __init__(self):
        self.times: Counter[str] = Counter()

    def of(self, sample: Sample, thing: int | None) -> str:
        name = sample.id if thing is None else f"{sample.id}/{thing}"
        self.times[name] += 1
        return name if self.times[name] == 1 else f"{name}#{self.times[name]}"


def things_of(sample: Sample, target: str) -> list[int | None]:
    return list(range(len(sample.things))) if target == "things" else [None]


def gather(model, picks, dataset: str, modality: str, target: str, seed: int) -> Cases:
    """Cases of (sample, index of the thing or None) pairs; targets are embedded one by one."""
    image = model.image if isinstance(model, DualEncoder) else model
    for sample, _ in picks:
        if target == "label" and sample.label is None:
            raise ValueError(f'{sample.id} has no label: target="label" cannot be')
    x = torch.stack([image.transform(s.image) for s, _ in picks])
    texts = [s.caption if k is None else s.things[k].caption for s, k in picks]
    names = Names()
    masks, others = regions(picks, tuple(x.shape[-2:]))
    with torch.no_grad():
        if modality == "text":
            encoder, inputs = model.text, texts
            targets = torch.cat([image(one[None]) for one in x])
        else:
            encoder, inputs = image, x
            targets, texts = image_targets(model, image, x, picks, texts, target)
    return Cases(
        model=model,
        encoder=encoder,
        dataset=dataset,
        modality=modality,
        inputs=inputs,
        targets=targets,
        samples=tuple(s for s, _ in picks),
        names=[names.of(s, k) for s, k in picks],
        clusters=[s.source or s.id for s, _ in picks],
        texts=texts,
        masks=masks,
        others=others,
        matched=torch.tensor([s.matched for s, _ in picks]),
        seed=seed,
    )


def join(parts: list[Cases]) -> Cases:
    """Cases of one model, modality and seed, one after another."""
    if len(parts) == 1:
        return parts[0]
    lists = ("samples", "names", "clusters", "texts")
    some = {k: type(getattr(parts[0], k))(v for p in parts for v in getattr(p, k)) for k in lists}
    for k in ("targets", "masks", "others", "matched", "inputs"):
        own = [getattr(p, k) for p in parts]
        tensors = all(isinstance(v, Tensor) for v in own)
        some[k] = torch.cat(own) if tensors else None
    if some["inputs"] is None:
        some["inputs"] = [text for p in parts for text in p.inputs]
    return replace(parts[0], **some)


def image_targets(model, image, x, picks, texts, target) -> tuple[Tensor, list[str]]:
    """(targets, what they are called); one by one, so that rounding does not depend on the rest."""
    if target in ("caption", "things"):
        return torch.cat([model.encode_text([text]) for text in texts]), texts
    if target == "label":
        classes = torch.tensor([s.label for s, _ in picks])
        return classes, [str(c) for c in classes.tolist()]
    own = torch.cat([image(one[None]) for one in x])
    if target == "self":
        return own, ["self"] * len(own)
    classes = image.head(own).argmax(1)
    return classes, [str(c) for c in classes.tolist()]


def regions(picks, size: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
    """(masks, others) of the cases, None where a sample has no things, or a case names no one."""
    if not all(s.things for s, _ in picks):
        return None, None
    places = [s.masks(size) for s, _ in picks]  # (things, H, W) each
    masks = [m.any(0) if k is None else m[k] for m, (_, k) in zip(places, picks)]
    if any(k is None for _, k in picks):
        return torch.stack(masks), None
    rest = [torch.cat([m[:k], m[k + 1 :]]).any(0) for m, (_, k) in zip(places, picks)]
    return torch.stack(masks), torch.stack(rest)


def picked(inputs, rows):
    return inputs[rows] if isinstance(inputs, Tensor) else [inputs[int(i)] for i in rows]


def check_task(model, modality: str, target: str) -> None:
    if not isinstance(model, (DualEncoder, ImageEncoder)):
        raise TypeError(
            f"model must be a name, a dual encoder or an image encoder, got {type(model).__name__}"
        )
    if modality not in SIDES:
        raise ValueError(f'modality must be "image" or "text", got {modality!r}')
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    words = modality == "text" or target in ("caption", "things")
    if words and not isinstance(model, DualEncoder):
        raise ValueError(
            f'{model.name} has no text tower: target must be "self", "predicted" or "label"'
        )
    if modality == "text" and target not in ("caption", "things"):
        raise ValueError(f'texts are judged with target="caption" or "things", got {target!r}')
    image = model.image if isinstance(model, DualEncoder) else model
    if target in ("predicted", "label") and image.head is None:
        raise ValueError(f"{model.name} has no classifier head: target={target!r} cannot be")
