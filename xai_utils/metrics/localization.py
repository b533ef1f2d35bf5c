"""Does the map lie on the object that the text names? Against exact masks or boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from ..checks import (
    check_counts,
    check_flag,
    check_map,
    check_number,
    check_percentile,
    check_pixels,
)
from ..images import check_box, check_size, inside
from ..stats import min_max
from ..types import Encoder
from .base import metric


@metric("iou", higher_is_better=True, needs=("masks",))
def iou(encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor) -> Tensor:
    """IoU of the map's hottest pixels with the object, as many pixels as the object has, (B,) in
    0..1.

    masks (B, H, W) bool. Cutting at the object's own area leaves no threshold to choose: 1 for a
    map that ranks the object's pixels first, about a / (2 - a) for a random map and an object that
    fills the part a of the image. Pixels that tie at the cut count by their share. Only the order
    of pixels matters. Not a metric of the five papers, whose data have no exact masks.
    """
    map, masks = check_map(map, inputs).flatten(1), check_masks(masks, inputs).flatten(1)
    scores = []
    for values, mask in zip(map, masks):
        size = int(mask.sum())
        cut = values.topk(size).values[-1]
        above, tied = values > cut, values == cut
        share = (size - above.sum()) / tied.sum()
        inside = (above & mask).sum() + share * (tied & mask).sum()
        scores.append(inside / (2 * size - inside))
    return torch.stack(scores)


@metric("pointing-hit", higher_is_better=True, needs=("masks",))
def pointing_game(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor
) -> Tensor:
    """1 where the hottest pixel lies on the object, else 0, (B,) (Zhang et al. 2018, without their
    15-pixel tolerance).

    masks (B, H, W) bool. Where several pixels tie for hottest, the share of them on the object.
    """
    map, masks = check_map(map, inputs).flatten(1), check_masks(masks, inputs).flatten(1)
    hottest = map == map.amax(1, keepdim=True)
    return (hottest & masks).sum(1) / hottest.sum(1)


@metric("mask-contrast", higher_is_better=True, needs=("masks", "others"))
def mask_contrast(
    encoder: Encoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    masks: Tensor,
    others: Tensor,
    scaled: bool = False,
) -> Tensor:
    """Mean of the map on the named object minus its mean on the other ones, (B,); masks and others
    (B, H, W) bool.

    Above 0 where the map prefers what the text names. It keeps the map's scale: compare signs
    across methods. scaled: of the min-max scaled map, whose sizes can be compared.
    """
    check_flag("scaled", scaled)
    check_masks(others, inputs, "others")
    map = min_max(check_map(map, inputs)) if scaled else map
    means = [mask_mean(encoder, inputs, targets, map, masks=m) for m in (masks, others)]
    return means[0] - means[1]


@metric("mask-mean", higher_is_better=True, needs=("masks",))
def mask_mean(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor
) -> Tensor:
    """Mean of the map on the named object, (B,); masks (B, H, W) bool.

    It keeps the map's scale and its sign: compare regions of one map, not methods.
    """
    map, masks = check_map(map, inputs), check_masks(masks, inputs)
    return (map * masks).sum((1, 2)) / masks.sum((1, 2))


@metric("mask-recall", higher_is_better=True, needs=("masks",))
def mask_recall(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor
) -> Tensor:
    """Part of the object that the map covers when it is cut at the object's own area, (B,) in 0..1.

    masks as in `iou`, of which it is 2 IoU / (1 + IoU), both sets having one size. A random map has
    about the object's share of the image.
    """
    share = iou(encoder, inputs, targets, map, masks=masks)
    return 2 * share / (1 + share)


@metric("instance-recall", higher_is_better=True, needs=("masks",))
def instance_recall(
    encoder: Encoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    masks: Tensor,
    percentile=75,
    part: float = 1 / 3,
) -> Tensor:
    """1 where at least `part` of the object lies above the map's percentile, else 0, (B,) (M2IB's
    Figure 2b, counted).

    masks (B, H, W) bool, one instance each. The mean over the instances of a picture is the share
    of them that the map finds.
    """
    check_percentile(percentile)
    check_number("part", part, 0, 1, above=True)
    map, masks = check_map(map, inputs).flatten(1), check_masks(masks, inputs).flatten(1)
    hot = map > map.quantile(percentile / 100, dim=1, keepdim=True)
    return ((hot & masks).sum(1) / masks.sum(1) >= part).float()


@metric("evenness", higher_is_better=True, needs=("masks", "others"))
def evenness(
    encoder: Encoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    masks: Tensor,
    others: Tensor,
    above_background: bool = False,
) -> Tensor:
    """Smaller of the min-max scaled map's means on two things divided by the larger, (B,) in 0..1
    (M2IB's Figure 1, counted).

    masks and others (B, H, W) bool, one thing each. A map that is the same everywhere is perfectly
    even, and a random one nearly so: see `weaker_thing`. above_background: of what each mean has
    above that of the background, 0 where one has nothing.
    """
    check_flag("above_background", above_background)
    means, background = thing_means(map, inputs, masks, others)
    if above_background:
        means = (means - background[:, None]).clamp(min=0)
    return means.amin(1) / means.amax(1).clamp(min=1e-9)


@metric("weaker-thing", higher_is_better=True, needs=("masks", "others"))
def weaker_thing(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor, others: Tensor
) -> Tensor:
    """Smaller of the min-max scaled map's means on two things minus its mean on the background,
    (B,): above 0 where both stand out. masks and others as in `evenness`."""
    means, background = thing_means(map, inputs, masks, others)
    return means.amin(1) - background


def thing_means(map: Tensor, inputs: Tensor, masks: Tensor, others: Tensor) -> tuple:
    """Means of the min-max scaled map on two things, (B, 2), and on the background, (B,)."""
    scaled = min_max(check_map(map, inputs))
    places = [check_masks(masks, inputs), check_masks(others, inputs, "others")]
    places.append(check_masks(~(places[0] | places[1]), inputs, "background"))
    means = torch.stack([(scaled * m).sum((1, 2)) / m.sum((1, 2)) for m in places], 1)
    return means[:, :2], means[:, 2]


def check_masks(masks: Tensor, inputs: Tensor, name: str = "masks") -> Tensor:
    wanted = check_pixels(inputs)
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or tuple(masks.shape) != wanted:
        got, hint = type(masks).__name__, ""
        if isinstance(masks, Tensor):
            got = f"{masks.dtype} {tuple(masks.shape)}"
            hint = ": cut it, for instance masks > 0.5" * (masks.dtype != torch.bool)
        raise ValueError(f"{name} must be a bool tensor of shape {wanted}, got {got}{hint}")
    if not masks.flatten(1).any(1).all():
        raise ValueError(f"{name} holds an empty mask: there is no object to find")
    return masks


@metric("localization-iou", higher_is_better=True, needs=("masks",))
def localization_iou(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor, percentile=75
) -> Tensor:
    """IoU of the pixels above the map's own percentile with the object, (B,) in 0..1 (M2IB Eq. 16
    at 75).

    masks (B, H, W) bool: exact, or all boxes of a sample joined (`box_masks`). Strictly above, as
    M2IB prints it.
    """
    check_percentile(percentile)
    map, masks = check_map(map, inputs).flatten(1), check_masks(masks, inputs).flatten(1)
    return overlap(map > map.quantile(percentile / 100, dim=1, keepdim=True), masks)


@metric("miou", higher_is_better=True, needs=("masks",))
def miou(
    encoder: Encoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    masks: Tensor,
    threshold: float = 0.5,
) -> Tensor:
    """IoU of the pixels above a value of the min-max scaled map with the object, (B,) in 0..1
    (AdaIB, at 0.5).

    AdaIB calls it pointing-game IoU; it is no hit test. masks as in `localization_iou`.
    """
    check_number("threshold", threshold, 0)
    if threshold >= 1:
        raise ValueError(f"threshold must lie in 0..1, below 1, got {threshold!r}")
    map, masks = min_max(check_map(map, inputs)).flatten(1), check_masks(masks, inputs).flatten(1)
    return overlap(map > threshold, masks)


@metric("energy-in-mask", higher_is_better=True, needs=("masks",))
def energy_in_mask(
    encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor
) -> Tensor:
    """Share of the map's positive mass on the object, (B,) in 0..1; 0 for a map without positive
    values.

    For a constant map it is the object's share of the image. masks (B, H, W) bool.
    """
    mass = check_map(map, inputs).clamp(min=0).flatten(1)
    return (mass * check_masks(masks, inputs).flatten(1)).sum(1) / mass.sum(1).clamp(min=1e-30)


@metric("boundary-f", higher_is_better=True, needs=("masks",))
def boundary_f(
    encoder: Encoder,
    inputs: Tensor,
    targets: Tensor,
    map: Tensor,
    *,
    masks: Tensor,
    reach: int = 3,
) -> Tensor:
    """F-score of the boundary of the map, cut at the object's area, against the object's boundary,
    (B,) in 0..1 (Martin et al. 2004, with a tolerance in place of a matching).

    masks (B, H, W) bool. A boundary pixel counts as met where the other boundary lies within
    `reach` steps up, down, left or right.
    """
    map, masks = check_map(map, inputs), check_masks(masks, inputs)
    check_counts(reach=reach)
    scores = []
    for values, mask in zip(map, masks):
        cut = values >= values.flatten().sort(descending=True).values[int(mask.sum()) - 1]
        edges = [v & ~binary_erosion(v) for v in (cut.numpy(), mask.numpy())]
        near = [binary_dilation(edge, iterations=reach) for edge in edges]
        precision = (edges[0] & near[1]).sum() / edges[0].sum()
        recall = (edges[1] & near[0]).sum() / edges[1].sum()
        scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return torch.tensor(scores, dtype=torch.float32)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    return (a & b).sum(1) / (a | b).sum(1)


def box_masks(
    boxes: Sequence[Sequence[tuple[float, float, float, float]]], size: tuple[int, int]
) -> Tensor:
    """Several boxes (left, top, right, bottom) per sample, joined: B lists -> (B, H, W) bool.

    size  (H, W) of the pictures whose pixels the boxes count
    Fractions are rounded outward, what reaches over the border is cut. Raises ValueError for what
    is no box, and for one that lies wholly outside.
    """
    size = check_size(size)
    check_list("boxes", boxes)
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for i, (mask, some) in enumerate(zip(masks, boxes)):
        check_list(f"boxes[{i}]", some)
        for k, box in enumerate(some):
            name = f"boxes[{i}][{k}]"
            left, top, right, bottom = inside(check_box(box, name), size, name)
            mask[top:bottom, left:right] = True
    return masks


def check_list(name: str, values) -> None:
    if not isinstance(values, (Sequence, np.ndarray, Tensor)) or isinstance(values, str):
        raise TypeError(f"{name} must be a list, got {values!r}")
