"""Numbers about numbers: the scale of a map, means and other statistics with intervals, AUC.

Every interval is a 95 % one and is computed without chance, so that it is the same on every
machine. `python benchmarks/levels.py` measures how often the intervals hold the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, stats
from torch import Tensor

LEVEL = 0.95
WIDEST = 1.5  # of Student's interval: Hall's has no bound for few and very skewed values


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


@dataclass(frozen=True)
class Estimate:
    """A number estimated from a sample, with its 95 % interval.

    n  the independent units that it rests on: clusters where values come in some
    p  number -> two-sided p-value of the hypothesis that this is the true value; below 0.05
       outside the interval
    """

    mean: float
    low: float
    high: float
    n: int
    p: Callable[[float], float]

    @property
    def ends(self) -> tuple[float, float, float]:
        return self.mean, self.low, self.high


def estimate(values, *, clusters=None, among: Sequence[float] | None = None) -> Estimate:
    """The mean of a sample with an interval that keeps its level for few and for skewed values.

    values    (n,) one a sample. For a difference, the paired differences
    clusters  (n,) what each comes from, such as its picture: samples of one cluster count as one
    among     the only values that there can be, (0, yes) or (-yes, 0, yes); (): any; None: found
              out, for 0 and 1, 0 and 100, and the differences of such values
    Of yes/no values: Wilson's (1927) score interval, of their differences Tango's (1998), for as
    many trials as there are clusters. Of others: at each end the wider of Student's t interval and
    of Hall's (1992) for skewed values, which may lie 1.5 times as far from the mean and no
    further. (nan, nan) for a single cluster, a point for values that are all alike.
    Raises ValueError for an empty or non-finite list and for clusters of another length.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be a non-empty list of numbers, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; leave out the samples that have none")
    groups = labels_of(clusters, len(values))
    n = groups.max() + 1
    if among is None:
        among = choices(values)
        if among and max(among) not in (1, 100):  # of these, differences too can be all above 0
            among = -max(among), 0.0, max(among)
    if n == 1:
        nan = float("nan")
        return Estimate(float(values.mean()), nan, nan, 1, lambda bound: nan)
    if among:
        scale = max(among)
        shares = [cluster_means(np.maximum(v / scale, 0), groups) for v in (values, -values)]
        score = share_score if min(among) >= 0 else difference_score
        return scored(score, *(float(s.mean()) for s in shares), int(n), scale)
    return of_units(cluster_means(values, groups))


def labels_of(clusters, n: int) -> np.ndarray:
    """(n,) the number of each value's cluster."""
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"clusters must name that of each of {n} values, got {len(clusters)}")
    return np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]


def cluster_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """One value a cluster, whose mean is that of all values. Where clusters are of one size, these
    are their means; otherwise a cluster counts by its size (the linearised ratio estimator)."""
    size, total = np.bincount(groups), np.bincount(groups, values)
    mean = values.mean()
    return mean + (total - mean * size) / size.mean()


def choices(values: np.ndarray) -> tuple[float, ...] | None:
    """What yes/no values, or differences of such, can be; None for others: 0 and one magnitude, of
    which 1 and 100 are known without a 0 beside them."""
    values = np.asarray(values, float)
    sizes = np.unique(np.abs(values))
    yes = sizes[-1] if len(sizes) else 0.0
    if yes == 0 or len(sizes) > 2 or (sizes[0] != 0 and (len(sizes) > 1 or yes not in (1, 100))):
        return None
    return (-float(yes), 0.0, float(yes)) if values.min() < 0 else (0.0, float(yes))


def of_units(values: np.ndarray) -> Estimate:
    """Of independent values: at each end the wider of Student's and Hall's interval."""
    n, mean, spread = len(values), values.mean(), values.std(ddof=1)
    if not spread > 1e-12 * np.abs(values).max():
        return Estimate(
            *[float(mean)] * 3, n, lambda bound: 1.0 if bound == mean else 2.0 ** (1 - n)
        )
    skew = float(stats.skew(values))
    end = stats.t.ppf((1 + LEVEL) / 2, n - 1)
    student, hall = end / np.sqrt(n), hall_inverse(np.array([-end, end]), skew, n)
    below, above = np.clip((hall[1], -hall[0]), student, WIDEST * student)

    def p(bound: float) -> float:
        away = (mean - bound) / spread
        by_t, by_hall = np.sqrt(n) * away, hall_score(away, skew, n)
        both = min(abs(by_t), abs(by_hall)) if by_t * by_hall > 0 else 0.0
        return float(2 * stats.t.sf(max(both, abs(by_t) / WIDEST), n - 1))

    low, high = mean - spread * below, mean + spread * above
    return Estimate(float(mean), float(low), float(high), n, p)


def hall_score(away, skew: float, n: int):
    """Hall's transformation of (mean - true value) / standard deviation: free of skewness, and
    monotone."""
    a = skew / 3
    return np.sqrt(n) * (away + a * away**2 + a**2 * away**3 / 3 + skew / (6 * n))


def hall_inverse(score, skew: float, n: int):
    a, straight = skew / 3, score / np.sqrt(n) - skew / (6 * n)
    return straight if abs(a) < 1e-9 else (np.cbrt(1 + 3 * a * straight) - 1) / a


def share_score(share: float, _: float, n: int, bound: float) -> float:
    """Wilson's z: how far a share lies from `bound`, in standard errors under the bound."""
    return (share - bound) / max(np.sqrt(bound * (1 - bound) / n), 1e-12)


def difference_score(more: float, less: float, n: int, bound: float) -> float:
    """Tango's z: how far the difference of two paired shares lies from `bound`; more, less: the
    shares of pairs with a difference above and below 0."""
    b = -more - less + (2 - more + less) * bound
    rest = (np.sqrt(max(b * b + 8 * less * bound * (1 - bound), 0)) - b) / 4
    variance = max((2 * rest + bound * (1 - bound)) / n, 1e-24)
    return (more - less - bound) / np.sqrt(variance)


