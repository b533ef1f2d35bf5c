"""What P-IBISA's studies measure beside metrics of single maps: pairs of pictures, what the
optimisation does, what a map costs; and the methods that they compare beside the kit's own.

A measure takes a unit, such as the place of a picture, and returns rows. Those that judge maps
return the rows of `score`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..cases import Cases, cases
from ..data import (
    Sample,
    alike_and_apart,
    confident,
    load_dataset,
    of_kinds,
    plant,
    readable,
    seen,
    showing,
)
from ..data.stamps import table
from ..methods import ibisa, integrated_gradients, p_ibisa, random_map, rise, sbsm
from ..methods.masks import grid_size, sample_grids, upsample
from ..methods.p_ibisa import optimise_grids, similar
from ..models import load_model, rescaled, wrap
from ..models.strategies import parts_of
from ..scoring import explain, score, tabulate
from ..types import Attribution, Encoder, ImageEncoder
from . import sets

MASKS, STEPS = 20, 15  # the paper's N and T
SURE = 0.3  # least probability of the leading class, where a class is explained
LEAST = 0.02  # of the picture: the area of a thing that two pictures share

load = cache(load_model)


def of_itself(
    encoder: Encoder, inputs: Tensor, targets: Tensor, *, method: Callable, seed: int = 0
) -> Attribution:
    """The method with the inputs' own embeddings in the place of the targets."""
    with torch.no_grad():
        own = encoder(inputs)
    return method(encoder, inputs, own, seed=seed)


def of_untrained(
    encoder: Encoder, inputs: Tensor, targets: Tensor, *, name: str, seed: int = 0
) -> Attribution:
    """P-IBISA's maps by the network `name` as it was before its training."""
    start = load(f"{parts_of(name)[0]}-dino", pretrained="random", device="cpu")
    search = partial(p_ibisa, masks=MASKS, steps=STEPS)
    return of_itself(start, inputs, targets, method=search, seed=seed)


def retrieve(encoder: ImageEncoder, x: Tensor, h: Tensor) -> Attribution:
    """P-IBISA of a model that ranks by distance; beta = 1, as in the paper's Figure 4."""
    return p_ibisa(encoder, x, h, beta=1.0, phi=1.0, align="mse", masks=MASKS, steps=STEPS)


SMOOTH = {"p-ibisa": retrieve, "sbsm": sbsm}
SIMILAR = SMOOTH | {"integrated-gradients": integrated_gradients, "random": random_map}
BY_DISTANCE = {
    "conf-drop": partial(metrics.confidence_drop, similarity="inverse-distance"),
    "conf-incr": partial(metrics.confidence_increase, similarity="inverse-distance"),
    "map-tv": metrics.map_total_variation,
}
NOISE = 0.1  # standard deviation of weak noise, in units of the normalised image


@cache
def gallery(data: str, model: str, kinds: int, each: int) -> tuple[Cases, Tensor]:
    """Pictures in groups of `each` that show the same, and the place of the one nearest to each.

    Scenes show one stamp of a group on changing grounds; of other sets a group is a label or the
    largest thing. The embedding is divided by one number, by which two pictures are at a mean
    squared error of 1 on average: P-IBISA's weights have no unit else, and no ranking changes.
    """
    base = sets.classifier(model)
    c = cases(base, pictures_by_kind(data, kinds, each, base.image_size), target="self")
    apart = ~torch.eye(len(c), dtype=torch.bool)
    squares = torch.cdist(c.targets, c.targets)[apart].square()
    unit = (squares.mean() / c.targets.shape[1]).sqrt().item()
    c = cases(rescaled(base, unit), c.samples, target="self")
    distance = torch.cdist(c.targets, c.targets).masked_fill(~apart, float("inf"))
    return c, distance.argmin(1)


