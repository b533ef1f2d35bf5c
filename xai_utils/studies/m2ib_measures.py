"""What M2IB's studies measure: metrics of their own, and rows of single pairs.

The functions of a unit take the place of a sample among `samples()`, or say what else their unit
is, and return rows; a column `side` says which side of a pair is explained.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
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
quiet = partial(m.m2ib, noise=False)

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
def all_cases(model: str, samples: Callable, side: str = "image") -> Cases:
    return cases(load(model), samples(), modality=side)


def whole_pairs(model: str, samples: Callable) -> tuple[Tensor, list[str]]:
    """Pictures as the model takes them, and their captions."""
    c = all_cases(model, samples)
    return c.inputs, c.texts


# --- Table 1


def exact_masks(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Drop, increase and overlap of the mask itself and of its inverse."""
    c = case(model, samples, unit)
    exact = c.masks.float()
    rows = score({"exact mask": exact, "inverted mask": 1 - exact}, c, CONFIDENCE | PLACE)
    return rows[["method", "metric", "value"]].to_dict("records")


def ideal_roar(
    unit: int,
    *,
    model: str,
    samples: Callable,
    size: int,
    repeats: int,
    spare: Callable,
    recipe: dict,
) -> list[dict]:
    """ROAR+ of an experiment with exact masks and with a map that marks nothing. An exact mask is 0
    or 1, and things may fill more than the quarter that goes, so it is blurred: the middle of a
    thing goes first."""
    some = samples()[unit * size : (unit + 1) * size]
    c = cases(load(model), some)
    ideal = F.avg_pool2d(c.masks[:, None].float(), 31, 1, 15)[:, 0]
    rows = []
    for name, map in {"exact mask": ideal, "nothing": torch.ones_like(ideal)}.items():
        options = dict(size=size, repeats=repeats, spare=spare, recipe=recipe)
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


# --- steps, rates, copies, planted places

RATES_AND_STEPS = {"default": {}}
RATES_AND_STEPS |= {f"lr={r:g}": dict(lr=r) for r in (0.1, 0.3, 3.0)}
RATES_AND_STEPS |= {f"steps={n}": dict(steps=n) for n in (5, 20, 50)}


