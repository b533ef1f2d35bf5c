"""MoRF against the bare forward passes it needs, and against Quantus set to the same blocks on the
same model.

    python benchmarks/perturbation.py [--images 2] [--repeats 3]

Quantus comes with: pip install -e '.[bench]'

One block of 8 x 8 a step on 224 x 224 is 784 steps and 785 passes. Quantus' PixelFlipping takes
features (pixels of a channel) in the order of the attribution, at most 64 at a time for such
pictures: three steps to a block of a map that is constant on blocks. Every third value of its curve
must be ours. RegionPerturbation takes the best 100 regions of 8 x 8.
"""

import argparse
import os
import time

os.environ["XAI_PROGRESS"] = "0"

import numpy as np
import torch
from torch import nn

import xai_utils as xu
from xai_utils.metrics import perturbation_curve


class Probabilities(nn.Module):
    """The classifier as Quantus wants it: images to logits."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder.head(self.encoder(x))


def seconds(f):
    start = time.perf_counter()
    result = f()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    encoder = xu.load_model("efficientnet-lite0", device="cpu")
    photos = xu.load_dataset("photos")
    x = torch.stack([encoder.transform(s.image) for s in photos[: args.images]])
    with torch.no_grad():
        y = encoder.head(encoder(x)).argmax(1)
    coarse = torch.rand(args.images, 28, 28, generator=torch.Generator().manual_seed(0))
    map = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)  # constant on blocks

    @torch.no_grad()
    def bare(batch):
        for one in x:
            for rows in torch.arange(785).split(batch):
                encoder.head(encoder(one.expand(len(rows), -1, -1, -1)))

    jobs = {
        "bare passes, 64 rows": lambda: bare(64),
        f"bare passes, {encoder.best_batch} rows": lambda: bare(encoder.best_batch),
        "morf": lambda: perturbation_curve(encoder, x, y, map, first="most"),
    } | quantus_jobs(encoder, x, y, map)
    times, curves = {k: [] for k in jobs}, {}
    for _ in range(args.repeats):
        for name, job in jobs.items():
            s, curves[name] = seconds(job)
            times[name].append(s)
    passes = {name: 100 if "100" in name else 2352 if "Quantus" in name else 785 for name in jobs}
    each = {
        name: 1000 * sorted(t)[args.repeats // 2] / args.images / passes[name]
        for name, t in times.items()
    }  # ms a pass
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.images} images,"
        f" median of {args.repeats}"
    )
    base = each["morf"]
    print(
        f"{'':34s} {'passes':>7s} {'ms each':>8s} {'morf / this':>12s}"
        f" {'a whole curve, this / morf':>27s}"
    )
    for name, ms in each.items():
        whole = "" if "100" in name else f"{ms * passes[name] / (base * passes['morf']):27.2f}"
        print(f"{name:34s} {passes[name]:7d} {ms:8.1f} {base / ms:12.2f} {whole}")
    if "Quantus PixelFlipping" in curves:
        theirs, ours = (
            np.array(curves["Quantus PixelFlipping"])[:, 2::3],
            curves["morf"].numpy()[:, 1:],
        )
        print(f"largest difference between the two curves: {np.abs(theirs - ours).max():.1e}")


def quantus_jobs(encoder, x, y, map):
    try:
        import quantus
    except ImportError:
        print("Quantus is not installed: pip install -e '.[bench]'")
        return {}
    data = dict(
        model=Probabilities(encoder).eval(),
        x_batch=x.numpy(),
        y_batch=y.numpy(),
        device="cpu",
        softmax=True,
    )
    options = dict(
        disable_warnings=True,
        display_progressbar=False,
        perturb_baseline=0.0,
        normalise=False,
        abs=False,
    )
    flipping = quantus.PixelFlipping(features_in_step=64, **options)
    region = quantus.RegionPerturbation(
        patch_size=8, regions_evaluation=100, order="morf", **options
    )
    attribution = map[:, None].numpy()
    return {
        "Quantus PixelFlipping": lambda: flipping(**data, a_batch=attribution),
        "Quantus RegionPerturbation (100)": lambda: region(**data, a_batch=attribution),
    }


if __name__ == "__main__":
    main()
