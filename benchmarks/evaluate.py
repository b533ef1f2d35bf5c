"""What `evaluate` adds to the work itself, and what the confidence pair costs.

    python benchmarks/evaluate.py [--n 12] [--repeats 3]

Both ways judge the same maps of the same pictures: `evaluate` into a fresh folder, and the plain
loop that calls each method and each metric by itself. Seconds are the processor's, on one thread.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace

os.environ["XAI_PROGRESS"] = "0"

import torch

import xai_utils as xu
from xai_utils.data import Dataset
from xai_utils.methods import grad_cam, nib, random_map
from xai_utils.metrics import confidence_drop, confidence_increase, iou, pointing_game

METHODS = {"random": random_map, "grad-cam": grad_cam, "nib": nib}
PAIR = [confidence_drop, confidence_increase]
METRICS = [*PAIR, iou, pointing_game]


def pictures(n: int) -> Dataset:
    photos = xu.load_dataset("photos")
    return Dataset("photos", n, lambda i: replace(photos[i % 9], id=f"photo {i}"))


def by_hand(model, dataset) -> list[float]:
    values = []
    for sample in dataset[:]:
        c = xu.cases(model, [sample])
        for method in METHODS.values():
            map = method(c.encoder, c.inputs, c.targets).map
            for metric in METRICS:
                masks = {k: getattr(c, k) for k in metric.needs if k != "whole"}
                values += metric(c.encoder, c.inputs, c.targets, map, **masks).tolist()
    return values


def by_evaluate(model, dataset) -> list[float]:
    with tempfile.TemporaryDirectory() as out:
        return xu.evaluate(METHODS, model, dataset, METRICS, out=out).value.tolist()


def counted(model, metrics, k: int) -> float:
    """Image passes that `score` takes for one case and k maps."""
    rows = []

    def spy(z):
        rows.append(len(z))
        return model.image.parts.tail(z)

    image = replace(model.image, parts=replace(model.image.parts, tail=spy))
    c = xu.cases(replace(model, image=image), pictures(1))
    maps = {f"map {i}": random_map(c.encoder, c.inputs, c.targets, seed=i) for i in range(k)}
    rows.clear()
    xu.score(maps, c, metrics)
    return sum(rows)


def seconds(call, *args) -> float:
    start = time.process_time()
    call(*args)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, data = xu.load_model("conse-lite0", device="cpu"), pictures(args.n)
    by_hand(model, data[:1])
    pairs = [
        (seconds(by_evaluate, model, data), seconds(by_hand, model, data))
        for _ in range(args.repeats)
    ]
    ratios = [a / b for a, b in pairs]
    print(
        f"torch {torch.__version__}, one thread, {args.n} pictures, {len(METHODS)} methods,"
        f" {len(METRICS)} metrics, {args.repeats} repeats in turns"
    )
    print(
        f"evaluate / plain loop: {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"{'k methods':>10s} {'passes of the pair':>19s} {'k + 1':>6s}")
    for k in (1, 3, 8):
        print(f"{k:10d} {counted(model, PAIR, k):19d} {k + 1:6d}")


if __name__ == "__main__":
    main()
