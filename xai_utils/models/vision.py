"""Image encoders: timm CNNs and ViTs, and any module or function that turns images into vectors."""

import copy
from dataclasses import replace

import timm
import torch
from torch import nn

from ..checks import check_number
from ..images import image_transform
from ..types import Encoder, ImageEncoder, Parts

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


def frozen(module: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters need no gradient. It shares the weights' memory;
    `module` stays as it was."""
    shared = {id(p): nn.Parameter(p.data, requires_grad=False) for p in module.parameters()}
    shared |= {id(b): b for b in module.buffers()}
    return copy.deepcopy(module, shared).eval()


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


def probe_image(size: tuple[int, int], model: nn.Module) -> torch.Tensor:
    return (
        torch.linspace(-1, 1, 3 * size[0] * size[1])
        .reshape(1, 3, *size)
        .to(next(model.parameters()))
    )


@torch.no_grad()
def checked(encoder: Encoder, probe) -> Encoder:
    """Run the model whole and in pieces on `probe`; pieces that give something else are dropped, D
    is noted."""
    h = encoder.whole(probe)
    if encoder.parts is None:
        return replace(encoder, dim=h.shape[1])
    if torch.allclose(encoder(probe), h, rtol=1e-4, atol=1e-5):
        return replace(encoder, dim=h.shape[1])
    return replace(
        encoder,
        dim=h.shape[1],
        parts=None,
        no_split="its forward pass does more than its stem, blocks and head show",
    )


def beit_tokens(model, z):
    """Patches (B, h w, width) -> tokens (B, 1 + h w, width): timm's BEiT does this in the middle of
    its forward pass."""
    z = torch.cat([model.cls_token.expand(len(z), -1, -1), z], dim=1)
    return model.pos_drop(z if model.pos_embed is None else z + model.pos_embed)


def vgg_stages(features: nn.Sequential) -> list:
    """VGG's flat list of layers, cut behind every pooling layer."""
    ends = [i + 1 for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    return [features[a:b] for a, b in zip([0, *ends], ends)]


def chain(steps: list):
    def run(z):
        for step in steps:
            z = step(z)
        return z

    return run


def rescaled(encoder: ImageEncoder, unit: float) -> ImageEncoder:
    """The same encoder with its embedding divided by `unit`.

    No cosine and no ranking by distance changes, but a mean squared error does: P-IBISA's
    align="mse" weighs it against the area of the mask, so that the same beta means something else
    in every unit. The head still takes the embedding that comes out. Raises ValueError for a unit
    that is not above 0.
    """
    check_number("unit", unit, 0, above=True)
    parts = encoder.parts
    if parts is not None:
        last = parts.last and (parts.last[0], chain([parts.last[1], lambda e: e / unit]))
        parts = replace(parts, tail=chain([parts.tail, lambda e: e / unit]), last=last)
    return replace(
        encoder,
        name=f"{encoder.name}, embedding / {unit:.3g}",
        whole=chain([encoder.whole, lambda e: e / unit]),
        parts=parts,
        head=encoder.head and chain([lambda e: e * unit, encoder.head]),
    )


def wrap_callable(
    f, *, name=None, image_size=None, transform=None, mean=(0, 0, 0), std=(1, 1, 1)
) -> ImageEncoder:
    """Any module or function (B, 3, H, W) -> (B, D). No split: only methods that need nothing but
    the input work."""
    is_module = isinstance(f, nn.Module)
    f = frozen(f) if is_module else f
    device = device_of(f) if is_module else torch.device("cpu")
    return ImageEncoder(
        name=name or getattr(f, "__name__", type(f).__name__),
        device=device,
        whole=f,
        image_size=image_size,
        transform=transform or image_transform(image_size or (224, 224), mean, std),
        mean=mean,
        std=std,
        weights=dict(f.named_parameters()) if is_module else {},
    )


def device_of(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
