"""Pairs that do not belong together, and parts of pairs by how well they do (AdaIB, App. C)."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..checks import check_number, check_seed
from .samples import Sample

THIRDS = ("noisy", "borderline", "clean")


def derangement(n: int, seed: int, names: Sequence[Collection[str]] | None = None) -> np.ndarray:
    """A permutation, (n,): the caption of pair `p[i]` goes to the picture of pair i, and none keeps
    its own.

    names  what is said of each pair's picture, n collections of strings. Pairs that share one are
           not swapped with each other, so that neither an equal caption nor one of another thing in
           the same picture comes back as a mismatch
    Raises ValueError where no permutation does it, for instance where one caption is on more than
    half of the pairs.
    """
    check_number("n", n, 2, integer=True)
    check_seed(seed)
    if names is not None and (len(names) != n or any(isinstance(own, str) for own in names)):
        raise ValueError(f"names must be {n} collections of strings")
    cost = np.random.default_rng(seed).random((n, n))
    cost[clashes(n, names)] = np.inf
    try:
        return linear_sum_assignment(cost)[1]
    except ValueError as error:
        raise ValueError(
            f"these {n} captions cannot be swapped so that none fits its new picture"
        ) from error


def clashes(n: int, names: Sequence[Collection[str]] | None) -> np.ndarray:
    """(n, n) bool: pairs that share a name, and every pair with itself."""
    clash, seen = np.eye(n, dtype=bool), {}
    for i, own in enumerate(names or []):
        for name in own:
            seen.setdefault(name, []).append(i)
    for same in seen.values():
        clash[np.ix_(same, same)] = True
    return clash


def mismatched(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The same pictures, in the same order, each with the caption of another that shares no thing
    and no caption with it. `source` still names the picture and `captions` are still its own,
    `matched` is False, and nobody has judged the new pair."""
    for i, s in enumerate(samples):
        if not isinstance(s, Sample):
            raise TypeError(f"samples[{i}] must be a Sample, got {type(s).__name__}")
    names = [{s.caption, *s.captions, *(t.caption for t in s.things)} for s in samples]
    swap = derangement(len(samples), seed, names)
    return [
        replace(
            s,
            id=f"{s.id}~{samples[j].id}",
            caption=samples[j].caption,
            things=(),
            label=None,
            source=s.source or s.id,
            matched=False,
            judgements=(),
        )
        for s, j in zip(samples, swap)
    ]


def thirds(similarities) -> np.ndarray:
    """ "noisy", "borderline" or "clean" for every pair, (n,): the lower, middle and upper third of
    the similarities.

    The model's own cosine between image and text. Sizes differ by one at most; of equal values, the
    first counts as lower.
    """
    values = np.asarray(similarities, float)
    if values.ndim != 1 or len(values) < 3 or not np.isfinite(values).all():
        raise ValueError(f"similarities must be at least 3 finite numbers, got {values.shape}")
    labels = np.empty(len(values), dtype="<U10")
    for name, part in zip(THIRDS, np.array_split(np.argsort(values, kind="stable"), 3)):
        labels[part] = name
    return labels


def graded_thirds(grades, scale: tuple[float, float]) -> np.ndarray:
    """ "noisy", "borderline" or "clean" for every pair, (n,): the lower, middle and upper third of
    the scale on which people graded it.

    grades  (n,), such as the `grade` of samples
    scale   (lowest, highest) grade that there can be: (1, 4) for Flickr8k's experts
    The parts differ in size, for pairs of one grade are never parted; a grade at a cut counts
    upward. Raises ValueError for a grade outside the scale.
    """
    values, (low, high) = np.asarray(grades, float), scale
    check_number("the highest grade of scale", high, low, above=True)
    if values.ndim != 1 or not ((values >= low) & (values <= high)).all():
        raise ValueError(f"grades must be a list of numbers from {low} to {high}")
    steps = np.round((values - low) / (high - low) * 3, 9)  # a mean of judgements is not exact
    return np.array(THIRDS)[np.minimum(steps.astype(int), 2)]
