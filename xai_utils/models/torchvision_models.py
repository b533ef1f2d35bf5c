"""Image encoders of torchvision: its classifiers, a row per family."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models

from ..types import ImageEncoder
from .layout import (
    Layout,
    assemble,
    described,
    find,
    numbered,
    output_of,
    probe_of,
    steps,
    tried,
    vector,
    whole,
)
from .published import one_line
from .wrapping import MORE, chain, checked, frozen

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OTHER_TASKS = {
    "detection": "gives boxes",
    "segmentation": "gives a map of classes",
    "video": "takes films (B, 3, T, H, W)",
    "optical_flow": "takes two pictures",
}


@dataclass(frozen=True, kw_only=True)
class Row(Layout):
    """A Layout, and what turns its output into logits.

    pool  steps as in `after`, between the normalised tokens and the classifier
    head  the name of the classifier: of a chain of layers its last one is the head, and what comes
          before it belongs to the embedding. "": the logits are the embedding
    """

    pool: tuple = ()
    head: str


def vit_stem(model: nn.Module, x: Tensor) -> Tensor:
    z = model._process_input(x)
    z = torch.cat([model.class_token.expand(len(z), -1, -1), z], dim=1)
    return model.encoder.dropout(z + model.encoder.pos_embedding)


def vit_tokens(model: nn.Module) -> tuple[int, tuple[int, int]]:
    return 1, (model.image_size // model.patch_size,) * 2


def class_token(model: nn.Module, z: Tensor) -> Tensor:
    return z[:, 0]


def mean(model: nn.Module, z: Tensor) -> Tensor:
    return z.mean([2, 3])


def relu(model: nn.Module, z: Tensor) -> Tensor:
    return z.relu()


def flat(model: nn.Module, z: Tensor) -> Tensor:
    return z.flatten(1)


def at(name: str, first: int | None = None, last: int | None = None) -> Callable:
    """model -> layers first to last of a chain of layers."""
    return lambda model: list(find(model, name))[first:last]


def mnasnet_stem(model: nn.Module, x: Tensor) -> Tensor:
    return model.layers[:8](x)


def mnasnet_end(model: nn.Module, z: Tensor) -> Tensor:
    return model.layers[14:](z)


def pooled_stages(model: nn.Module) -> list:
    """VGG's and AlexNet's flat list of layers, cut behind every pooling layer."""
    layers = model.features
    ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    return [layers[a:b] for a, b in zip([0, *ends], ends)]


POOL = ("avgpool", flat)
CONVS = Row("features.0", at("features", 1), POOL, head="classifier")
SWIN = Row(
    "features.0", at("features", 1), "norm permute avgpool flatten", channels_last=True, head="head"
)
PLAIN = Row("", pooled_stages, POOL, head="classifier")

TORCHVISION_LAYOUT = {
    "ResNet": Row("conv1 bn1 relu maxpool", numbered("layer", 1, 4), POOL, head="fc"),
    "ConvNeXt": Row("features.0", at("features", 1), "avgpool", head="classifier"),
    "VisionTransformer": Row(
        (vit_stem,),
        "encoder.layers",
        "encoder.ln",
        tokens=vit_tokens,
        pool=(class_token,),
        head="heads",
    ),
    "SwinTransformer": SWIN,
    "EfficientNet": CONVS,
    "MobileNetV2": Row("features.0", at("features", 1), (mean,), head="classifier"),
    "MobileNetV3": CONVS,
    "RegNet": Row("stem", "trunk_output", POOL, head="fc"),
    "VGG": PLAIN,
    "AlexNet": PLAIN,
    "DenseNet": Row(
        "features.conv0 features.norm0 features.relu0 features.pool0",
        at("features", 4, -1),
        ("features.norm5", relu, mean),
        head="classifier",
    ),
    "MNASNet": Row((mnasnet_stem,), at("layers", 8, 14), (mnasnet_end, mean), head="classifier"),
    "ShuffleNetV2": Row("conv1 maxpool", "stage2 stage3 stage4", ("conv5", mean), head="fc"),
    "GoogLeNet": Row(
        "_transform_input conv1 maxpool1 conv2 conv3 maxpool2",
        "inception3a inception3b maxpool3 inception4a inception4b inception4c inception4d"
        " inception4e maxpool4 inception5a inception5b",
        POOL,
        head="fc",
    ),
    "Inception3": Row(
        "_transform_input Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 maxpool1 Conv2d_3b_1x1"
        " Conv2d_4a_3x3 maxpool2",
        "Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b"
        " Mixed_7c",
        POOL,
        head="fc",
    ),
    "MaxVit": Row("stem", "blocks", head="classifier"),
    "SqueezeNet": Row(
        "features.0 features.1 features.2", at("features", 3), ("classifier", flat), head=""
    ),
}


def family(model: nn.Module) -> str | None:
    """The name of a model's row, None for a model that is not a classifier of torchvision."""
    kinds = (c for c in type(model).__mro__ if c.__module__.startswith("torchvision.models."))
    return next((c.__name__ for c in kinds if c.__name__ in TORCHVISION_LAYOUT), None)


