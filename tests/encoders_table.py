"""Draws docs/encoders.md from the kit's own tables: `python tests/encoders_table.py`."""

from collections.abc import Iterator
from pathlib import Path

import families
import planted
import test_hf_image
import test_text_encoders
from torch import nn

from xai_utils.models import wrap
from xai_utils.models.attention import attention_blocks
from xai_utils.models.clip import OPEN_CLIP_LAYOUT, image_parts
from xai_utils.models.hf_image import LAYOUT, is_dual
from xai_utils.models.hf_text import FAMILIES, text_encoder
from xai_utils.models.layout import Layout
from xai_utils.models.timm_families import NO_SPLIT, TIMM_LAYOUT
from xai_utils.models.torchvision_models import TORCHVISION_LAYOUT
from xai_utils.types import Encoder, ImageEncoder

FILE = Path(__file__).parents[1] / "docs" / "encoders.md"
COLUMNS = "library", "family", "wrap", "split", "attention", "text"
ALONE, WITH_TEXT = "`xu.wrap(model)`", "`xu.wrap(model, tokenizer=...)`"
INTRO = """# Which encoders the kit knows

`xu.wrap` takes any module or function (B, 3, H, W) -> (B, D), and methods that need only the input
work with all of them. The families below are known from inside as well: their embedding is the
vector that enters the classifier, `head` is the classifier, and `split(layer)` cuts them in two.

- **family**: the name of the class, which `type(model).__name__` gives, or of one it derives from
- **split**: what the latents are, tokens (B, T, width) or maps (B, C, h, w); or why there is no
  split. A single model can still differ from its family: `encoder.no_split` then says in what
- **attention**: whether the methods that read attention work, such as `chefer` and `legrad`
- **text**: whether there is a text encoder beside the image encoder, or alone

A model that is not in the table, or one without a split, can be described by `Parts` of its own.
DataParallel, DistributedDataParallel, averaged and compiled models are taken out of their wrapper.
This file is drawn by `python tests/encoders_table.py`; a test compares the two.
"""


def timm_rows() -> Iterator[tuple[str, ...]]:
    for family in sorted([*TIMM_LAYOUT, *NO_SPLIT], key=str.lower):
        layout = TIMM_LAYOUT.get(family)
        split = latents(layout) if layout else f"no: {NO_SPLIT[family]}"
        seen = attention(layout, lambda: wrap(families.timm_model(family)))
        yield "timm", family, ALONE, split, seen, "no"


def torchvision_rows() -> Iterator[tuple[str, ...]]:
    for family, layout in sorted(TORCHVISION_LAYOUT.items(), key=lambda row: row[0].lower()):
        seen = attention(layout, lambda: wrap(families.torchvision_model(family)))
        yield "torchvision", family, ALONE, latents(layout), seen, "no"


def open_clip_rows() -> Iterator[tuple[str, ...]]:
    for family, layout in OPEN_CLIP_LAYOUT.items():
        seen = attention(layout, lambda: parts_alone(families.open_clip_model(family).visual))
        yield "open_clip", family, WITH_TEXT, latents(layout), seen, "yes"
    yield "open_clip", "TimmModel", WITH_TEXT, "as timm's", "as timm's", "yes"


def transformers_image_rows() -> Iterator[tuple[str, ...]]:
    built = {}
    for name in test_hf_image.MODELS:
        encoder = test_hf_image.encoder_of(name)
        tower = test_hf_image.model_of(name)
        kinds = {type(m).__name__ for m in tower.modules()} & set(LAYOUT)
        built |= {kind: (encoder, is_dual(tower)) for kind in kinds - set(built)}
    for family in sorted(LAYOUT, key=str.lower):
        encoder, dual = built[family]
        cut = "tokens" if encoder.tokens else "maps"
        seen, text = readable(encoder), "yes" if dual else "no"
        yield "transformers", family, WITH_TEXT if dual else ALONE, cut, seen, text


def transformers_text_rows() -> Iterator[tuple[str, ...]]:
    built = {}
    for name in test_text_encoders.MODELS:
        model, tokenizer = planted.seeded(test_text_encoders.MODELS[name][0])
        tower = getattr(model, "text_model", model)
        built.setdefault(type(tower).__name__, text_encoder(model, tokenizer, name=name))
    for family in sorted(FAMILIES, key=str.lower):
        yield "transformers", family, WITH_TEXT, "tokens", readable(built[family]), "alone"


LIBRARIES = [
    timm_rows,
    torchvision_rows,
    open_clip_rows,
    transformers_image_rows,
    transformers_text_rows,
]


def latents(layout: Layout) -> str:
    return "tokens" if layout.tokens else "maps"


def attention(layout: Layout | None, build) -> str:
    """Whether attention can be read from a member of the family, told by trying."""
    if layout is None or not layout.tokens:
        return "no"
    return readable(build())


def readable(encoder: Encoder) -> str:
    try:
        attention_blocks(encoder)
    except ValueError:
        return "no"
    return "yes"


def parts_alone(visual: nn.Module) -> ImageEncoder:
    """An image tower as an encoder, without its text tower."""
    parts, tokens, _ = image_parts(visual)
    size = visual.image_size
    return ImageEncoder(
        name="tower",
        device=visual.conv1.weight.device,
        whole=visual,
        parts=parts,
        tokens=tokens,
        image_size=tuple(size),
        transform=None,
    )


def table() -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(row for rows in LIBRARIES for row in rows())]
    return INTRO + "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(table())
