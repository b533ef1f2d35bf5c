"""open_clip models: both towers, with their splits."""

from torch import nn

from ..images import image_transform
from ..types import DualEncoder, ImageEncoder, Parts
from .clip_text import text_tower
from .vision import timm_parts
from .wrapping import chain, checked, device_of, frozen, probe_image


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