def is_torchvision(model) -> bool:
    return isinstance(model, nn.Module) and (family(model) is not None or task(model) is not None)


def task(model: nn.Module) -> str | None:
    """What a torchvision model is for where that is not to classify pictures."""
    places = (c.__module__.removeprefix("torchvision.models.") for c in type(model).__mro__)
    return next((p.split(".")[0] for p in places if p.split(".")[0] in OTHER_TASKS), None)


def wrap_torchvision(model: nn.Module, name: str | None = None) -> ImageEncoder:
    """A classifier of torchvision as an image encoder. Its embedding is the vector that enters its
    last layer; `head` is that layer.

    Such a model does not know which weights it holds. Size, mean and std are those of the weights
    with as many numbers as it has in front of its last layer; without such weights the smallest
    size of the family and ImageNet's mean and std. Raises ValueError for a model that is no
    classifier of pictures.
    """
    other = task(model)
    if other:
        raise ValueError(
            f"model must give one vector per picture, torchvision's {type(model).__name__}"
            f" {OTHER_TASKS[other]}: wrap a classifier, or a function (B, 3, H, W) -> (B, D) of it"
        )
    model = frozen(model)
    row = TORCHVISION_LAYOUT[family(model)]
    body, head = classifier(model, row)
    size, channel_mean, std = recipe(model, head)
    try:
        parts, tokens = assemble(model, row, [*steps(model, row.pool), *body, vector])
        why = ""
    except AttributeError as error:
        parts, tokens, why = None, None, f"it is not built as torchvision's are ({one_line(error)})"
    name, forward = name or f"torchvision/{type(model).__name__}", chain([model, vector])
    encoder = described(model, name, forward, parts, tokens, why, size, channel_mean, std)
    probe = probe_of(encoder, size, model)
    logits = output_of(model, probe, "wrap a classifier")
    if encoder.parts is not None:
        pieces = chain([encoder.parts.stem, *encoder.parts.blocks, encoder.parts.tail])
        if agrees(pieces, head, probe, logits):
            encoder = tried(replace(encoder, whole=pieces, head=head), probe, pieces(probe))
            return checked(encoder, probe)
        encoder = whole(encoder, MORE)
    return checked(replace(encoder, head=nn.Identity()), probe)


@torch.no_grad()
def agrees(pieces: Callable, head: nn.Module | None, probe: Tensor, logits: Tensor) -> bool:
    try:
        h = pieces(probe)
        own = head(h) if head is not None else h
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False
    return own.shape == logits.shape and torch.allclose(own, logits, rtol=1e-3, atol=1e-4)


def classifier(model: nn.Module, row: Row) -> tuple[list, nn.Module | None]:
    """The layers of a classifier in front of its last one, and the last one, None for none."""
    if not row.head:
        return [], nn.Identity()
    module = getattr(model, row.head)
    if isinstance(module, nn.Identity):
        return [], None
    if isinstance(module, nn.Sequential) and len(module) and isinstance(module[-1], nn.Linear):
        return list(module)[:-1], module[-1]
    return [], module


def recipe(model: nn.Module, head: nn.Module | None) -> tuple[tuple[int, int], tuple, tuple]:
    """(H, W), mean and std of the weights that fit a model."""
    own = sum(p.numel() for p in head.parameters()) if head is not None else 0
    body = sum(p.numel() for p in model.parameters()) - own
    width = head.in_features + (head.bias is not None) if isinstance(head, nn.Linear) else None
    rows = published(family(model))
    colours, size = IMAGENET, min(row[2] for row in rows)
    for numbers, classes, crop, *own_colours in rows:
        more = numbers - body
        if more == classes * width if width else more % classes == 0:
            size, colours = crop, own_colours
            break
    if isinstance(
        model, models.MaxVit
    ):  # built for one size, of which its first maps are a quarter
        return tuple(4 * side for side in model.blocks[0].grid_size), *map(tuple, colours)
    return (getattr(model, "image_size", size),) * 2, *map(tuple, colours)


@cache
def published(family: str) -> list[tuple]:
    """The weights that torchvision has for a family: how many numbers, how many classes, the side
    of their pictures, mean and std."""
    builders = ((n, models.get_model_builder(n)) for n in models.list_models(module=models))
    kind = getattr(models, family).__module__
    weights = (w for n, b in builders if b.__module__ == kind for w in models.get_model_weights(n))
    rows = [(w.meta, w.transforms()) for w in weights if w.meta.get("categories")]
    return [
        (meta["num_params"], len(meta["categories"]), way.crop_size[0], way.mean, way.std)
        for meta, way in rows
    ]
