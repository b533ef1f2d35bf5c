"""Metrics: `(encoder, inputs, targets, map, *, options) -> (B,)`, with `.slug` and
`.higher_is_better`.

What judges a method, a whole set or an encoder instead of single maps has a signature of its own:
`roar_plus`, `caption_ranks`, `mismatch_auc` (metrics of sets), `knn_hits`, `randomisation_test`,
`completeness_gap`, `occlusion_drop`, `properties`, `cost`, `rank_correlation`.
"""

from ..stats import mean_interval, min_max
from .captions import blip_captioner, cap_lerf, cap_morf, caption_curve, retrieval_captioner
from .confidence import confidence_drop, confidence_increase, deletion_drop
from .cost import cost
from .localization import (
    boundary_f,
    box_masks,
    energy_in_mask,
    evenness,
    instance_recall,
    iou,
    localization_iou,
    mask_contrast,
    mask_mean,
    mask_recall,
    miou,
    pointing_game,
    weaker_thing,
)
from .maps import map_area, map_entropy, map_total_variation, rank_correlation, ssim
from .perturbation import (
    deletion_auc,
    insertion_auc,
    lerf,
    morf,
    negative_perturbation_auc,
    occlusion_drop,
    perturbation_curve,
    positive_perturbation_auc,
    removed,
)
from .properties import match_without, properties, removal_map, rewritten, sign_descent
from .retraining import fine_tuned, roar_plus
from .retrieval import caption_ranks, hit_without, knn_hits, zero_shot_roar
from .sanity import (
    completeness_gap,
    mismatch_auc,
    randomisation_test,
    randomised_map,
    randomised_maps,
)

__all__ = [
    "blip_captioner",
    "boundary_f",
    "box_masks",
    "cap_lerf",
    "cap_morf",
    "caption_curve",
    "caption_ranks",
    "completeness_gap",
    "confidence_drop",
    "confidence_increase",
    "cost",
    "deletion_auc",
    "deletion_drop",
    "energy_in_mask",
    "evenness",
    "fine_tuned",
    "hit_without",
    "insertion_auc",
    "instance_recall",
    "iou",
    "knn_hits",
    "lerf",
    "localization_iou",
    "map_area",
    "map_entropy",
    "map_total_variation",
    "mask_contrast",
    "mask_mean",
    "mask_recall",
    "match_without",
    "mean_interval",
    "min_max",
    "miou",
    "mismatch_auc",
    "morf",
    "negative_perturbation_auc",
    "occlusion_drop",
    "perturbation_curve",
    "pointing_game",
    "positive_perturbation_auc",
    "properties",
    "randomisation_test",
    "randomised_map",
    "randomised_maps",
    "rank_correlation",
    "removed",
    "removal_map",
    "retrieval_captioner",
    "rewritten",
    "roar_plus",
    "ssim",
    "weaker_thing",
    "sign_descent",
    "zero_shot_roar",
]
