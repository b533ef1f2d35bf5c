"""What all metrics share: their name tag, the check of a map, min-max scaling, intervals."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..arguments import check_call
from ..types import Encoder


def metric(slug: str, *, higher_is_better: bool):
    """Mark a function as a metric: its name in reference.csv and its direction."""

    def mark(function: Callable) -> Callable:
        function.slug, function.higher_is_better = slug, higher_is_better
        return function

    return mark


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


def check_metric(
    encoder: Encoder, inputs, targets: Tensor, map: Tensor, *, classes: bool = True
) -> Tensor:
    """The arguments of a metric that runs an image encoder; the map as float32."""
    check_call(encoder, inputs, targets, classes=classes)
    return check_map(map, inputs)
