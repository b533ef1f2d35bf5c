"""All five systems and the baselines on the same pairs by one protocol, which no paper has.

A method stands as its own paper sets it and, where another setting of `SETTINGS` found named things
better on scenes of the train split, once more as "..., tuned". Which one did is in `TUNED`, as the
study head-to-head-tuning found it.
"""

from collections.abc import Callable
from functools import cache, partial

import pandas as pd
from torch import Tensor

from .. import methods as m
from .. import metrics
from ..cases import Cases, cases
from ..data import Sample, load_dataset, recognised
from ..metrics.cost import timed
from ..models import load_model
from ..scoring import attribution
from ..types import Attribution, Encoder
from . import sets
from .aha import Trained, drawn
from .base import Judged, Measured, Study

VIT = "vit-photos"
MODELS = (VIT, "lit-lite0", "conse-lite0")
N, LESSONS, FEW, TIMED = 60, 20, 20, 5  # pairs judged, tuned on, with random weights, timed
SIDES = ("image", "text")

PASSES = 300  # those of P-IBISA's map, 20 masks and 15 steps: RISE and Kernel SHAP get as many
SHAP = partial(m.kernel_shap, samples=PASSES)


def at(encoder: Encoder, inputs, targets: Tensor, *, method: Callable, twelfths: int, **given):
    """A method in front of block `twelfths` of 12, at the same share of other depths."""
    return method(encoder, inputs, targets, layer=encoder.layer_at(twelfths / 12), **given)


SYSTEMS = {"p-ibisa": m.p_ibisa, "m2ib": m.m2ib, "nib": m.nib, "adaib": partial(m.adaib, g="mlp")}
BASELINES = {
    "saliency": m.saliency,
    "fast-ig": m.fast_ig,
    "integrated-gradients": m.integrated_gradients,
    "mfaba": partial(m.mfaba, layer=0),
    "grad-cam": m.grad_cam,
    "iba": m.iba,
    "kernel-shap": SHAP,
}
OF_IMAGES = {"sbsm": m.sbsm, "ibisa": m.ibisa}
OF_ATTENTION = {
    "attention-rollout": m.attention_rollout,
    "ag-cam": m.ag_cam,
    "chefer": m.chefer,
    "legrad": m.legrad,
}
AHA = partial(drawn, explainer=Trained(VIT))
CONTROLS = {"random": m.random_map}
BLIND = {"ones": m.ones_map, "centred-gaussian": m.centred_gaussian}

