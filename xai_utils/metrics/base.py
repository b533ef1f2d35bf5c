"""What all metrics share: what they say of themselves, the check of a map, sharing of passes."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

from ..types import Encoder, check_call

LEVELS, SIDES = ("map", "set"), ("image", "text")
NEEDS = ("masks", "others", "whole")  # of single maps
SET_NEEDS = (  # of all cases together
    *NEEDS,
    *("model", "images", "texts", "image_map", "text_map"),  # ROAR+
    *("embeddings", "captions", "right"),  # ranks of captions
    *("losses", "matched"),  # matched pairs against mismatched ones
)
SHARED: ContextVar[dict | None] = ContextVar("SHARED", default=None)


def metric(
    slug: str,
    *,
    higher_is_better: bool,
    level: str = "map",
    needs: tuple[str, ...] = (),
    sides: tuple[str, ...] = ("image",),
):
    """Say what a metric is.

    slug              its name in reference.csv
    higher_is_better  its direction
    level             "map": every map is judged alone; "set": all cases together, because the value
                      of one depends on the others
    needs             keywords that `score` and `evaluate` fill in: "masks" and "others" (B, H, W)
                      bool, where the named thing and the other things are; "whole" (B, D), the
                      untouched inputs' embeddings, known already. Those of a set: `SET_NEEDS`
    sides             what it judges: maps of an "image", of a "text"
    """
    if level not in LEVELS or not set(sides) <= set(SIDES) or not set(needs) <= set(SET_NEEDS):
        raise ValueError(f"{slug}: level {level!r}, needs {needs!r} or sides {sides!r} is unknown")

    def mark(function: Callable) -> Callable:
        function.slug, function.higher_is_better = slug, higher_is_better
        function.level, function.needs, function.sides = level, needs, sides
        return function

    return mark


@contextmanager
def sharing() -> Iterator[None]:
    """Within the block, what a `shared` function has computed is not computed again."""
    token = SHARED.set({})
    try:
        yield
    finally:
        SHARED.reset(token)


def shared(function: Callable) -> Callable:
    """A step that several metrics begin with: within `sharing`, one result for the very same
    arguments (the same objects, equal options)."""

    @functools.wraps(function)
    def once(encoder, inputs, targets, map, *options, **named):
        memory = SHARED.get()
        if memory is None:
            return function(encoder, inputs, targets, map, *options, **named)
        same = tuple(id(v) for v in (encoder, inputs, targets, map))
        more = tuple(id(v) if isinstance(v, Tensor) else v for v in (*options, *named.values()))
        key = (function, *same, *named, *more)
        if key not in memory:  # the arguments are kept too, so that their ids stay theirs
            arguments = (encoder, inputs, targets, map, options, named)
            memory[key] = function(encoder, inputs, targets, map, *options, **named), arguments
        return memory[key][0]

    return once


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


def min_max(map: Tensor) -> Tensor:
    """Each map scaled to [0, 1] by itself, (B, ...) -> (B, ...). A constant map has no scale: it is
    cut to [0, 1]."""
    axes = tuple(range(1, map.ndim))
    low, high = map.amin(axes, keepdim=True), map.amax(axes, keepdim=True)
    return torch.where(high > low, (map - low) / (high - low).clamp(min=1e-30), map.clamp(0, 1))


def mean_interval(values, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % percentile-bootstrap interval of per-sample values. For a difference, pass
    paired differences.

    The interval is (nan, nan) for a single value.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be a non-empty list of numbers, got shape {values.shape}")
    if len(values) == 1:
        return float(values[0]), float("nan"), float("nan")
    if np.ptp(values) == 0:
        return (float(values[0]),) * 3
    rng = np.random.default_rng(seed)
    interval = bootstrap(
        (values,), np.mean, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return float(values.mean()), float(interval.low), float(interval.high)
