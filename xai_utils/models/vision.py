"""Image encoders of timm."""

from dataclasses import replace
from functools import partial

import timm
import torch
from timm.models._features import FeatureDictNet, FeatureGetterNet, FeatureHookNet
from timm.models._features_fx import FeatureGraphNet
from torch import Tensor, nn

from ..types import ImageEncoder, Parts
from .layout import (
    MeanOfHeads,
    PointwiseHead,
    assemble,
    described,
    output_of,
    probe_of,
    tried,
    vector,
    whole,
)
from .published import one_line
from .timm_families import NO_SPLIT, TIMM_LAYOUT
from .wrapping import chain, checked, frozen

FEATURES_ONLY = FeatureDictNet, FeatureHookNet, FeatureGetterNet, FeatureGraphNet
SIZE = (
    "if it is built for another size, say so with timm.create_model(NAME,"
    " pretrained_cfg_overlay=dict(input_size=(3, H, W)))"
)
POOLED = (
    "build it with pooling, timm.create_model(NAME, num_classes=0), or give it some with model."
    'reset_classifier(0, "avg")'
)


def is_timm(model) -> bool:
    if isinstance(model, FEATURES_ONLY):
        return True
    timms = any(c.__module__.startswith("timm.") for c in type(model).__mro__)
    needs = "forward_features", "forward_head", "get_classifier"
    return isinstance(model, nn.Module) and timms and all(hasattr(model, n) for n in needs)


def wrap_timm(model: nn.Module, name: str | None = None) -> ImageEncoder:
    """A timm model as an image encoder. Its embedding is the vector that enters the classifier;
    `head` is the rest. Where timm shows no such vector, the embedding is the logits.

    Raises ValueError for a model without one vector per picture.
    """
    if isinstance(model, FEATURES_ONLY):
        raise ValueError(
            "model is made with features_only=True and gives a list of maps: build it without,"
            " timm.create_model(NAME); its split gives every stage's features"
        )
    model = frozen(model)
    if hasattr(model, "set_grad_checkpointing"):
        model.set_grad_checkpointing(False)  # it trades time for memory, which `chunk` bounds
    cfg = timm.data.resolve_model_data_config(model)
    size, mean, std = image_size(model, cfg), tuple(cfg["mean"]), tuple(cfg["std"])
    finish = [partial(model.forward_head, pre_logits=True), vector]
    parts, tokens, why = timm_parts(model, finish)
    architecture = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
    name = name or f"timm/{architecture}"
    forward = chain([model.forward_features, *finish])
    encoder = described(model, name, forward, parts, tokens, why, size, mean, std)
    probe = probe_of(encoder, size, model)
    logits, h = output_of(model, probe, POOLED, SIZE), pre_logits(encoder, probe)
    if h is None:
        encoder = whole(encoder, "timm shows no vector in front of its classifier")
        return checked(replace(encoder, whole=chain([model, vector]), head=nn.Identity()), probe)
    encoder = checked(tried(encoder, probe, h), probe)
    return replace(encoder, head=classifier_head(model, h, logits))


def image_size(model: nn.Module, cfg: dict) -> tuple[int, int]:
    """(H, W) that a model is built for."""
    built = (getattr(module, "img_size", None) for module in model.modules())
    size = next(filter(None, built), cfg["input_size"][1:])
    return (size, size) if isinstance(size, int) else tuple(size)


@torch.no_grad()
def pre_logits(encoder: ImageEncoder, probe: Tensor) -> Tensor | None:
    """The vector (1, D) in front of the classifier, None where a model shows none."""
    try:
        h = encoder.whole(probe)
    except Exception:  # whatever its own code says
        return None
    return h if isinstance(h, Tensor) and h.ndim == 2 else None


@torch.no_grad()
def classifier_head(model: nn.Module, h: Tensor, logits: Tensor) -> nn.Module | None:
    """The layers from embeddings to logits; None without any, or where the logits do not come from
    the embedding alone. A normalisation in front of the classifier belongs to them."""
    last = model.get_classifier()
    if isinstance(last, tuple):
        choices = [MeanOfHeads(last)]
    else:
        choices = [getattr(model, "head", None), last, getattr(last, "fc", None)]
    for head in choices if model.num_classes else []:
        if not isinstance(head, nn.Module) or isinstance(head, nn.Identity):
            continue
        head = PointwiseHead(head) if isinstance(head, nn.Conv2d) else head
        try:
            own = head(h)
        except Exception:  # a layer of another width, or one that pools maps
            continue
        if own.shape == logits.shape and torch.allclose(own, logits, rtol=1e-4, atol=1e-4):
            return head
    return None


def family(model: nn.Module) -> str | None:
    """The name of a model's row."""
    names = (c.__name__ for c in type(model).__mro__)
    return next((n for n in names if n in TIMM_LAYOUT or n in NO_SPLIT), None)


def timm_parts(model: nn.Module, finish: list) -> tuple[Parts | None, tuple | None, str]:
    """The pieces of a timm model, ending in the steps `finish`, and for token models its (extra
    tokens, (h, w)); where it has none, why."""
    name = family(model)
    if name is None:
        return None, None, f"the kit has no row for timm's {type(model).__name__}"
    why = NO_SPLIT.get(name) or TIMM_LAYOUT[name].unless(model)
    if why:
        return None, None, why
    try:
        return *assemble(model, TIMM_LAYOUT[name], finish), ""
    except AttributeError as error:
        return None, None, f"it is not built as timm's {name}s are ({one_line(error)})"
