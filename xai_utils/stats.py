"""Numbers about numbers: the scale of a map, the mean of many values, intervals, AUC."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def min_max(map: Tensor) -> Tensor:
    """Each map scaled to [0, 1] by itself, (B, ...) -> (B, ...). A constant map has no scale: it is
    cut to [0, 1]."""
    axes = tuple(range(1, map.ndim))
    low, high = map.amin(axes, keepdim=True), map.amax(axes, keepdim=True)
    return torch.where(high > low, (map - low) / (high - low).clamp(min=1e-30), map.clamp(0, 1))


def ranked(map: Tensor) -> Tensor:
    """Each map's values replaced by their ranks, (B, H, W) -> (B, H, W) in 0..1, the largest last:
    all that a metric sees which takes pixels away in order."""
    flat = map.flatten(1)
    return (flat.argsort(1).argsort(1) / flat.shape[1]).view(map.shape)


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


def slope_interval(x, y, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Slope of the least-squares line of y over x, (n,) and (n,), and its 95 % percentile-bootstrap
    interval: pairs are drawn again, draws of one x only are left out."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or not np.ptp(x) > 0:
        raise ValueError(f"x and y must be two lists, x not constant, got {x.shape} and {y.shape}")

    def slope(x: np.ndarray, y: np.ndarray) -> float:
        away = x - x.mean()
        return (away * (y - y.mean())).sum() / (away * away).sum()

    return bootstrap_interval(slope, x, y, resamples=resamples, seed=seed)


def bootstrap_interval(
    statistic: Callable, *values, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of paired values with its 95 % percentile-bootstrap interval.

    statistic  (*values) -> a number, such as `auc` or the ratio of two sums
    values     arrays or tensors (n, ...) with one row for each unit that is drawn. What belongs
               to one picture is one row, or the same row of each, and so stays together
    Draws of which the statistic is not finite are left out. The interval is (nan, nan) where none
    is left, and for a single unit.
    Raises ValueError for values of different lengths, and for none.
    """
    lengths = {len(v) for v in values}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"values must have one length above 0, got {sorted(lengths)}")
    (n,) = lengths
    draws = np.random.default_rng(seed).integers(0, n, (resamples if n > 1 else 0, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(statistic(*values))
        found = np.array([statistic(*(v[rows] for v in values)) for rows in draws], float)
    found = found[np.isfinite(found)]
    if not len(found):
        return whole, float("nan"), float("nan")
    low, high = np.percentile(found, [2.5, 97.5])
    return whole, float(low), float(high)


def auc(low, high) -> float:
    """Area under the ROC curve: P(a value of `high` is above one of `low`) + P(they are equal) / 2.

    low, high  (m,) and (n,) numbers
    0.5 is chance, 1 where all of `high` are above all of `low`. NaN where one is empty or holds
    NaN.
    """
    low, high = np.sort(np.asarray(low, float)), np.asarray(high, float)
    if not len(low) or not len(high) or np.isnan(low[-1]) or np.isnan(high).any():
        return float("nan")  # sorted, a NaN comes last
    below, not_above = (low.searchsorted(high, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(low)))
