"""Does a map depend on what the model has learned, and do its parts add up?"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_call
from ..batching import progress
from ..checks import check_finite, check_flag, check_function, check_seed
from ..models.weights import own_weights, randomise, weight_groups
from ..stats import auc, jackknife
from ..types import Encoder
from .base import metric
from .maps import rank_correlation


def randomisation_test(
    method: Callable,
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    cascading: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank correlation of maps before and after weights become random (Adebayo et al. 2018; M2IB
    Figure 4).

    method     (encoder, inputs, targets) -> Attribution, for instance a functools.partial
    cascading  True: from the output down to each depth; False: each depth alone
    Returns one row per depth and sample: step, layer, sample, spearman. Step 0, "trained", is 1 for
    a method that gives the same map twice. Random: normal numbers of each tensor's own mean and
    spread. The encoder is left as it was.
    """
    maps = randomised_maps(method, encoder, inputs, targets, cascading=cascading, seed=seed)
    trained = method(encoder, inputs, targets).map
    return pd.DataFrame(
        [
            dict(step=step, layer=layer, sample=i, spearman=r)
            for step, (layer, map) in enumerate(maps.items())
            for i, r in enumerate(rank_correlation(trained, map).tolist())
        ]
    )


def randomised_maps(
    method: Callable,
    encoder: Encoder,
    inputs,
    targets: Tensor,
    *,
    cascading: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The maps behind `randomisation_test`, which has the same arguments: "trained" and, from the
    output to the input, each depth -> map, after its weights became random."""
    inputs, targets = check_call(encoder, inputs, targets, texts=True, classes=True)
    check_function("method", method)
    check_flag("cascading", cascading)
    check_seed(seed)
    groups = weight_groups(encoder, inputs)
    maps = {"trained": method(encoder, inputs, targets).map}
    with own_weights(encoder) as weights:
        whole = {name: w.detach().clone() for name, w in weights.items()}
        for i, (group, names) in enumerate(progress(groups.items(), "randomisation")):
            if not cascading:
                with torch.no_grad():
                    for name, w in weights.items():
                        w.copy_(whole[name])
            randomise(weights, names, seed + i)
            maps[group] = method(encoder, inputs, targets).map
    return maps


def randomised_map(
    method: Callable, encoder: Encoder, inputs, targets: Tensor, names: list[str], *, seed: int = 0
) -> Tensor:
    """The method's maps after the weights of these names became random, drawn from one generator.

    names  keys of `encoder.weights`; `weight_groups` tells them by depth. The encoder is left as it
           was
    """
    check_call(encoder, inputs, targets, texts=True, classes=True)
    check_function("method", method)
    check_seed(seed)
    if unknown := set(names) - set(encoder.weights):
        raise ValueError(f"names must be weights of {encoder.name}, got {sorted(unknown)[:4]}")
    with own_weights(encoder) as weights:
        randomise(weights, names, seed)
        return method(encoder, inputs, targets).map


@torch.no_grad()
def completeness_gap(
    encoder: Encoder, inputs, targets: Tensor, scores: Tensor, *, layer: int
) -> Tensor:
    """|sum of scores - (S(1) - S(0))| / |S(1) - S(0)|, (B,): 0 for a path method that adds up (NIB
    Theorem 3, Eq. 9).

    S(t) is the cosine to the targets with the latent z of `layer` replaced by t z. scores: one per
    place of z, special tokens included, (B, ...).
    """
    inputs, targets = check_call(encoder, inputs, targets, texts=True)
    if not isinstance(scores, Tensor) or scores.ndim < 2 or len(scores) != len(inputs):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"scores must be one for each place of {len(inputs)} inputs, got {got}")
    check_finite("scores", scores)
    split = encoder.split(layer)
    z = split.prefix(inputs)
    ends = [F.cosine_similarity(split.suffix(t * z, like=z), targets.to(z)) for t in (1.0, 0.0)]
    change = (ends[0] - ends[1]).double().cpu()
    return ((scores.flatten(1).double().cpu().sum(1) - change).abs() / change.abs()).float()


@metric(
    "mismatch-auc",
    higher_is_better=True,
    level="set",
    needs=("losses", "matched"),
    sides=("image", "text"),
)
def mismatch_auc(losses, matched, *, clusters=None) -> tuple[float, float, float]:
    """AUC of telling matched from mismatched pairs by a method's final loss, with its 95 %
    interval (AdaIB Fig. 3).

    losses    (B,), lower for pairs that match
    matched   (B,) bool
    clusters  (B,) names of the pictures behind the pairs: whole pictures are left out in turn
              (`stats.jackknife`), with their own and the other captions. None: single pairs
    0.5 is chance, 1 a loss that is lower for every matched pair.
    """
    losses, matched = np.asarray(losses, float), np.asarray(matched, bool)
    if not np.isfinite(losses).all():
        raise ValueError("losses holds NaN or infinite values")
    if losses.shape != matched.shape or matched.all() or not matched.any():
        raise ValueError("losses and matched must have one length, with pairs of both kinds")

    def auc_of(losses, matched):
        return auc(losses[matched], losses[~matched])

    return jackknife(auc_of, losses, matched, clusters=clusters, within=(0, 1)).ends
