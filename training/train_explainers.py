"""Train the explainers that AHA needs, one for each model.

    python -m training.train_explainers --out build/explainers
        [--images FOLDER] [--only vit-stamps ...]

Pictures are those that vit-stamps was trained with: crops of --images, single stamps, scenes of one
to four stamps. They are drawn once, in shards; every training goes on from its last checkpoint. The
variants vit-stamps/s1 to s8 share one budget of passes and differ in S, the perturbation steps;
vit-stamps/noise is s2 with Gumbel noise.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torchvision.transforms import v2

from xai_utils.images import fit
from xai_utils.methods.aha import train_explainer
from xai_utils.models import load_model

from .common import arguments, one_recipe, sharded, split_images
from .train_vit import Pictures

PLANS = {
    "vit-stamps": dict(s=1, share=1.0),
    "efficientnet-lite0": dict(s=1, share=1.0),
}  # share of --steps
PLANS |= {f"vit-stamps/s{s}": dict(s=s, share=0.08 / s) for s in (1, 2, 4, 8)}
PLANS |= {"vit-stamps/noise": dict(s=2, share=0.04, noise=1.0)}  # against s2


def pictures(folder: Path, n: int, files: list[Path], seed: int, workers: int) -> torch.Tensor:
    """(n, 3, 224, 224) uint8."""
    drawn = Pictures(
        n, files, seed, v2.Compose([v2.Lambda(lambda pil: fit(pil, (224, 224))), v2.ToImage()])
    )

    def make(rows: range) -> dict[str, np.ndarray]:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(drawn, rows), 16, num_workers=workers
        )
        return dict(x=torch.cat([x for x, _ in loader]).numpy())

    return sharded(folder, n, make, ("x",))["x"]


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
    files, _ = split_images(a.images)
    told = dict(pictures=a.pictures, seed=a.seed, images=len(files))
    one_recipe(a.out, told, parser)
    drawn = pictures(a.out / "pictures", a.pictures, files, a.seed, a.workers)
    for name in a.only:
        plan, model = PLANS[name], load_model(name.partition("/")[0], device="cpu")
        recipe = dict(
            s=plan["s"], steps=max(1, round(plan["share"] * a.steps)), noise=plan.get("noise", 0.0)
        )
        recipe |= dict(batch=a.batch, lr=a.lr, seed=a.seed)
        one_recipe(a.out / name, told | recipe, parser)
        explainer = train_explainer(
            getattr(model, "image", model), drawn, out=a.out / name, **recipe
        )
        file = a.out / f"aha-{name.replace('/', '-')}.safetensors"
        weights = {k: v.half().contiguous() for k, v in explainer.state_dict().items()}
        save_file(weights, file, metadata=dict(recipe=json.dumps(told | recipe)))
        print(file, flush=True)
    losses(a.out, a.batch).to_csv(a.out / "explainers.csv", index=False)


if __name__ == "__main__":
    main()
