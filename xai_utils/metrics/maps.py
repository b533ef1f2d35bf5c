"""What a map is like, and how alike two maps are. No encoder is run."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from ..checks import check_finite, check_map, check_number
from ..stats import min_max
from .base import metric


@metric("map-area", higher_is_better=False)
def map_area(encoder, inputs, targets, map: Tensor, *, above: float | None = None) -> Tensor:
    """Mean value of the map, (B,); with `above`, the share of its pixels above that value."""
    map = check_map(map, inputs)
    if above is not None:
        check_number("above", above, -np.inf)
    return (map if above is None else (map > above).float()).mean((1, 2))


@metric("map-tv", higher_is_better=False)
def map_total_variation(encoder, inputs, targets, map: Tensor) -> Tensor:
    """Mean absolute step between neighbouring pixels of the min-max scaled map, (B,): 0 for a flat
    map."""
    m = min_max(check_map(map, inputs))
    return m.diff(dim=1).abs().mean((1, 2)) + m.diff(dim=2).abs().mean((1, 2))


@metric("map-entropy", higher_is_better=False)
def map_entropy(encoder, inputs, targets, map: Tensor) -> Tensor:
    """Entropy of where the map's positive mass lies, over the logarithm of the number of pixels,
    (B,) in 0..1: 1 for a flat map, 0 for a single pixel and for a map without positive values."""
    mass = check_map(map, inputs).clamp(min=0).flatten(1)
    share = mass / mass.sum(1, keepdim=True).clamp(min=1e-30)
    return torch.special.entr(share).sum(1) / np.log(share.shape[1])


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of each pair of maps, (B, ...) and (B, ...) -> (B,) in -1..1; NaN
    where a map is constant.

    NaN entries (behind the end of a text) must lie in the same places and are left out.
    """
    check_pair(a, b)
    values = []
    for one, two in zip(a.flatten(1).double().numpy(), b.flatten(1).double().numpy()):
        there = ~np.isnan(one)
        if not np.array_equal(there, ~np.isnan(two)):
            raise ValueError(
                "a and b must have NaN in the same places: one has values where not both do"
            )
        p, q = (r - r.mean() for r in (rankdata(one[there]), rankdata(two[there])))
        size = np.sqrt((p @ p) * (q @ q))
        values.append(p @ q / size if size > 0 else np.nan)
    return torch.tensor(values, dtype=torch.float32)


def check_pair(a: Tensor, b: Tensor) -> None:
    for name, map in dict(a=a, b=b).items():
        if not isinstance(map, Tensor) or map.ndim < 2:
            raise TypeError(f"{name} must be a tensor of maps (B, ...), got {type(map).__name__}")
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair of min-max scaled maps, (B, H, W) and (B, H, W) -> (B,) in
    -1..1 (Wang et al. 2004): it asks for the same places and not only for the same order."""
    from skimage.metrics import structural_similarity

    check_pair(a, b)
    for name, map in dict(a=a, b=b).items():
        check_finite(name, map)
    pairs = zip(min_max(a).numpy(), min_max(b).numpy())
    return torch.tensor([structural_similarity(p, q, data_range=1.0) for p, q in pairs]).float()