def pictures_by_kind(data: str, kinds: int, each: int, size) -> list[Sample]:
    if data != "scenes":
        return of_kinds((seen(s, size) for s in readable(load_dataset(data))), kinds, each)
    ids = [row["id"] for row in table() if not row["novel"]]
    found = []
    for seed, stamp in enumerate(np.random.default_rng(0).permutation(ids)[:kinds]):
        found += load_dataset("scenes", n=each, objects=1, stamps=[str(stamp)], seed=seed)
    return found


def retrieval(unit: int, *, side: str, **of) -> list[dict]:
    """Table 4 for one query: the query, or the picture retrieved for it, explained by the other,
    judged by the distance between the two; of the query also how weak noise changes the map.

    of  as in `gallery`
    """
    c, nearest = gallery(**of)
    near = int(nearest[unit])
    one, other = (unit, near) if side == "query" else (near, unit)
    pair = replace(
        c.take([one]),
        targets=c.targets[[other]],
        names=[f"{unit}-{near}"],
        dataset=f"gallery, {side}",
    )
    maps = explain(SIMILAR, pair)
    rows = score(maps, pair, BY_DISTANCE).to_dict("records")
    if side != "query":
        return rows
    generator = torch.Generator().manual_seed(unit)
    noise = NOISE * torch.randn(pair.inputs.shape, generator=generator)
    noisy = explain(SMOOTH, replace(pair, inputs=pair.inputs + noise))
    alike = {k: metrics.rank_correlation(maps[k].map, a.map) for k, a in noisy.items()}
    values = {k: {"map-spearman": v} for k, v in alike.items()}
    return rows + tabulate(values, pair).to_dict("records")


def shared_item(unit: int, *, item: str, side: int, **of) -> list[dict]:
    """Two pictures of different kinds with the same small item in a corner of each: the share of
    the first one's map that lies on the item, over its share of the area, and the same for the two
    pictures without it; one row a method.

    side  the item's longer side in pixels; of: as in `gallery`
    """
    c, _ = gallery(**of)
    rng = np.random.default_rng(unit)
    kinds = rng.choice(of["kinds"], 2, replace=False)
    picks = [of["each"] * int(kind) + int(rng.integers(of["each"])) for kind in kinds]
    ball = next(s for s in load_dataset("stamps") if s.id == item)
    bare = c.take(picks)
    marked = cases(c.encoder, [plant(s, ball, side=side) for s in bare.samples], target="self")
    place = marked.samples[0].masks(c.encoder.image_size)[:1]  # (1, H, W)
    found, apart = {}, {}
    for label, both in {"with_item": marked, "without": bare}.items():
        one = replace(both.take([0]), targets=both.targets[[1]], masks=place)
        for k, a in explain(SMOOTH | {"random": random_map}, one).items():
            call = one.encoder, one.inputs, one.targets, metrics.min_max(a.map)
            mass = metrics.energy_in_mask(*call, masks=place)
            found.setdefault(k, {})[label] = float(mass / place.double().mean())
        apart[label] = float((both.targets[0] - both.targets[1]).norm())
    nearer = 1 - apart["with_item"] / apart["without"]
    return [dict(pair=unit, method=k, nearer=nearer) | both for k, both in found.items()]


@cache
def pairs(data: str, n: int) -> list[Sample]:
    """n pairs of pictures, one after the other, that share one thing and differ in another, with
    those things. Scenes have two stamps each, on different grounds."""
    if data != "scenes":
        every = (seen(s, (224, 224), least=LEAST) for s in readable(load_dataset(data)))
        return alike_and_apart(every, n)
    stamps, found = [s.id for s in load_dataset("stamps")], []
    for unit in range(n):
        common, *others = (str(s) for s in np.random.default_rng(unit).choice(stamps, 3, False))
        for k, other in enumerate(others):
            own = dict(stamps=[common, other], seed=2 * unit + k)
            found += load_dataset("scenes", n=1, objects=2, **own)
    return found


