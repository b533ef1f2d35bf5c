"""Confidence drop and increase: does the part of the image that the map keeps still match the target?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..types import ImageEncoder, check_call
from .base import check_map, metric, min_max

PROTOCOLS = ("m2ib", "raw")


@metric("conf-drop", higher_is_better=False)
def confidence_drop(encoder: ImageEncoder, inputs: Tensor, targets: Tensor, map: Tensor, *, protocol: str = "m2ib") -> Tensor:
    """100 max(0, o - s), (B,) in 0..200 (M2IB Eq. 17; P-IBISA, NIB and AdaIB take it over). Lower is better.

    o = cos(f(x), h), s = cos(f(x map), h): the normalised image is multiplied by the map, so 0 is the mean colour.
    inputs (B, 3, H, W), targets (B, D) embeddings, map (B, H, W).
    protocol  "m2ib": each map is first scaled to [0, 1] by its own minimum and maximum, as M2IB's paper has it; "raw":
              the map as the method left it, which must lie in [0, 1]
    The mean over samples is what the papers print. A map of ones has drop 0, a map of zeros nearly 100 o.
    """
    kept, whole = similarities(encoder, inputs, targets, map, protocol)
    return 100 * (whole - kept).clamp(min=0)


@metric("conf-incr", higher_is_better=True)
def confidence_increase(encoder: ImageEncoder, inputs: Tensor, targets: Tensor, map: Tensor, *, protocol: str = "m2ib") -> Tensor:
    """100 where s > o, else 0, (B,) (M2IB Eq. 18); arguments as `confidence_drop`. Higher is better; ties count 0."""
    kept, whole = similarities(encoder, inputs, targets, map, protocol)
    return 100.0 * (kept > whole)


@torch.no_grad()
def similarities(encoder, inputs, targets, map, protocol) -> tuple[Tensor, Tensor]:
    """(s, o) of each sample, both (B,): cosine to the target with and without the map."""
    check_call(encoder, inputs, targets)
    map = check_map(map, inputs)
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if protocol == "m2ib":
        map = min_max(map)
    elif map.min() < 0 or map.max() > 1:
        raise ValueError(f'protocol "raw" needs a map in [0, 1], got {map.min():.3g} to {map.max():.3g}')
    kept, whole = encoder(inputs * map[:, None].to(inputs)), encoder(inputs)
    targets = targets.to(whole)
    return F.cosine_similarity(kept, targets).float().cpu(), F.cosine_similarity(whole, targets).float().cpu()