def scored(score: Callable, more: float, less: float, n: int, scale: float) -> Estimate:
    """The estimate whose interval holds all bounds that `score` does not reject."""
    z, mean = stats.norm.ppf((1 + LEVEL) / 2), more - less
    bottom = 0.0 if score is share_score else -1.0

    def end(edge: float, side: int) -> float:
        def beyond(bound: float) -> float:
            return side * score(more, less, n, bound) - z

        inside = mean + (edge - mean) * 1e-9
        if abs(edge - mean) < 1e-12 or beyond(edge) < 0:
            return edge
        return float(optimize.brentq(beyond, edge, inside))

    def p(bound: float) -> float:
        return float(2 * stats.norm.sf(abs(score(more, less, n, bound / scale))))

    return Estimate(scale * mean, scale * end(bottom, 1), scale * end(1.0, -1), n, p)


def mean_interval(values, *, clusters=None) -> tuple[float, float, float]:
    """Mean, low and high end of its 95 % interval: `estimate` as three numbers."""
    return estimate(values, clusters=clusters).ends


def jackknife(
    statistic: Callable, *values, clusters=None, within: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """Any smooth statistic of paired values, with an interval from leaving out each unit in turn
    (Tukey 1958): the interval of `estimate` over the pseudo-values.

    statistic  (*values) -> a number, such as `auc`, `ratio` or `spearman`
    values     arrays or tensors (n, ...), with one row a sample
    clusters   (n,) what each row comes from; whole clusters are left out
    within     what the statistic can be at least and at most, such as (0, 1) for `auc`: the
               interval ends there
    The interval is (nan, nan) where a statistic is not finite, and for a single cluster.
    Raises ValueError for values of different lengths, and for none.
    """
    lengths = {len(v) for v in values}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"values must have one length above 0, got {sorted(lengths)}")
    groups = labels_of(clusters, lengths.pop())
    n = int(groups.max()) + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(statistic(*values))
        rest = (groups != k for k in range(n)) if n > 1 else ()
        without = np.array([statistic(*(v[kept] for v in values)) for kept in rest], float)
    if n == 1 or not np.isfinite([whole, *without]).all():
        nan = float("nan")
        return Estimate(whole, nan, nan, n, lambda bound: nan)
    if np.ptp(without) == 0 and np.isfinite(within).all():
        return without_spread(whole, n, *within)
    found = of_units(n * whole - (n - 1) * without)
    shift = whole - found.mean  # the jackknife's own bias correction is left out
    low, high = np.clip((found.low + shift, found.high + shift), *within)
    return Estimate(whole, float(low), float(high), n, lambda bound: found.p(bound - shift))


def without_spread(value: float, n: int, least: float, most: float) -> Estimate:
    """Of a bounded statistic that no unit changes, such as a perfect AUC: Wilson's interval of as
    many yes/no trials on that range."""
    size = most - least
    e = scored(share_score, (value - least) / size, 0.0, n, 1.0)
    ends = (least + size * v for v in (e.low, e.high))
    return Estimate(value, *ends, n, lambda bound: e.p((bound - least) / size))


def slope(x, y, *, clusters=None) -> Estimate:
    """Slope of the least-squares line of y over x, (n,) and (n,)."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or not np.ptp(x) > 0:
        raise ValueError(f"x and y must be two lists, x not constant, got {x.shape} and {y.shape}")

    def least_squares(x: np.ndarray, y: np.ndarray) -> float:
        away = x - x.mean()
        return (away * (y - y.mean())).sum() / (away * away).sum()

    return jackknife(least_squares, x, y, clusters=clusters)


def ratio(above: np.ndarray, below: np.ndarray) -> float:
    """Sum over sum, which of two lists (n,) is the ratio of their means."""
    return float(above.sum() / below.sum())


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two lists (n,); NaN where one is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def kendall_c(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-c (Stuart 1953) of two lists (n,): how far a number orders pairs as their
    grades do, of which there are few, with 1 for the same order and 0 for chance. Caption scores
    are held against people by it (CLIPScore). NaN where one list is constant."""
    return float(stats.kendalltau(x, y, variant="c").statistic)


def rank_agreement(x, y) -> Estimate:
    """Spearman's correlation of two lists (n,), n at least 4, with Bonett and Wright's (2000)
    interval by Fisher's transformation.

    Of a perfect order the interval is that of half a step less: two neighbours half exchanged.
    NaN, without interval, where one list is constant.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    if x.shape != y.shape or x.ndim != 1 or n < 4:
        raise ValueError(f"x and y must be two lists of at least 4, got {x.shape} and {y.shape}")
    if not (np.ptp(x) > 0 and np.ptp(y) > 0):
        nan = float("nan")
        return Estimate(nan, nan, nan, n, lambda bound: nan)
    r = spearman(x, y)
    most = 1 - 6 / (n**3 - n)
    z = np.arctanh(np.clip(r, -most, most))
    error = np.sqrt((1 + np.clip(r, -most, most) ** 2 / 2) / (n - 3))
    width = stats.norm.ppf((1 + LEVEL) / 2) * error
    low, high = np.tanh(z - width), np.tanh(z + width)

    def p(bound: float) -> float:
        return float(2 * stats.norm.sf(abs(z - np.arctanh(np.clip(bound, -most, most))) / error))

    perfect = abs(r) > most
    ends = (
        (float(low), 1.0) if perfect and r > 0 else (-1.0, float(high)) if perfect else (low, high)
    )
    return Estimate(r, *map(float, ends), n, p)


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
