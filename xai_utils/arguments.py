"""The arguments of a method or metric, checked by the kind of encoder that they are for."""

import torch
from torch import Tensor

from .checks import check_finite, check_images, check_map, check_texts
from .types import Encoder, ImageEncoder, TextEncoder


def check_call(
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    texts: bool = False,
    classes: bool = False,
) -> tuple:
    """The arguments of a method or metric, before any computing: the inputs and targets as they are
    worked with, images and embeddings on the encoder's device in its `working_dtype`, texts as a
    list.

    texts    a text encoder with its list of strings will do as well as an image encoder
    classes  (B,) class indices will do as targets, where the encoder has a head, as well as (B, D)
             embeddings
    """
    if texts and isinstance(encoder, TextEncoder):
        inputs = check_texts(inputs)
    elif not isinstance(encoder, ImageEncoder):
        wanted = "an encoder" if texts else "an image encoder"
        raise TypeError(
            f"encoder must be {wanted} from load_model or wrap, got {type(encoder).__name__}"
        )
    else:
        check_images(inputs, encoder.name, encoder.image_size)
        check_finite("inputs", inputs)
        inputs = inputs.detach().to(encoder.device, encoder.working_dtype(inputs))
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a (B, D) tensor, got {type(targets).__name__}")
    if classes and targets.ndim == 1:
        return inputs, check_classes(encoder, len(inputs), targets)
    given = inputs if isinstance(inputs, Tensor) else targets
    h = check_embeddings("targets", targets, encoder, len(inputs))
    return inputs, h.to(encoder.working_dtype(given))


def check_embeddings(name: str, h: Tensor, encoder: Encoder, rows: int) -> Tensor:
    """`rows` embeddings of the encoder's, (rows, D), on its device."""
    if not isinstance(h, Tensor):
        raise TypeError(f"{name} must be a (B, D) tensor, got {type(h).__name__}")
    if h.ndim != 2 or len(h) != rows or encoder.dim not in (None, h.shape[1]):
        raise ValueError(
            f"{name} must be embeddings of shape {(rows, encoder.dim or 'D')} for {encoder.name},"
            f" got {tuple(h.shape)}"
        )
    if not h.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {h.dtype}")
    if h.shape[1] < 2:
        raise ValueError(
            f"{name} have {h.shape[1]} dimensions, where a cosine needs two or more: of one it is"
            " only ever 1 or -1. A single logit is explained as class 0 of a head"
        )
    check_finite(name, h)
    if empty := (h == 0).all(1).nonzero()[:, 0].tolist():
        raise ValueError(f"{name}[{empty[0]}] is 0 everywhere: it has no direction and no cosine")
    return h.detach().to(encoder.device)


def check_whole(whole: Tensor | None, encoder: Encoder, inputs) -> Tensor:
    """The untouched inputs' embeddings, (B, D): those that are known, else from one more pass."""
    if whole is None:
        return encoder(inputs)
    return check_embeddings("whole", whole, encoder, len(inputs))


def check_classes(encoder: ImageEncoder, rows: int, targets: Tensor) -> Tensor:
    """(rows,) class indices of the encoder's head, on its device."""
    if getattr(encoder, "head", None) is None:
        raise ValueError(
            f"{encoder.name} has no classifier head: targets must be (B, D) embeddings, got"
            f" {tuple(targets.shape)}"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"class targets must be integers, got {targets.dtype}")
    if len(targets) != rows:
        raise ValueError(f"class targets must be {rows} integers, got {tuple(targets.shape)}")
    classes = encoder.classes
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(f"class targets must lie in 0..{classes - 1}, got {targets.tolist()}")
    return targets.detach().to(encoder.device).long()


def check_metric(
    encoder: Encoder, inputs, targets: Tensor, map: Tensor, *, classes: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of a metric that runs an image encoder, as they are worked with; the map as
    float32."""
    inputs, targets = check_call(encoder, inputs, targets, classes=classes)
    return inputs, targets, check_map(map, inputs)
