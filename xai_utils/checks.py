"""Checks that ask for no kind of encoder: each raises one error that names the argument, what came
and what was wanted."""

from collections.abc import Iterable

import torch
from torch import Tensor


def check_images(images: Tensor, name: str, size: tuple[int, int] | None) -> None:
    """Images (B, 3, H, W) for the encoder `name`, which takes `size` (H, W); None: any size."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a (B, 3, H, W) tensor, got {type(images).__name__}: use"
            " encoder.transform(pil)[None]"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"images must have shape (B, 3, H, W), got {tuple(images.shape)}")
    if size is not None and tuple(images.shape[-2:]) != size:
        raise ValueError(f"{name} takes images of {size}, got {tuple(images.shape[-2:])}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point, got {images.dtype}: use encoder.transform(pil)[None]"
        )


def check_texts(texts: list[str]) -> None:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a list of strings, got {texts!r}")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is an empty list")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}] must be a string, got {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"texts[{i}] is empty")


def check_finite(name: str, value: Tensor) -> None:
    if (
        value.numel() and not torch.stack(value.aminmax()).isfinite().all()
    ):  # nine times faster than to ask every value
        raise ValueError(f"{name} holds NaN or infinite values")


def check_number(
    name: str, value: float, low: float, *, integer: bool = False, above: bool = False
) -> None:
    kind = int if integer else (int, float)
    good = (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and (value > low if above else value >= low)
    )
    if not good or value != value or value == float("inf"):
        wanted = (
            f"{'an integer' if integer else 'a number'} {'above' if above else 'of at least'} {low}"
        )
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_map(map: Tensor, inputs: Tensor) -> Tensor:
    if not isinstance(map, Tensor):
        raise TypeError(
            f"map must be a (B, H, W) tensor, got {type(map).__name__}: use attribution.map"
        )
    wanted = (len(inputs), *inputs.shape[-2:])
    if tuple(map.shape) != wanted:
        raise ValueError(
            f"map must have shape {wanted}, one value per input pixel, got {tuple(map.shape)}"
        )
    if not torch.isfinite(map).all():
        raise ValueError("map holds NaN or infinite values")
    return map.float()


def check_text_map(map: Tensor, lengths: list[int]) -> list[Tensor]:
    """A text map (B, T), NaN behind the end of each text, as B vectors of that many scores."""
    if not isinstance(map, Tensor):
        raise TypeError(
            f"map must be a (B, T) tensor, got {type(map).__name__}: use attribution.map"
        )
    if tuple(map.shape) != (len(lengths), max(lengths)):
        raise ValueError(
            f"map must have shape {(len(lengths), max(lengths))}, one score per token, got"
            f" {tuple(map.shape)}"
        )
    rows = [row[:n].float().cpu() for row, n in zip(map, lengths)]
    if not all(torch.isfinite(row).all() for row in rows):
        raise ValueError("map holds NaN or infinite values on tokens of its text")
    return rows
