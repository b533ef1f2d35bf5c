"""Metrics: `(encoder, inputs, targets, map, *, options) -> (B,)`, with `.slug` and `.higher_is_better`."""

from .base import mean_interval, min_max
from .confidence import confidence_drop, confidence_increase
from .localization import iou, mask_contrast, pointing_game

__all__ = ["confidence_drop", "confidence_increase", "iou", "mask_contrast", "mean_interval", "min_max", "pointing_game"]
