"""Train the explainers that AHA needs, one for each model.

    XAI_DATA=FOLDER python -m training.train_explainers --out build/explainers
        [--images FOLDER] [--only vit-photos ...]

Pictures are one view each of photographs (training/photographs.py), without the held-out fifth of
--images. They are drawn once, in shards; every training goes on from its last checkpoint. The
variants vit-photos/s1 to s8 share one budget of passes and differ in S, the perturbation steps;
vit-photos/noise is s2 with Gumbel noise.
"""

from pathlib import Path

import pandas as pd
import torch

from xai_utils.methods.aha import taught
from xai_utils.methods.explainers import Explainer
from xai_utils.models import load_model
from xai_utils.types import ImageEncoder

from .common import arguments, export, one_recipe
from .photographs import parted, views

PLANS = {
    "vit-photos": dict(s=1, share=1.0),
    "efficientnet-lite0": dict(s=1, share=1.0),
}  # share of --steps
PLANS |= {f"vit-photos/s{s}": dict(s=s, share=0.08 / s) for s in (1, 2, 4, 8)}
PLANS |= {"vit-photos/noise": dict(s=2, share=0.04, noise=1.0)}  # against s2


def encoder_of(name: str) -> ImageEncoder:
    """The image encoder of a plan or a variant of it, on the CPU."""
    model = load_model(name.partition("/")[0], device="cpu")
    return getattr(model, "image", model)


def fresh(encoder: ImageEncoder, seed: int) -> Explainer:
    """An explainer of the encoder, not trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Explainer(encoder)


def losses(out: Path, batch: int) -> pd.DataFrame:
    """Means over 20 steps of every training in `out`; passes: of the encoder, forward and back, in
    one step."""
    parts = []
    for name, plan in PLANS.items():
        if (out / name / "log.csv").exists():
            log = pd.read_csv(out / name / "log.csv")
            means = (
                log.groupby((log.step - 1) // 20)
                .agg(step=("step", "max"), loss=("loss", "mean"))
                .round(4)
            )
            parts.append(means.assign(explainer=name, passes=2 * plan["s"] * batch))
    return pd.concat(parts)[["explainer", "step", "passes", "loss"]]


def main(given: list[str] | None = None) -> None:
    parser = arguments(__doc__, pictures=4096, steps=2500, batch=8, lr=1e-3, seed=1)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PLANS,
        default=PLANS,
        metavar="NAME",
        help="train these, not all",
    )
    a = parser.parse_args(given)
    found, _ = parted(a.images)
    told = dict(pictures=min(a.pictures, len(found)), photographs=len(found), seed=a.seed)
    one_recipe(a.out, told, parser)
    drawn = views(a.out / "pictures", found, a.pictures, a.seed, a.workers)
    for name in a.only:
        plan, size = PLANS[name], dict(batch=a.batch, lr=a.lr, seed=a.seed)
        size["steps"] = max(1, round(plan["share"] * a.steps))
        given = dict(s=plan["s"], noise=plan.get("noise", 0.0))
        recipe = told | size | given
        one_recipe(a.out / name, recipe, parser)
        explainer = fresh(encoder_of(name), a.seed)
        taught(explainer, drawn, a.out / name, size, **given)
        file = a.out / f"aha-{name.replace('/', '-')}.safetensors"
        print(export(file, explainer.state_dict(), recipe), flush=True)
    losses(a.out, a.batch).to_csv(a.out / "explainers.csv", index=False)


if __name__ == "__main__":
    main()
