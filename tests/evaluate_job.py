"""What the tests of `evaluate` run, kill and run again."""

import sys
import time
from functools import partial

import torch

from xai_utils.data import Dataset, load_dataset
from xai_utils.evaluate import evaluate
from xai_utils.methods import random_map
from xai_utils.metrics import confidence_drop, confidence_increase, map_area
from xai_utils.types import Attribution

sys.modules["xai_utils.evaluate"].SHARD = 4  # small shards, so that a short job has many


def mean_of_channels(encoder, inputs, targets, *, pause=0.0, power=1.0, seed=0):
    """A cheap map that takes as long as asked."""
    time.sleep(pause)
    torch.manual_seed(seed)
    m = (inputs.abs().mean(1) ** power) + 0.01 * torch.rand(inputs.shape[-2:])
    return Attribution(map=m, unit="none", signed=False, cost=dict(forwards=0, backwards=0))


def fails_on_dark_pictures(encoder, inputs, targets):
    if (inputs.mean((1, 2, 3)) < -0.4).any():
        raise RuntimeError("too dark")
    return mean_of_channels(encoder, inputs, targets)


def pictures(n=12) -> Dataset:
    """The photographs again and again, so that no stamps are needed; ids of their own."""
    from dataclasses import replace

    photos = load_dataset("photos")
    return Dataset("many", n, lambda i: replace(photos[i % 9], id=f"{photos[i % 9].id}-{i}"))


def job(out, *, pause=0.0, client=None, n=12, methods=("bright", "dark", "random")):
    known = {
        "bright": partial(mean_of_channels, pause=pause),
        "dark": partial(mean_of_channels, power=2.0),
        "random": random_map,
    }
    metrics = {"conf-drop": confidence_drop, "conf-incr": confidence_increase, "map-area": map_area}
    chosen = {m: known[m] for m in methods}
    return evaluate(chosen, "conse-lite0", pictures(n), metrics, out=out, client=client)


def alone(out, pause):
    """The job as a process of its own."""
    torch.set_num_threads(1)
    job(out, pause=pause)