def contrast(unit: int, *, model: str, data: str, n: int) -> list[dict]:
    """Figure 5 counted: the mean of the map "similar" minus "different" on what a picture shares
    with its partner, on what sets it apart, and on the ground."""
    both = pairs(data, n)[2 * unit : 2 * unit + 2]
    c = cases(sets.classifier(model), both, target="self")
    shared = {thing.caption for thing in both[1].things}
    places = both[0].masks(c.encoder.image_size)
    is_shared = torch.tensor([thing.caption in shared for thing in both[0].things])
    on = places[is_shared].any(0, keepdim=True)
    off = places[~is_shared].any(0, keepdim=True) & ~on
    one = replace(c.take([0]), dataset="pairs", targets=c.targets[[1]], masks=on, others=off)
    search = partial(p_ibisa, why="contrast", masks=MASKS, steps=STEPS)
    maps = {"p-ibisa": explain({"p-ibisa": search}, one)["p-ibisa"].map}
    two = [random_map(one.encoder, one.inputs, one.targets, seed=s).map for s in (0, 1)]
    maps["random"] = two[0] - two[1]
    regions = {"shared": on, "differing": off, "ground": ~(on | off)}
    rows = [
        score(maps, replace(one, masks=place), {name: metrics.mask_mean})
        for name, place in regions.items()
    ]
    rows.append(score(maps, one, {"shared - differing": metrics.mask_contrast}))
    return [row for part in rows for row in part.to_dict("records")]


@cache
def two_things(data: str, model: str, n: int) -> list[Sample]:
    """The first n pictures of two things, the two largest, in one class of which a model is
    sure."""
    encoder = sets.classifier(model)
    if data == "scenes":
        return confident(encoder, sets.of_imagenet(100 + 3 * n, objects=2), n, least=SURE)
    every = showing(load_dataset(data), 100 + 10 * n, things=2, size=encoder.image_size)
    return confident(encoder, every, n, least=SURE)


HIGH, LOW = 10.0, 0.1  # beta; at 100 nothing is left of a map


def search(unit: int, *, data: str, model: str, n: int) -> list[dict]:
    """Figure 6 counted: the thing that the class rests on, whose removal costs the class most, and
    the things that most of P-IBISA's map of the embedding and of IBISA's map of the class lie on;
    where P-IBISA's lies on another one, how a small beta changes that.

    Rows have the places of these things among the picture's, and `high` and `low`, the share of
    the map on the thing that the class rests on over the thing's share of the area.
    """
    c = cases(
        sets.classifier(model), two_things(data, model, n)[unit : unit + 1], target="predicted"
    )
    own = replace(c, targets=c.embeddings)
    call = c.encoder, c.inputs, c.targets
    things = c.samples[0].masks(c.encoder.image_size)[None]  # (1, 2, H, W)
    rests_on = int(metrics.occlusion_drop(*call, things).argmax())

    def shares(a: Attribution) -> list[float]:
        return [float(metrics.energy_in_mask(*call, a.map, masks=m)) for m in things.unbind(1)]

    fixed = partial(p_ibisa, masks=MASKS, steps=STEPS)
    embedding = shares(explain({"high": partial(fixed, beta=HIGH)}, own)["high"])
    of_class = shares(explain({"ibisa": partial(ibisa, beta=1.0, phi=1.0)}, c)["ibisa"])
    area = float(things[0, rests_on].double().mean())
    row = dict(picture=c.names[0], p=float(c.match[0]), rests_on=rests_on)
    row |= dict(p_ibisa=int(np.argmax(embedding)), ibisa=int(np.argmax(of_class)))
    row |= dict(high=embedding[rests_on] / area, low=float("nan"))
    if row["p_ibisa"] != rests_on:
        low = shares(explain({"low": partial(fixed, beta=LOW)}, own)["low"])
        row["low"] = low[rests_on] / area
    return [row]


RATES = (0.05, 0.1, 1.0)  # of beta, phi and t; 1 is printed, 0.1 is the kit's
T_MIN = 0.1


