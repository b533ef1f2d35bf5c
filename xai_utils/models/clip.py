"""open_clip models: both towers, with their splits."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ..images import image_transform
from ..types import DualEncoder, ImageEncoder, Parts, TextEncoder, words
from .layout import (
    Layout,
    assemble,
    bare,
    input_dtype,
    numbered,
    output_of,
    probe_of,
    tried,
    vector,
)
from .text import weighted
from .vision import timm_parts
from .wrapping import chain, checked, device_of, dtype_of, frozen


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
        image_tower(model, device, f"{name} image"),
        text_tower(model, tokenizer, device, f"{name} text"),
        name,
    )


def image_tower(model: nn.Module, device: torch.device, name: str) -> ImageEncoder:
    visual = bare(model.visual)
    cfg = getattr(visual, "preprocess_cfg", {})
    size = visual.image_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    mean, std = tuple(cfg.get("mean", (0, 0, 0))), tuple(cfg.get("std", (1, 1, 1)))
    parts, tokens, why = image_parts(visual)
    encoder = ImageEncoder(
        name=name,
        device=device,
        dtype=input_dtype(visual),
        whole=chain([visual, vector]),
        parts=parts,
        no_split=why,
        tokens=tokens,
        image_size=size,
        transform=image_transform(size, mean, std),
        mean=mean,
        std=std,
        channels_last=tokens is None,
        weights=dict(visual.named_parameters()),
    )
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


def text_tower(model, tokenizer, device, name) -> TextEncoder:
    text = getattr(model, "text", model)  # CustomTextCLIP keeps its text tower apart, CLIP does not
    pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
    causal = getattr(text, "attn_mask", None)
    known = (
        causal is not None and pool in ("argmax", "eos") and getattr(text, "cls_emb", None) is None
    )
    known = known and hasattr(text, "transformer") and not getattr(text, "use_pad_mask", False)
    end = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)

    def tokenize(texts):
        ids = tokenizer(list(texts)).to(device)
        last = (
            ids.argmax(1) if pool == "argmax" else (ids == end).int().argmax(1)
        )  # where CLIP reads the text off
        length = int(last.max()) + 1
        valid = torch.arange(length, device=device) <= last[:, None]
        ids = ids[:, :length]  # causal attention: what comes after the end changes nothing
        tokens = [
            [spell(tokenizer, i) for i in row[own].tolist()] for row, own in zip(ids, words(valid))
        ]
        return ids, valid, tokens

    def stem(ids, weight=None, blank=None):
        x = weighted(text.token_embedding, ids, weight, blank)
        return x + text.positional_embedding[: ids.shape[1]].to(x.dtype)

    def block(layer):
        return lambda z, valid: layer(z, attn_mask=causal[: z.shape[1], : z.shape[1]])

    def tail(z, valid):
        z = text.ln_final(z)
        h = z[torch.arange(len(z), device=z.device), valid.sum(1) - 1]  # (B, width)
        if text.text_projection is None:
            return h
        return (
            text.text_projection(h)
            if isinstance(text.text_projection, nn.Module)
            else h @ text.text_projection
        )

    layers = tuple(text.transformer.resblocks) if known else ()
    encoder = TextEncoder(
        name=name,
        device=device,
        dtype=dtype_of(model),
        whole=lambda texts: model.encode_text(tokenizer(list(texts)).to(device)),
        parts=Parts(stem, tuple(map(block, layers)), tail, layers) if known else None,
        no_split=(
            f"its text tower ({type(text).__name__}, {pool} pooling) is not a causal CLIP tower"
        ),
        tokenize=tokenize,
        blank=getattr(tokenizer, "eot_token_id", 0),
        causal=known,  # CLIP pads with its end-of-text token
        weights={
            n: p for n, p in model.named_parameters() if not n.startswith(("visual.", "logit_"))
        },
    )
    return checked(encoder, ["a photo of a cat"])


def spell(tokenizer, token: int) -> str:
    return tokenizer.decode([token]).strip()
