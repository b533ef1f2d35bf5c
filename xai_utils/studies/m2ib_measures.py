"""What M2IB's studies measure: metrics of their own, and rows of single pairs.

The functions of a unit take the place of a sample among `samples()`, or say what else their unit
is, and return rows; a column `side` says which side of a pair is explained.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import methods as m
from .. import metrics
from ..cases import Cases, cases
from ..metrics.base import SIDES, metric
from ..metrics.cost import timed
from ..models import load_model, wrap
from ..models.weights import weight_groups
from ..scoring import attribution, score
from ..stats import min_max
from ..types import Attribution, Encoder, Parts

load = cache(load_model)

CONFIDENCE = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
PLACE = {"localization-iou": metrics.localization_iou, "iou": metrics.iou}
CELLS = 7  # a side, to which maps of pictures are averaged where places are counted
OWN = 9  # M2IB's layer of 12, counted from 0: the bottleneck lies behind this block

# ROAR+ on a CPU. Chosen on scenes of another seed, exact masks against random maps: the first have
# to hurt more.
LAST_BLOCK = dict(blocks=1, epochs=2, lr=3e-4)


def m2ib_at(
    encoder: Encoder, inputs, targets: Tensor, *, block: int, copies: int = 10, seed: int = 0
) -> Attribution:
    """M2IB behind block `block` of 12, counted from 0, at the same share of other depths; -1: in
    front of the first one."""
    layer = encoder.layer_at((block + 1) / 12)
    return m.m2ib(encoder, inputs, targets, layer=layer, copies=copies, seed=seed)


def case(model: str, samples: Callable, unit: int, side: str = "image", **options) -> Cases:
    """The case, or with target="things" the cases, of one sample."""
    return cases(load(model), [samples()[unit]], modality=side, **options)


def explained(method: Callable, c: Cases) -> Attribution:
    return attribution("method", method, c)


def alike(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two maps, (1, ...) each."""
    return metrics.rank_correlation(a, b).item()


def scored(maps: dict, c: Cases, judges: dict) -> dict[str, dict[str, float]]:
    """Method -> metric -> value of the maps of a single case."""
    rows = score(maps, c, judges)
    return rows.pivot(index="method", columns="metric", values="value").to_dict("index")


# --- metrics


@metric("evenness", higher_is_better=True, needs=("places",))
def evenness(encoder, inputs, targets, map: Tensor, *, places: Tensor) -> Tensor:
    """`metrics.evenness` of the two things of a picture, (B,), whatever the target names."""
    both = dict(masks=places[:, 0], others=places[:, 1])
    return metrics.evenness(encoder, inputs, targets, map, **both)


@metric("weaker-thing", higher_is_better=True, needs=("places",))
def weaker_thing(encoder, inputs, targets, map: Tensor, *, places: Tensor) -> Tensor:
    """`metrics.weaker_thing` of the two things of a picture, (B,), whatever the target names."""
    both = dict(masks=places[:, 0], others=places[:, 1])
    return metrics.weaker_thing(encoder, inputs, targets, map, **both)


@metric("box-iou", higher_is_better=True, needs=("places",))
def box_iou(encoder, inputs, targets, map: Tensor, *, places: Tensor) -> Tensor:
    """`metrics.iou` with the boxes around the things in place of the things, (B,)."""
    return metrics.iou(encoder, inputs, targets, map, masks=boxed(places).any(1))


def boxed(places: Tensor) -> Tensor:
    """Each mask's box, filled, (B, k, H, W) bool."""
    rows, columns = places.any(-1), places.any(-2)
    between = [(v.cumsum(-1) > 0) & (v.flip(-1).cumsum(-1) > 0).flip(-1) for v in (rows, columns)]
    return between[0][..., :, None] & between[1][..., None, :]


@metric("tokens", higher_is_better=True, sides=("text",))
def tokens(encoder, inputs, targets, map: Tensor) -> Tensor:
    """How many tokens a text has, (B,), special ones not counted."""
    return map.isfinite().sum(1).float()


@metric(
    "roar-plus",
    higher_is_better=True,
    level="set",
    needs=("model", "images", "texts", "image_map", "text_map"),
    sides=SIDES,
)
def roar_plus(
    model,
    images: Tensor,
    texts: list[str],
    image_map: Tensor | None = None,
    text_map: Tensor | None = None,
    *,
    size: int,
    repeats: int,
    spare: Callable | None = None,
    recipe: dict | None = None,
) -> Tensor:
    """`metrics.roar_plus` of one experiment after another, each `size` pairs of its own, the mean
    over its splits: (experiments,).

    spare   gives samples that only validate; recipe: further options of `metrics.roar_plus`
    An interval over experiments speaks for other pairs too, which one over splits of the same pairs
    does not.
    """
    spare, values = spare and whole_pairs(model.name, spare), []
    for first in range(0, len(texts) - size + 1, size):
        own, words = slice(first, first + size), texts[first : first + size]
        maps = dict(image_map=None if image_map is None else image_map[own])
        if text_map is not None:
            some = text_map[own]
            maps["text_map"] = some[:, : int(some.isfinite().sum(1).max())]
        options = dict(repeats=repeats, spare=spare) | (recipe or {})
        values.append(metrics.roar_plus(model, images[own], words, **maps, **options).mean())
    return torch.stack(values)


@cache
def whole_pairs(model: str, samples: Callable) -> tuple[Tensor, list[str]]:
    """Pictures as the model takes them, and their captions."""
    c = cases(load(model), samples())
    return c.inputs, c.texts


# --- Table 1


def exact_masks(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Drop, increase and overlap of the mask itself and of its inverse."""
    c = case(model, samples, unit)
    exact = c.masks.float()
    rows = score({"exact mask": exact, "inverted mask": 1 - exact}, c, CONFIDENCE | PLACE)
    return rows[["method", "metric", "value"]].to_dict("records")


def ideal_roar(
    unit: int, *, model: str, samples: Callable, size: int, repeats: int, spare: Callable
) -> list[dict]:
    """ROAR+ of an experiment with exact masks and with a map that marks nothing. An exact mask is 0
    or 1, and things may fill more than the quarter that goes, so it is blurred: the middle of a
    thing goes first."""
    some = samples()[unit * size : (unit + 1) * size]
    c = cases(load(model), some)
    ideal = F.avg_pool2d(c.masks[:, None].float(), 31, 1, 15)[:, 0]
    rows = []
    for name, map in {"exact mask": ideal, "nothing": torch.ones_like(ideal)}.items():
        options = dict(size=size, repeats=repeats, spare=spare, recipe=LAST_BLOCK)
        value = roar_plus(load(model), c.inputs, c.texts, map, **options)
        rows.append(dict(method=name, metric="roar-plus", value=value.item()))
    return rows


def spent(unit: int, *, model: str, samples: Callable, masks: dict, paper: dict) -> list[dict]:
    """Passes and seconds of M2IB and RISE for each side of a pair, after one pass of each tower.
    RISE, which is its forward passes, has `masks` of them and counts as the `paper`'s."""
    rows = []
    for side in SIDES:
        c = case(model, samples, unit, side)
        with torch.no_grad():
            c.encoder(c.inputs)
        for name, method in {"m2ib": m.m2ib, "rise": partial(m.rise, masks=masks[side])}.items():
            seconds, a = timed(partial(explained, method, c), c.encoder.device)
            times = paper[side] / a.cost["forwards"] if name == "rise" else 1
            passes = dict(forwards=times * a.cost["forwards"], backwards=a.cost["backwards"])
            rows.append(dict(side=side, method=name, seconds=times * seconds) | passes)
    return rows