def steps_and_rates(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """M2IB at other rates and with other numbers of steps, without noise, so that every difference
    comes from the setting."""
    c = case(model, samples, unit)
    runs = {k: explained(partial(quiet, **v), c) for k, v in RATES_AND_STEPS.items()}
    found = scored(runs, c, CONFIDENCE | PLACE)
    rows = []
    for k, a in runs.items():
        ends = {what: a.trace[what][-1].item() for what in ("kl", "fit", "gate")}
        like = dict(correlation=alike(a.map, runs["default"].map))
        rows.append(dict(setting=k) | found[k] | ends | like)
    return rows


def copies(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How alike the maps of two seeds are with one noisy copy and with ten, and how alike a map
    without noise is to that of ten."""
    rows = []
    for side in SIDES:
        c = case(model, samples, unit, side)
        noisy = {
            n: [explained(partial(m.m2ib, copies=n, seed=k), c).map for k in (0, 1)]
            for n in (1, 10)
        }
        near = {f"copies={n}": alike(*maps) for n, maps in noisy.items()}
        near["no noise against copies=10"] = alike(explained(quiet, c).map, noisy[10][0])
        rows += [
            dict(modality=side, method=k, metric="map-spearman", value=v) for k, v in near.items()
        ]
    return rows


GRID = 4  # cells a side that a planted encoder reads


def planted(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Of each kind of tower whether M2IB's map has its highest score at the one place that the
    embedding is read off, and the share of the map's mass there, beside a random map's."""
    drawn = 4 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(unit))
    sentence = f"a photo of {samples()[unit].caption} on the ground"
    rows = []
    for kind in ("cells", "tokens", "text"):
        inputs, place = (drawn, unit % GRID**2) if kind != "text" else ([sentence], unit % 4)
        encoder = reading(kind, place, load(model).text)
        call = encoder, inputs, encoder(inputs)
        maps = m.m2ib(*call, layer=1, seed=unit).map, m.random_map(*call, seed=unit).map
        if kind != "text":
            maps = [F.adaptive_avg_pool2d(v, GRID).flatten(1) for v in maps]
        found, chance = (v[0].clamp(min=0) / v[0].clamp(min=0).sum() for v in maps)
        row = dict(tower=kind, hit=int(found.argmax() == place))
        rows.append(row | dict(energy=found[place].item(), random=chance[place].item()))
    return rows


def reading(kind: str, place: int, text: Encoder) -> Encoder:
    """An encoder whose embedding is what it has at one place: a cell of a CNN, a token of a ViT, or
    the word embedding of a text."""
    if kind == "text":
        parts = Parts(text.parts.stem, (lambda z, _: z,), lambda z, _: z[:, place + 1])
        return replace(text, parts=parts, dim=None)
    block, tokens = (torch.nn.Identity(),), None
    if kind == "cells":
        parts = Parts(in_cells, block, lambda z: z.flatten(2)[..., place])
    else:  # one extra token in front
        parts = Parts(
            lambda x: F.pad(in_cells(x).flatten(2).mT, (0, 0, 1, 0)),
            block,
            lambda z: z[:, place + 1],
        )
        tokens = (1, (GRID, GRID))
    return wrap(lambda x: parts.tail(parts.stem(x)), image_size=32, parts=parts, tokens=tokens)


def in_cells(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, GRID)


# --- texts, betas


def names(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Two names of one picture: of each the mean of the scaled map on its thing minus that on the
    other one, and how alike the two maps are, beside those of two seeds of the first."""
    c = case(model, samples, unit, target="things").take([0, 1])
    maps = explained(m.m2ib, c).map
    again = explained(partial(m.m2ib, seed=1), c.take([0])).map
    call = c.encoder, c.inputs, c.targets, min_max(maps)
    contrast = metrics.mask_contrast(*call, masks=c.masks, others=c.others).tolist()
    near = dict(texts=alike(maps[:1], maps[1:]), seeds=alike(maps[:1], again))
    return [dict(first=contrast[0], second=contrast[1]) | near]


def first_thing(model: str, samples: Callable, unit: int) -> Cases:
    """A picture explained by the name of the first of its things."""
    return case(model, samples, unit, target="things").take([0])


def betas(unit: int, *, model: str, samples: Callable, tried: tuple[float, ...]) -> list[dict]:
    """Of each beta the mean gate at the end; the parts of the picture above what a quarter of it
    has at beta = 0.1, in nats, and above half of the map's range; how much of the thing the map
    finds; and how alike the map is to those of beta = 0.1 and of the largest beta. Of a random map
    only what it finds."""
    c = first_thing(model, samples, unit)
    runs = {b: explained(partial(m.m2ib, beta=b), c) for b in tried}
    usual, last = runs[0.1].map, runs[max(tried)].map
    above = usual.quantile(0.75).item()
    maps = {f"beta={b:g}": a.map for b, a in runs.items()}
    maps["random"] = explained(m.random_map, c).map
    found = scored(maps, c, {"iou": metrics.iou, "mask-recall": metrics.mask_recall})
    rows = []
    for b, a in runs.items():
        row = dict(method=f"beta={b:g}", gate=a.trace["gate"][-1].item())
        row["map-area"] = (a.map > above).float().mean().item()
        row["above half"] = (min_max(a.map) > 0.5).float().mean().item()
        row |= dict(like_usual=alike(a.map, usual), like_last=alike(a.map, last))
        rows.append(row | found[row["method"]])
    return [*rows, dict(method="random") | found["random"]]


# --- random weights


def edges(encoder: Encoder, inputs, targets: Tensor) -> Attribution:
    """An edge detector in the shape of a method, which never asks the encoder: Sobel's filter,
    averaged to cells; of texts the length of each token."""
    a = m.random_map(encoder, inputs, targets)
    if a.tokens is None:
        sobel = torch.tensor([[[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]]]).to(inputs)
        grey = inputs.mean(1, keepdim=True)
        both = [F.conv2d(grey, k, padding=1) for k in (sobel, sobel.mT)]
        cells = F.adaptive_avg_pool2d(torch.hypot(*both), CELLS)  # (B, 1, 7, 7)
        map = F.interpolate(cells, size=inputs.shape[-2:], mode="bilinear")[:, 0].cpu()
    else:
        map = a.map.clone()
        for row, words in zip(map, a.tokens):
            row[: len(words)] = torch.tensor([len(t.removeprefix("##")) for t in words])
    return replace(a, map=map, signed=False)


def randomised(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How alike maps are to that of the trained model: those of one whose weights are all random,
    of another seed, of what knows no model, and of the cascade from the output to the input, whose
    maps are made without noise. Each pair draws weights of its own. Also how alike each is to the
    edges of the picture, or to the lengths of the tokens."""
    rows = []
    for side in SIDES:
        c = case(model, samples, unit, side)
        call = c.encoder, c.inputs, c.targets
        trained, marks = explained(m.m2ib, c).map, explained(edges, c).map
        lost = metrics.randomised_map(m.m2ib, *call, list(c.encoder.weights), seed=unit)
        against = {"all weights random": lost}
        against["trained, other seed"] = explained(partial(m.m2ib, seed=1), c).map
        against |= {"edge detector": marks, "random map": explained(m.random_map, c).map}
        for name, map in against.items():
            rows.append(dict(side=side, against=name) | likeness(side, trained, map, marks))
        cascade = metrics.randomised_maps(quiet, *call, seed=unit)
        for step, (group, map) in enumerate(cascade.items()):
            row = dict(side=side, against="cascade", step=step, group=group)
            rows.append(row | likeness(side, cascade["trained"], map, marks))
    return rows


def likeness(side: str, trained: Tensor, map: Tensor, marks: Tensor) -> dict:
    places = metrics.ssim(trained, map).item() if side == "image" else math.nan
    return dict(correlation=alike(trained, map), ssim=places, with_edges=alike(marks, map))


def before_and_behind(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How alike maps without noise are to the trained one with random blocks behind the bottleneck
    and with random blocks in front of it, equally many, and with all that lies on one side."""
    rows = []
    for side in SIDES:
        c = case(model, samples, unit, side)
        call, depth = (c.encoder, c.inputs, c.targets), c.encoder.depth
        groups, own = weight_groups(c.encoder, c.inputs), c.encoder.layer_at((OWN + 1) / 12)
        for where, layer, width in (
            ("own layer", own, depth - own),
            ("middle", depth // 2, depth // 2),
            ("own layer, all", own, depth),
        ):
            ranges = {
                "before": [f"block {b}" for b in range(max(layer - width, 0), layer)],
                "behind": [f"block {b}" for b in range(layer, min(layer + width, depth))],
            }
            if width == depth:
                ranges = {
                    "before": [*ranges["before"], "stem"],
                    "behind": [*ranges["behind"], "tail"],
                }
            method = partial(quiet, layer=layer)
            row = dict(side=side, where=where, layer=layer, depth=depth, blocks=width)
            trained = method(*call).map
            for part, some in ranges.items():
                names = [n for group in some for n in groups.get(group, [])]
                row[part] = alike(trained, metrics.randomised_map(method, *call, names, seed=unit))
            rows.append(row)
    return rows


# --- Table 2

# Fewer noisy copies than the paper's ten: maps of pictures hardly depend on how many there are.
COPIES = dict(image=1, text=4)
USUAL = (OWN, 0.1, 1.0)
SETTINGS = [
    (block, b, v) for block in (7, 8, 9) for b in (1.0, 0.1, 0.01) for v in (1.0, 0.1, 0.01)
]


def set_to(c: Cases, block: int, beta: float, sigma2: float) -> Attribution:
    """M2IB's maps of some cases at a setting of Table 2."""
    options = dict(beta=beta, sigma=sigma2**0.5, copies=COPIES[c.modality])
    return explained(partial(m.m2ib, layer=c.encoder.layer_at((block + 1) / 12), **options), c)


def all_settings(c: Cases) -> dict[tuple, Attribution]:
    """The maps at all settings. Where a tower has so few blocks that two layers of 12 are one,
    their maps are the same and made once."""
    found, made = {}, {}
    for block, *rest in SETTINGS:
        key = c.encoder.layer_at((block + 1) / 12), *rest
        made[key] = made.get(key) or set_to(c, block, *rest)
        found[block, *rest] = made[key]
    return found


def terms(beta: float, a: Attribution) -> dict[str, Tensor]:
    """The two terms of the loss at the end, (n,) each, and how far they are from equal."""
    kl, fit = a.trace["kl"][-1], a.trace["fit"][-1]
    return dict(kl=kl, fit=fit, imbalance=(beta * kl / fit.clamp(min=0.01)).log().abs())


def grid(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """Of each side of a pair and each setting of Table 2 both terms of the loss, and how alike the
    map is to that of the usual setting and to that with the least noise. Of pictures the first is
    over as many cells, drawn at random, as the caption has tokens."""
    rows, words = [], None
    for side in reversed(SIDES):
        c = case(model, samples, unit, side)
        words = len(c.tokens[0]) if side == "text" else words
        drawn = torch.randperm(CELLS**2, generator=torch.Generator().manual_seed(unit))[:words]
        runs = all_settings(c)
        places = {v: a.map for v, a in runs.items()}
        if side == "image":
            cells = {v: F.adaptive_avg_pool2d(map, CELLS).flatten(1) for v, map in places.items()}
            places = {v: map[:, drawn] for v, map in cells.items()}
        for v, a in runs.items():
            row = dict(side=side) | dict(zip(("block", "beta", "sigma2"), v))
            row |= {k: t.item() for k, t in terms(v[1], a).items()}
            row["like_usual"] = alike(places[v], places[USUAL])
            row["like_least_noise"] = alike(a.map, runs[OWN, 0.1, 0.01].map)
            rows.append(row)
    return rows


def setting(
    unit: int,
    *,
    model: str,
    samples: Callable,
    side: str,
    blocks: tuple[int, ...],
    repeats: int,
    spare: Callable | None,
    recipe: dict,
) -> list[dict]:
    """One setting of Table 2, the unit, on one side of all pairs: ROAR+, the mean over splits; the
    mean overlap with what the caption names; and the means of the loss's terms.

    blocks  only settings of these layers are units
    """
    v = [v for v in SETTINGS if v[0] in blocks][unit]
    c = all_cases(model, samples, side)
    a = set_to(c, *v)
    pairs = c.images, c.inputs if side == "text" else c.texts
    spare = spare and whole_pairs(model, spare)
    options = {f"{side}_map": a.map, "repeats": repeats, "spare": spare} | recipe
    row = dict(side=side, n=len(c)) | dict(zip(("block", "beta", "sigma2"), v))
    row["roar_plus"] = metrics.roar_plus(c.model, *pairs, **options).mean().item()
    if side == "image" and c.masks is not None:
        call = c.encoder, c.inputs, c.targets, a.map
        row["iou"] = metrics.localization_iou(*call, masks=c.masks).mean().item()
    return [row | {k: t.mean().item() for k, t in terms(v[1], a).items()}]


# --- a tuned model

LESSON = dict(blocks=1, epochs=6, lr=3e-4)


def tuned(unit: int, *, model: str, samples: Callable, lessons: int) -> list[dict]:
    """What a model makes of some pictures before and after it was tuned on others of their kind:
    the overlap of M2IB's maps, without noise, with what the captions name, and the match.

    samples  (seed=) -> pictures, the first `lessons` of which are studied; each unit has its own
    """
    some, whole = samples(seed=unit), load(model)
    study = cases(whole, some[:lessons])
    states = {
        "as it is": nullcontext(),
        "tuned": metrics.fine_tuned(whole, study.inputs, study.texts, seed=unit, **LESSON),
    }
    rows = []
    for name, state in states.items():
        with state:
            c = cases(whole, some[lessons:])
            call = c.encoder, c.inputs, c.targets, explained(quiet, c).map
            overlap = metrics.localization_iou(*call, masks=c.masks).tolist()
            for k, (iou, match) in enumerate(zip(overlap, c.match.tolist())):
                rows.append(dict(state=name, picture=k, iou=iou, match=match))
    return rows
