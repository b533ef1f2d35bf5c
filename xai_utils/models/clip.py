"""open_clip models: both towers, with their splits."""

import torch
from torch import nn

from ..images import image_transform
from ..types import DualEncoder, ImageEncoder, Parts, TextEncoder, words
from .text import weighted
from .vision import timm_parts
from .wrapping import chain, checked, device_of, dtype_of, frozen, probe_image


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


def image_tower(model, device, name) -> ImageEncoder:
    visual = model.visual
    cfg = getattr(visual, "preprocess_cfg", {})
    size = (
        tuple(visual.image_size)
        if isinstance(visual.image_size, (tuple, list))
        else (visual.image_size,) * 2
    )
    mean, std = tuple(cfg.get("mean", (0, 0, 0))), tuple(cfg.get("std", (1, 1, 1)))
    parts, tokens = image_parts(visual)
    encoder = ImageEncoder(
        name=name,
        device=device,
        dtype=dtype_of(model),
        whole=model.encode_image,
        parts=parts,
        tokens=tokens,
        image_size=size,
        transform=image_transform(size, mean, std),
        mean=mean,
        std=std,
        channels_last=tokens is None,
        weights=dict(visual.named_parameters()),
    )
    return checked(encoder, probe_image(size, model))


def image_parts(visual) -> tuple[Parts | None, tuple | None]:
    kind = type(visual).__name__
    if kind == "VisionTransformer":

        def tail(z):
            pooled, _ = visual._pool(z)
            return pooled if visual.proj is None else pooled @ visual.proj

        return Parts(visual._embeds, tuple(visual.transformer.resblocks), tail), (
            1,
            tuple(visual.grid_size),
        )
    if kind == "ModifiedResNet":
        return (
            Parts(
                visual.stem,
                (visual.layer1, visual.layer2, visual.layer3, visual.layer4),
                visual.attnpool,
            ),
            None,
        )
    if kind == "TimmModel":
        return timm_parts(visual.trunk, chain([visual.trunk.forward_head, visual.head]))
    return None, None


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
