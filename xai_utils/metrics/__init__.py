"""Metrics: `(encoder, inputs, targets, map, *, options) -> (B,)`, with `.slug` and
`.higher_is_better`.

What judges a method or a whole set instead of single maps has a signature of its own: `roar_plus`,
`randomisation_test`, `completeness_gap`, `mismatch_auc`, `cost`, `rank_correlation`,
`caption_ranks`.
"""

from ..stats import mean_interval, min_max
from .captions import blip_captioner, cap_lerf, cap_morf, retrieval_captioner
from .confidence import confidence_drop, confidence_increase
from .cost import cost
from .localization import (
    box_masks,
    energy_in_mask,
    iou,
    localization_iou,
    mask_contrast,
    miou,
    pointing_game,
)
from .maps import map_area, map_entropy, map_total_variation, rank_correlation
from .perturbation import (
    deletion_auc,
    insertion_auc,
    lerf,
    morf,
    negative_perturbation_auc,
    perturbation_curve,
    positive_perturbation_auc,
)
from .retraining import roar_plus
from .retrieval import caption_ranks, zero_shot_roar
from .sanity import completeness_gap, mismatch_auc, randomisation_test

__all__ = [
    "blip_captioner",
    "box_masks",
    "cap_lerf",
    "cap_morf",
    "caption_ranks",
    "completeness_gap",
    "confidence_drop",
    "confidence_increase",
    "cost",
    "deletion_auc",
    "energy_in_mask",
    "insertion_auc",
    "iou",
    "lerf",
    "localization_iou",
    "map_area",
    "map_entropy",
    "map_total_variation",
    "mask_contrast",
    "mean_interval",
    "min_max",
    "miou",
    "mismatch_auc",
    "morf",
    "negative_perturbation_auc",
    "perturbation_curve",
    "pointing_game",
    "positive_perturbation_auc",
    "randomisation_test",
    "rank_correlation",
    "retrieval_captioner",
    "roar_plus",
    "zero_shot_roar",
]
