"""Which decoder should explainers have? Both are trained alike and judged on photographs that
neither has seen.

    XAI_DATA=FOLDER python -m training.compare_explainers efficientnet-lite0 vit-photos
        --out build/decoders --images FOLDER

Both see the same pictures in the same order, S = 1. Printed: deletion and insertion AUC of their
maps (T = 0) for the class that the model predicts, 10 steps, mean of black, mean and blur, on
--shown pictures of the held-out fifth of --images; and paired differences, with 95 % intervals.
Insertion less deletion is what both are trained to raise.
"""

from functools import partial

import torch
from torch import Tensor

from xai_utils.images import rgb
from xai_utils.methods import aha
from xai_utils.methods.aha import taught
from xai_utils.metrics import deletion_auc, insertion_auc, mean_interval
from xai_utils.types import ImageEncoder

from .common import arguments, one_recipe
from .photographs import parted, views
from .train_explainers import DECODERS, PLANS, encoder_of, fresh

METRICS = {"deletion": deletion_auc, "insertion": insertion_auc}


def judged(encoder: ImageEncoder, x: Tensor, explainers: dict) -> dict[str, dict[str, Tensor]]:
    """Metric -> explainer -> (B,)."""
    with torch.no_grad():
        classes = torch.cat([encoder.head(encoder(few)).argmax(1) for few in x.split(8)])
    maps = {k: aha(encoder, x, classes, explainer=e).map for k, e in explainers.items()}
    found = {
        metric: {k: f(encoder, x, classes, map, steps=10) for k, map in maps.items()}
        for metric, f in METRICS.items()
    }
    both = {k: found["insertion"][k] - found["deletion"][k] for k in maps}
    return found | {"insertion less deletion": both}


def table(scores: dict[str, dict[str, Tensor]]) -> str:
    """A row for each explainer and each difference of two."""
    lines = [f"| explainer | {' | '.join(scores)} |", "|---" * (1 + len(scores)) + "|"]
    pairs = [("cells", "untrained"), ("fused", "untrained"), ("fused", "cells")]
    rows = {k: [of[k] for of in scores.values()] for k in ("untrained", *DECODERS)}
    rows |= {f"{a} less {b}": [of[a] - of[b] for of in scores.values()] for a, b in pairs}
    for name, values in rows.items():
        cells = ["{:.4f} [{:.4f}, {:.4f}]".format(*mean_interval(v.numpy())) for v in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    parser = arguments(__doc__, pictures=2400, steps=300, batch=8, lr=1e-3, seed=1, shown=32)
    parser.add_argument("models", nargs="+", choices=[n for n in PLANS if "/" not in n])
    a = parser.parse_args(given)
    found, held_out = parted(a.images)
    if len(held_out) < a.shown:
        parser.error(f"--images holds out {len(held_out)} pictures, fewer than --shown")
    told = dict(pictures=min(a.pictures, len(found)), photographs=len(found), seed=a.seed)
    one_recipe(a.out, told, parser)
    drawn = views(a.out / "pictures", found, a.pictures, a.seed, a.workers)
    size = dict(steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed)
    for name in a.models:
        encoder = encoder_of(name)
        x = torch.stack([encoder.transform(rgb(file)) for file in held_out[: a.shown]])
        make = partial(fresh, encoder=encoder, seed=a.seed)
        explainers = {"untrained": make("cells").eval()}
        for decoder in DECODERS:
            folder = a.out / name / decoder
            one_recipe(folder, told | size, parser)
            explainers[decoder] = taught(make(decoder), drawn, folder, size, s=1)
        weights = {k: sum(p.numel() for p in explainers[k].parameters()) for k in DECODERS}
        print(f"\n{name}, {a.shown} pictures, weights: {weights}\n")
        print(table(judged(encoder, x, explainers)), flush=True)


if __name__ == "__main__":
    main()
