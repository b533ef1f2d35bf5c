"""Image encoders of timm: CNNs and ViTs."""

from dataclasses import replace

import timm
import torch
from torch import nn

from ..images import image_transform
from ..types import ImageEncoder, Parts
from .wrapping import chain, checked, device_of, dtype_of, frozen, probe_image

# Where a timm family keeps its stem, its blocks and what follows them, in the order of its own
# forward pass.
# `forward_head(z, pre_logits=True)` comes last everywhere: the vector that enters the classifier.
TIMM_LAYOUT = {
    "VisionTransformer": ("patch_embed _pos_embed patch_drop norm_pre", "blocks", "norm"),
    "Beit": ("patch_embed", "blocks", "norm"),  # its tokens are made in `beit_tokens`
    "EfficientNet": ("conv_stem bn1", "blocks", "conv_head bn2"),
    "MobileNetV3": ("conv_stem bn1", "blocks", ""),
    "ResNet": ("conv1 bn1 act1 maxpool", "layer1 layer2 layer3 layer4", ""),
    "ConvNeXt": ("stem", "stages", "norm_pre"),
    "RegNet": ("stem", "s1 s2 s3 s4", "final_conv"),
    "ByobNet": ("stem", "stages", "final_conv"),
    "VGG": ("", "features", ""),
}


def wrap_timm(model: nn.Module, name: str | None = None) -> ImageEncoder:
    """A timm model as an image encoder. Its embedding is the vector that enters the classifier;
    `head` is the rest."""
    model = frozen(model)
    cfg = timm.data.resolve_model_data_config(model)
    size, mean, std = tuple(cfg["input_size"][1:]), tuple(cfg["mean"]), tuple(cfg["std"])
    if hasattr(model, "patch_embed"):
        size = tuple(getattr(model.patch_embed, "img_size", None) or size)
    name = name or f"timm/{model.pretrained_cfg.get('architecture', type(model).__name__)}"
    parts, tokens = timm_parts(model, lambda z: model.forward_head(z, pre_logits=True))
    encoder = ImageEncoder(
        name=name,
        device=device_of(model),
        dtype=dtype_of(model),
        parts=parts,
        tokens=tokens,
        image_size=size,
        whole=lambda x: model.forward_head(model.forward_features(x), pre_logits=True),
        transform=image_transform(size, mean, std),
        mean=mean,
        std=std,
        channels_last=tokens is None,
        weights=dict(model.named_parameters()),
    )
    probe = probe_image(size, model)
    return replace(checked(encoder, probe), head=classifier_head(model, probe))


@torch.no_grad()
def classifier_head(model: nn.Module, probe) -> nn.Module | None:
    """The layer from embedding to logits; None without one, or where the logits do not come from
    the embedding alone."""
    head = model.get_classifier()
    if not model.num_classes or not isinstance(head, nn.Module):
        return None
    h = model.forward_head(model.forward_features(probe), pre_logits=True)
    return head if torch.allclose(head(h), model(probe), rtol=1e-4, atol=1e-4) else None


def timm_parts(model: nn.Module, finish) -> tuple[Parts | None, tuple | None]:
    """The pieces of a timm model, ending in `finish`, and for a ViT its (extra tokens, (h, w));
    None where unknown."""
    family = next((c.__name__ for c in type(model).__mro__ if c.__name__ in TIMM_LAYOUT), None)
    if (
        family is None or getattr(model, "rel_pos_bias", None) is not None
    ):  # a bias that BEiT's blocks share
        return None, None
    stem, blocks, after = (
        [getattr(model, n) for n in names.split()] for names in TIMM_LAYOUT[family]
    )
    if family == "VGG":
        blocks = vgg_stages(blocks[0])
    elif len(blocks) == 1:
        blocks = list(blocks[0])
    if family == "Beit":
        stem.append(lambda z: beit_tokens(model, z))
    is_vit = family == "VisionTransformer"
    tokens = (
        (model.num_prefix_tokens, tuple(model.patch_embed.grid_size))
        if is_vit or family == "Beit"
        else None
    )
    last = (chain(after), finish) if is_vit else None
    return Parts(chain(stem), tuple(blocks), chain([*after, finish]), last=last), tokens


def beit_tokens(model, z):
    """Patches (B, h w, width) -> tokens (B, 1 + h w, width): timm's BEiT does this in the middle of
    its forward pass."""
    z = torch.cat([model.cls_token.expand(len(z), -1, -1), z], dim=1)
    return model.pos_drop(z if model.pos_embed is None else z + model.pos_embed)


def vgg_stages(features: nn.Sequential) -> list:
    """VGG's flat list of layers, cut behind every pooling layer."""
    ends = [i + 1 for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    return [features[a:b] for a, b in zip([0, *ends], ends)]