BLOCKS = (8, 10, 11)
SETTINGS = {  # of images; method -> setting -> how, the paper's own left out
    "p-ibisa": {f"beta={b:g}": partial(m.p_ibisa, beta=b) for b in (1.0, 3.0)}
    | {"learned": partial(m.p_ibisa, beta=None, phi=None)},
    "m2ib": {
        f"block {k}, beta={b:g}": partial(at, method=m.m2ib, twelfths=k, beta=b)
        for k in BLOCKS
        for b in (0.01, 0.1, 1.0)
    },
    "nib": {f"block {k}": partial(at, method=m.nib, twelfths=k) for k in (3, 6, 8, 10, 11)},
    "adaib": {
        f"block {k}, g={g}": partial(at, method=m.adaib, twelfths=k, g=g)
        for k in BLOCKS
        for g in ("mlp", "scaled")
    },
    "aha": {f"refine={t}": partial(AHA, refine=t) for t in (1, 3)},
    "grad-cam": {f"block {k}": partial(at, method=m.grad_cam, twelfths=k) for k in (6, 8, 10, 11)},
    "iba": {f"block {k}": partial(at, method=m.iba, twelfths=k) for k in (6, 8, 10, 11)},
    "ibisa": {f"beta={b:g}": partial(m.ibisa, beta=b) for b in (1.0, 3.0)},
    "rise": {f"cells={c}, p=0.5": partial(m.rise, masks=PASSES, cells=c, p=0.5) for c in (5, 8)},
    "kernel-shap": {"cells=5": partial(SHAP, cells=5)},
    "sbsm": {f"window={w}": partial(m.sbsm, window=w, stride=w // 4) for w in (48, 96)},
    "chefer": {f"first={k}": partial(m.chefer, first=k) for k in (6, 10, 11)},
    "legrad": {f"first={k}": partial(m.legrad, first=k) for k in (6, 10, 11)},
}
TUNED: dict[str, dict[str, str]] = {}  # model -> method -> setting


def methods_of(model: str, side: str) -> dict[str, Callable]:
    """Every method that the model's side can be explained by, as its own paper sets it."""
    found = SYSTEMS | {"aha": AHA} if (model, side) == (VIT, "image") else dict(SYSTEMS)
    found |= BASELINES | {"rise": partial(m.rise, masks=PASSES)}
    found |= OF_IMAGES if side == "image" else {}
    found |= OF_ATTENTION if side == "text" or model == VIT else {}
    return found | CONTROLS | (BLIND if side == "image" else {})


def tuned_of(model: str) -> dict[str, Callable]:
    return {f"{name}, tuned": SETTINGS[name][s] for name, s in TUNED.get(model, {}).items()}


@cache
def lessons(model: str) -> list[Sample]:
    """Scenes of two things from the train split, of which a text names one."""
    known = recognised(load_model(model), top=sets.TOP)
    options = dict(objects=2, stamps=known)
    found = load_dataset("scenes", split="train", n=LESSONS, seed=0, **options)
    return sets.first_named(list(found))


SEED = 62
PICTURES = dict(  # name of a set -> its pictures for a model
    embedded={"scenes": lambda model: partial(sets.named, model, N, seed=SEED)},
    captioned={
        "coco": lambda model: partial(sets.one_of_two, "coco/train", N),
        "flickr8k": lambda model: partial(sets.captioned, "flickr8k", N),
    },
)
CAPTIONS = dict(
    embedded={"scenes": lambda model: partial(sets.scenes, model, 100, objects=2, seed=SEED)},
    captioned={"flickr8k": lambda model: partial(sets.captioned, "flickr8k", 100)},
)
PLACED = ("scenes", "coco")
PLACES = {"iou": metrics.iou, "pointing-hit": metrics.pointing_game}
PLACES |= {"energy-in-mask": metrics.energy_in_mask}
MATCH = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
CURVES = {"morf": partial(metrics.morf, steps=14), "lerf": partial(metrics.lerf, steps=14)}
SOFT = {"conf-drop-nib": partial(metrics.confidence_drop, protocol="nib")}


def images(profile: str) -> list[Judged]:
    return [
        Judged(
            name=f"{data}, {model}",
            model=model,
            samples=samples(model),
            methods=methods_of(model, "image") | tuned_of(model),
            metrics=(PLACES if data in PLACED else {}) | MATCH | CURVES,
        )
        for data, samples in PICTURES.get(profile, {}).items()
        for model in MODELS
    ]


def texts(profile: str) -> list[Judged]:
    return [
        Judged(
            name=f"{data}, {model}",
            model=model,
            samples=samples(model),
            methods=methods_of(model, "text"),
            metrics=MATCH | SOFT,
            modality="text",
        )
        for data, samples in CAPTIONS.get(profile, {}).items()
        for model in MODELS
    ]


def tuning(profile: str) -> list[Judged]:
    if profile != "embedded":
        return []
    return [
        Judged(
            name=model,
            model=model,
            samples=partial(lessons, model),
            methods=offered(model),
            metrics={"iou": metrics.iou},
        )
        for model in MODELS
    ]


def offered(model: str) -> dict[str, Callable]:
    """What is tuned, "method: setting" -> how; "method: own" is as its paper sets it."""
    own = methods_of(model, "image")
    return {
        f"{name}: {setting}": method
        for name in own
        if name in SETTINGS
        for setting, method in ({"own": own[name]} | SETTINGS[name]).items()
    }


def best(rows: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What `TUNED` has to say by the rows of head-to-head-tuning: of each method the setting of the
    highest mean IoU, none where its paper's own has it."""
    mean = rows.groupby(["part", "method"], sort=False).value.mean().reset_index()
    mean[["name", "setting"]] = mean.method.str.split(": ", n=1, expand=True)
    first = mean.loc[mean.groupby(["part", "name"], sort=False).value.idxmax()]
    first = first[first.setting != "own"]
    return {model: dict(zip(own.name, own.setting)) for model, own in first.groupby("part")}


def explained(method: Callable, c: Cases) -> Attribution:
    return attribution("method", method, c)


def blindness(unit: int, *, model: str, side: str, samples: Callable) -> list[dict]:
    """How alike each method's map is to that of the same model with random weights: rank
    correlation, 0 for a map that is all the model's. Each pair draws weights of its own."""
    c, rows = cases(load_model(model, device="cpu"), [samples()[unit]], modality=side), []
    for name, method in methods_of(model, side).items():
        trained = explained(method, c).map
        lost = metrics.randomised_map(
            method, c.encoder, c.inputs, c.targets, list(c.encoder.weights), seed=unit
        )
        rows.append(dict(method=name, correlation=metrics.rank_correlation(trained, lost).item()))
    return rows


def seconds(unit: int, *, model: str, side: str, samples: Callable) -> list[dict]:
    """What a map costs, alone, after one pass: passes, and seconds as they came."""
    c, rows = cases(load_model(model, device="cpu"), [samples()[unit]], modality=side), []
    c.match  # noqa: B018 - the first pass takes longer
    for name, method in methods_of(model, side).items():
        took, a = timed(partial(explained, method, c), c.encoder.device)
        rows.append(dict(method=name, seconds=took) | a.cost)
    return rows


def measured(profile: str, measure: Callable, n: int, loose=()) -> list[Measured]:
    if profile != "embedded":
        return []
    pictures, captions = PICTURES[profile]["scenes"], CAPTIONS[profile]["scenes"]
    return [
        Measured(
            name=f"{model}, {side}",
            n=n,
            measure=partial(measure, model=model, side=side, samples=samples(model)),
            loose=loose,
        )
        for model in MODELS
        for side, samples in zip(SIDES, (pictures, captions))
    ]


STUDIES = [
    Study(
        name="head-to-head-tuning",
        asks="Which setting of each method finds named things best, on pictures kept apart?",
        parts=tuning,
    ),
    Study(
        name="head-to-head-images",
        asks="Which method finds what a text names, and keeps what the model rests on?",
        parts=images,
    ),
    Study(
        name="head-to-head-texts",
        asks="Which method finds the words that a match rests on?",
        parts=texts,
    ),
    Study(
        name="head-to-head-blindness",
        asks="Whose map stays the same when the model has forgotten everything?",
        parts=partial(measured, measure=blindness, n=FEW),
    ),
    Study(
        name="head-to-head-costs",
        asks="What does a map cost, in passes and in seconds?",
        parts=partial(measured, measure=seconds, n=TIMED, loose=("seconds",)),
    ),
]
