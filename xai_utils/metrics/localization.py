"""Does the map lie on the object that the text names? Against exact masks or boxes."""

import torch
from torch import Tensor

from ..types import Encoder
from .base import check_map, metric


@metric("iou", higher_is_better=True)
def iou(encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor) -> Tensor:
    """IoU of the map's hottest pixels with the object, as many pixels as the object has, (B,) in 0..1.

    masks (B, H, W) bool. Cutting at the object's own area leaves no threshold to choose: 1 for a map that ranks the
    object's pixels first, about a / (2 - a) for a random map and an object that fills the part a of the image.
    Pixels that tie at the cut count by their share. Only the order of pixels matters. Not a metric of the five papers,
    whose data have no exact masks.
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


@metric("pointing-hit", higher_is_better=True)
def pointing_game(encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor) -> Tensor:
    """1 where the hottest pixel lies on the object, else 0, (B,) (Zhang et al. 2018, without their 15-pixel tolerance).

    masks (B, H, W) bool. Where several pixels tie for hottest, the share of them on the object.
    """
    map, masks = check_map(map, inputs).flatten(1), check_masks(masks, inputs).flatten(1)
    hottest = map == map.amax(1, keepdim=True)
    return (hottest & masks).sum(1) / hottest.sum(1)


@metric("mask-contrast", higher_is_better=True)
def mask_contrast(encoder: Encoder, inputs: Tensor, targets: Tensor, map: Tensor, *, masks: Tensor, others: Tensor) -> Tensor:
    """Mean of the map on the named object minus its mean on the other ones, (B,); masks and others (B, H, W) bool.

    Above 0 where the map prefers what the text names. It keeps the map's scale: compare signs across methods.
    """
    map = check_map(map, inputs)
    means = [(map * m).sum((1, 2)) / m.sum((1, 2)) for m in (check_masks(masks, inputs), check_masks(others, inputs))]
    return means[0] - means[1]


def check_masks(masks: Tensor, inputs: Tensor) -> Tensor:
    wanted = (len(inputs), *inputs.shape[-2:])
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or tuple(masks.shape) != wanted:
        got = f"{masks.dtype} {tuple(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks must be a bool tensor of shape {wanted}, got {got}")
    if not masks.flatten(1).any(1).all():
        raise ValueError("masks holds an empty mask: there is no object to find")
    return masks
