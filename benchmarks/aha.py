"""AHA against what it needs at least: a map against one forward pass, a training step against its
bare passes, memory of the sort.

python benchmarks/aha.py [--repeats 21]
"""

import argparse
import os
import time

os.environ["XAI_PROGRESS"] = "0"

import torch

import xai_utils as xu
from xai_utils.corruption import reference_image
from xai_utils.methods import aha, load_explainer
from xai_utils.methods.aha import TAU, ranking_loss
from xai_utils.methods.explainers import standard
from xai_utils.methods.soft_sort import levels, soft_sort, soft_topk

S = 4


def seconds(f, repeats):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def ratio(f, g, repeats):
    """Seconds of g over seconds of f, median of turns: a machine that is busy slows both."""
    f(), g()
    found = []
    for _ in range(repeats):
        times = [time.perf_counter()]
        for run in (f, g):
            run()
            times.append(time.perf_counter())
        found.append((times[2] - times[1]) / (times[1] - times[0]))
    return sorted(found)[repeats // 2]


@torch.no_grad()
def forward(encoder, x):
    return encoder(x)


def bare(encoder, x):
    """2 S forward and backward passes of one picture, in portions of the encoder's best batch."""
    for rows in torch.arange(2 * S).split(encoder.best_batch or 2 * S):
        z = x.repeat(len(rows), 1, 1, 1).requires_grad_()
        torch.autograd.grad(encoder(z).sum(), z)


def kept(f):
    """What autograd keeps for the way back, in MB."""
    seen = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (seen.setdefault(t.data_ptr(), t.nbytes), t)[1], lambda t: t
    ):
        f()
    return sum(seen.values()) / 1e6


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=21, help="the median of this many runs is printed"
    )
    repeats = parser.parse_args().repeats
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {repeats}")
    for name in ("vit-photos", "efficientnet-lite0"):
        model, explainer = xu.load_model(name, device="cpu"), load_explainer(name)
        encoder = getattr(model, "image", model)
        x, c = (
            torch.randn(1, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0)),
            torch.tensor([1]),
        )
        m = soft_topk(explainer(x, c), levels(784, S), tau=TAU).unflatten(2, (28, 28))
        other = reference_image(encoder, x, "black")
        maps = []
        for n in (1, 4):
            several, classes = x.repeat(n, 1, 1, 1), c.repeat(n)
            maps.append(
                ratio(
                    lambda: forward(encoder, several),
                    lambda: aha(encoder, several, classes, explainer=explainer),
                    repeats,
                )
            )
        loss = ratio(
            lambda: bare(encoder, x), lambda: ranking_loss(encoder, x, c, m, other, 64), repeats
        )
        print(
            f"{name}: a map / a forward pass {maps[0]:.2f}, of four pictures {maps[1]:.2f}; loss"
            f" and gradient at S = {S} / its bare passes {loss:.2f}"
        )
    print(
        f"{'G':>3s} {'N':>4s} {'sorting into S + 1 groups, MB, s':>34s}"
        f" {'into N ranks, MB, s':>21s}"
    )
    for grid in (7, 14, 28):
        a, n = standard(torch.randn(1, grid**2)).requires_grad_(), grid**2
        cells = []
        for sizes in (
            torch.cat([torch.zeros(1), levels(n, S).round(), torch.tensor([float(n)])]).diff(),
            torch.ones(n),
        ):
            run = lambda: soft_sort(a, sizes, tau=TAU)  # noqa: B023, E731
            cells += [
                f"{kept(run):.2f}",
                f"{seconds(lambda: torch.autograd.grad(run().square().sum(), a), repeats):.4f}",
            ]
        print(f"{grid:3d} {n:4d} {', '.join(cells[:2]):>34s} {', '.join(cells[2:]):>21s}")


if __name__ == "__main__":
    main()
