"""open_clip models: both towers, with their splits."""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from ..types import DualEncoder, ImageEncoder, Parts
from .clip_text import text_tower
from .layout import (
    Layout,
    assemble,
    bare,
    described,
    numbered,
    output_of,
    probe_of,
    tried,
    vector,
)
from .vision import timm_parts
from .wrapping import chain, checked, device_of, frozen


def pooled(visual: nn.Module, z: Tensor) -> Tensor:
    return projected(visual, visual._pool(z)[0])


def projected(visual: nn.Module, h: Tensor) -> Tensor:
    return h if visual.proj is None else h @ visual.proj


def readout(visual: nn.Module, z: Tensor) -> Tensor:
    """Normalised tokens (B, T, width) -> (B, D)."""
    return projected(visual, visual._global_pool(z)[0])


def grid(visual: nn.Module) -> tuple[int, tuple[int, int]]:
    return 1, tuple(visual.grid_size)


OPEN_CLIP_LAYOUT = {
    "VisionTransformer": Layout("_embeds", "transformer.resblocks", tokens=grid),
    "ModifiedResNet": Layout("stem", numbered("layer", 1, 4), "attnpool"),
}


def wrap_open_clip(model: nn.Module, tokenizer, name: str = "open_clip") -> DualEncoder:
    """An open_clip model and its tokenizer as a dual encoder. Embeddings are as the towers give
    them, not normalised."""
    model = frozen(model)
    device = device_of(model)
    return DualEncoder(
        image_tower(model, f"{name} image"),
        text_tower(model, tokenizer, device, f"{name} text"),
        name,
    )


def image_tower(model: nn.Module, name: str) -> ImageEncoder:
    visual = bare(model.visual)
    cfg = getattr(visual, "preprocess_cfg", {})
    size = visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    mean, std = tuple(cfg.get("mean", (0, 0, 0))), tuple(cfg.get("std", (1, 1, 1)))
    parts, tokens, why = image_parts(visual)
    forward = chain([visual, vector])
    encoder = described(visual, name, forward, parts, tokens, why, size, mean, std)
    probe = probe_of(encoder, size, visual)
    h = output_of(visual, probe, "build its image tower with pooling")
    return checked(tried(encoder, probe, h), probe)


def image_parts(visual: nn.Module) -> tuple[Parts | None, tuple | None, str]:
    """The pieces of an image tower, its (extra tokens, (h, w)), or why it has none."""
    kind = type(visual).__name__
    if kind == "TimmModel":
        return timm_parts(bare(visual.trunk), [visual.trunk.forward_head, visual.head, vector])
    if kind not in OPEN_CLIP_LAYOUT:
        return None, None, f"the kit has no row for open_clip's {kind}"
    row, finish = OPEN_CLIP_LAYOUT[kind], [vector]
    if kind == "VisionTransformer":
        normed_first = visual.attn_pool is None and not visual.final_ln_after_pool
        row = replace(row, after="ln_post") if normed_first else row
        finish = [partial(readout if normed_first else pooled, visual), vector]
    return *assemble(visual, row, finish), ""