def learned_weights(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """What becomes of every single run: with the learned weights of Eq. 8, with and without t, at
    each of RATES, and with fixed ones (rate 0).

    weight  exp(-beta) at the end; area: mean of the map; finite: whether the whole trace is; held:
            whether t met its floor; lowest: the lowest loss; gain: the last cosine minus the first
    """
    c = cases(sets.classifier(model), samples()[unit : unit + 1], target="self")
    ways = {(r, t): dict(beta=None, phi=None, weights_lr=r) for r in RATES for t in (True, False)}
    ways[0.0, False] = dict(beta=2.0, phi=1.0)
    rows = []
    for (rate, has_t), way in ways.items():
        floor = T_MIN if has_t else None
        method = partial(p_ibisa, masks=MASKS, steps=STEPS, t_min=floor, **way)
        a = explain({"p-ibisa": method}, c)["p-ibisa"]
        trace = {k: v[:, 0] for k, v in a.trace.items()}  # (T, N) each
        for k in range(MASKS):
            run = {name: v[:, k] for name, v in trace.items()}
            row = dict(picture=c.names[0], rate=rate, t=has_t, area=a.map.mean())
            row["weight"] = run["beta"][-1].neg().exp() if rate else torch.tensor(2.0)
            row["finite"] = torch.stack([v.isfinite().all() for v in run.values()]).all()
            row["held"] = run["t"].min() <= T_MIN if has_t else torch.tensor(False)
            row |= dict(lowest=run["loss"].min(), gain=run["align"][0] - run["align"][-1])
            rows.append({k: v.item() if isinstance(v, Tensor) else v for k, v in row.items()})
    return rows


COUNTS = (1, 5, 10, 20)
FIXED = dict(beta=2.0, phi=1.0, lr=1.0, weights_lr=0.1, t_min=0.1, k=None, chunk=64)


def optimised(c: Cases, seed: int) -> tuple[Tensor, dict]:
    """The masks of all starts of one case, (N, H, W), and the trace."""
    size = c.encoder.image_size
    start = sample_grids(MASKS, grid_size(size, None), 3.0, seed)
    g, trace = optimise_grids(c.encoder, c.inputs, c.targets, start, similar, steps=STEPS, **FIXED)
    return upsample(g[0], size), trace


def starts_and_ends(unit: int, *, model: str, samples: Callable) -> list[dict]:
    """How alike maps of two seeds are, for so many masks, and what the optimisation does to the
    cosine and to the mean mask; for a text, and of the latter also for the picture itself."""
    dual, some = load(model, device="cpu"), samples()[unit : unit + 1]
    of_text = replace(cases(dual, some), dataset="text targets")
    of_self = cases(dual, some, target="self")
    of_self = replace(of_self, dataset="self targets", names=[f"{of_self.names[0]}, itself"])
    (masks, trace), (other, _) = (optimised(of_text, seed) for seed in (0, 1))
    values = {}
    for n in COUNTS:
        one, two = (m[:n].mean(0, keepdim=True) for m in (masks, other))
        call = of_text.encoder, of_text.inputs, of_text.targets, one
        found = {"map-spearman": metrics.rank_correlation(one, two)}
        placed = {} if of_text.masks is None else {"iou": metrics.iou(*call, masks=of_text.masks)}
        values[f"masks={n}"] = found | placed
    values["p-ibisa"] = changes(trace)
    own = {"p-ibisa": changes(optimised(of_self, 0)[1])}
    rows = [tabulate(values, of_text), tabulate(own, of_self)]
    if of_text.masks is not None:
        maps = {"p-ibisa": masks.mean(0, keepdim=True), "random": random_of(of_text)}
        rows.append(score(maps, of_text, [metrics.energy_in_mask]))
    return [row for part in rows for row in part.to_dict("records")]


def random_of(c: Cases) -> Tensor:
    return random_map(c.encoder, c.inputs, c.targets).map


def changes(trace: dict) -> dict[str, Tensor]:
    """Last step minus first, the mean of all masks."""
    align, area = (trace[k].mean(2) for k in ("align", "area"))  # (T, B)
    return {"cosine-change": align[0] - align[-1], "map-area-change": area[-1] - area[0]}


def looking_at(top: int, left: int, side: int = 16) -> ImageEncoder:
    """An encoder of 64 x 64 pictures that reads the mean colour of one patch."""

    def colour(x: Tensor) -> Tensor:  # (B, 6); the constant half makes cosines informative
        patch = x[:, :, top : top + side, left : left + side].mean((2, 3))
        return torch.cat([patch, torch.ones_like(patch)], 1)

    return wrap(colour, image_size=64)


def planted(unit: int) -> list[dict]:
    """Whether the hottest pixel lies on the only patch that an encoder reads, and how much of the
    map does."""
    top, left = np.random.default_rng(unit).integers(0, 48, 2).tolist()
    encoder, white = looking_at(top, left), torch.full((1, 3, 64, 64), 2.0)
    patch = torch.zeros(1, 64, 64, dtype=torch.bool)
    patch[:, top : top + 16, left : left + 16] = True
    call = encoder, white, encoder(white)
    found = p_ibisa(*call, masks=MASKS, steps=STEPS, seed=unit).map
    noise = random_map(*call, seed=unit).map
    on = {
        k: metrics.energy_in_mask(*call, map, masks=patch).item()
        for k, map in {"p_ibisa": found, "random": noise}.items()
    }
    return [on | dict(hit=metrics.pointing_game(*call, found, masks=patch).item())]


def costs(unit: int, *, model: str, samples: Callable, rise_masks: int, part: int) -> list[dict]:
    """Passes and seconds of a map at printed settings, medians of five runs; RISE's from a part of
    its masks, times `part`."""
    c = cases(sets.classifier(model), samples()[unit : unit + 1], target="self")
    call, rows = (c.encoder, c.inputs, c.targets), []
    fewer = partial(rise, masks=rise_masks // part)
    methods = {"p-ibisa": (partial(p_ibisa, masks=MASKS, steps=STEPS), 1)}
    methods |= {"ibisa": (ibisa, 1), "rise": (fewer, part)}
    for name, (method, times) in methods.items():
        spent = metrics.cost(method, *call, repeats=5)
        kept = {k: times * spent[k] for k in ("forwards", "backwards", "seconds")}
        rows.append(dict(method=name) | kept)
    return rows


OTHERS = 200  # further sentences, or pictures with theirs


@cache
def captioner(model: str, data: str, n: int) -> Callable:
    """A stand-in for a model that writes: the nearest sentence of a bank. For scenes it has one
    for every stamp, some hundred for two of them and the pictures' own; for other sets the captions
    of the first n + `OTHERS` pictures."""
    if data == "scenes":
        things = sorted({row["caption"] for row in table() if not row["novel"]})
        rng = np.random.default_rng(0)
        two = [" and ".join(rng.choice(things, 2, replace=False)) for _ in range(OTHERS)]
        bank = [*things, *two, *(s.caption for s in described(model, data, n))]
    else:
        first = islice(readable(load_dataset(data)), n + OTHERS)
        bank = [text for s in first for text in s.captions or [s.caption]]
    return metrics.retrieval_captioner(load(model, device="cpu"), list(dict.fromkeys(bank)))


def described(model: str, data: str, n: int) -> list[Sample]:
    """The pictures with captions of their own."""
    return sets.scenes(model, n, objects=2, seed=3) if data == "scenes" else sets.captioned(data, n)


def says(images: Tensor, *, model: str, data: str, n: int) -> list[str]:
    """What the captioner says of images."""
    return captioner(model, data, n)(images)


@cache
def captioned(model: str, data: str, n: int) -> list[Sample]:
    """The pictures with what the captioner says of them, right or wrong, as their caption."""
    image, found = load(model, device="cpu").image, described(model, data, n)
    told = (says(image.transform(s.image)[None], model=model, data=data, n=n)[0] for s in found)
    return [replace(s, caption=caption) for s, caption in zip(found, told)]
