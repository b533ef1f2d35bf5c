"""The arguments of a method or metric, checked by the kind of encoder that they are for."""

from torch import Tensor

from .checks import check_finite, check_images, check_map, check_texts
from .types import Encoder, ImageEncoder, TextEncoder


def check_call(
    encoder: Encoder, inputs, targets: Tensor, *, texts: bool = False, classes: bool = False
) -> None:
    """The arguments of a method or metric, before any computing.

    texts    a text encoder with its list of strings will do as well as an image encoder
    classes  (B,) class indices will do as targets, where the encoder has a head, as well as (B, D)
             embeddings
    """
    if texts and isinstance(encoder, TextEncoder):
        check_texts(inputs)
    elif not isinstance(encoder, ImageEncoder):
        wanted = "an encoder" if texts else "an image encoder"
        raise TypeError(
            f"encoder must be {wanted} from load_model or wrap, got {type(encoder).__name__}"
        )
    else:
        check_images(inputs, encoder.name, encoder.image_size)
        check_finite("inputs", inputs)
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a (B, D) tensor, got {type(targets).__name__}")
    if classes and targets.ndim == 1:
        return check_classes(encoder, inputs, targets)
    if (
        targets.ndim != 2
        or len(targets) != len(inputs)
        or encoder.dim not in (None, targets.shape[1])
    ):
        wanted = (len(inputs), encoder.dim or "D")
        raise ValueError(
            f"targets must be embeddings of shape {wanted} for {encoder.name}, got"
            f" {tuple(targets.shape)}"
        )
    if not targets.is_floating_point():
        raise TypeError(f"targets must be floating point, got {targets.dtype}")
    check_finite("targets", targets)


def check_classes(encoder: ImageEncoder, inputs: Tensor, targets: Tensor) -> None:
    if getattr(encoder, "head", None) is None:
        raise ValueError(
            f"{encoder.name} has no classifier head: targets must be (B, D) embeddings, got"
            f" {tuple(targets.shape)}"
        )
    if targets.is_floating_point() or len(targets) != len(inputs):
        raise ValueError(
            f"class targets must be {len(inputs)} integers, got {targets.dtype}"
            f" {tuple(targets.shape)}"
        )
    classes = getattr(encoder.head, "out_features", None)
    if targets.min() < 0 or (classes and targets.max() >= classes):
        raise ValueError(
            f"class targets must lie in 0..{classes - 1 if classes else '...'}, got"
            f" {targets.tolist()}"
        )


def check_metric(
    encoder: Encoder, inputs, targets: Tensor, map: Tensor, *, classes: bool = True
) -> Tensor:
    """The arguments of a metric that runs an image encoder; the map as float32."""
    check_call(encoder, inputs, targets, classes=classes)
    return check_map(map, inputs)
