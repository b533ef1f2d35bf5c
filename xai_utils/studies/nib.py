"""What NIB's tables, figures and claims rest on."""

from functools import partial

from .. import methods as m
from .. import metrics
from . import nib_measures as measures
from . import sets
from .base import Judged, Measured, Study

# Both towers of each are transformers, as most of the eight methods ask for.
MODEL = dict(embedded="vit-photos", captioned="vit-photos", paper="clip-vit-b-32")

# ImageNet's captions are "a photo of" a class, as those of "one thing". The paper gives no sizes:
# the steps between its printed increases imply 2,000, 1,000 and 1,000.
SETS = dict(
    embedded={
        "one thing": partial(sets.prompted, "vit-photos", 100),
        "two things": partial(sets.scenes, "vit-photos", 100, objects=2, seed=1),
    },
    captioned={
        "flickr8k": partial(sets.captioned, "flickr8k", 100),
        "coco": partial(sets.captioned, "coco/train", 100),
    },
    paper={
        "cc3m": partial(sets.captioned, "cc3m", 2000),
        "imagenet": partial(sets.captioned, "imagenet", 1000),
        "flickr8k": partial(sets.captioned, "flickr8k", 1000),
    },
)
SWEPT = SETS | dict(
    captioned={"flickr8k": SETS["captioned"]["flickr8k"]},
    paper={name: partial(sets.captioned, name, 200) for name in SETS["paper"]},
)
RISE = dict(embedded=300, captioned=150, paper=6000)  # masks of an image, 6,000 in NIB's repository
STEPS, LAYERS = (3, 5, 8, 10, 13, 15, 18, 20), range(2, 10)  # Tables 3 and 6, 4 and 7
BETAS = dict(  # Table 5 has those of profile paper
    embedded=(0.01, 0.05, 0.1, 0.3, 0.9),
    captioned=(0.01, 0.1, 0.9),
    paper=(*(k / 100 for k in range(1, 10)), *(k / 10 for k in range(1, 10))),
)

SCALED = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
SOFT = {
    "conf-drop-nib": partial(metrics.confidence_drop, protocol="nib"),
    "conf-incr-nib": partial(metrics.confidence_increase, protocol="nib"),
}
RELEASED = {  # four baselines as NIB's repository computes them
    "grad-cam (released)": partial(m.grad_cam, pool=False),
    "chefer (released)": partial(m.chefer, first=-1),
    "saliency (released)": m.attention_saliency,
    "fast-ig (released)": m.attention_fast_ig,
}
CONTROLS = {
    "random": m.random_map,
    "half": measures.half_map,
    "nib, positive part": measures.positive_nib,
}


def judged(profile: str, data: dict, methods: dict[str, dict]) -> list[Judged]:
    """Both sides of some sets, judged as in Table 2, with IoU where masks are exact."""
    placed = {"iou": metrics.iou} if profile == "embedded" else {}
    asked = dict(image=SCALED | placed, text=SCALED | SOFT)
    return [
        Judged(
            name=f"{name}, {side}",
            model=MODEL[profile],
            samples=samples,
            methods=methods[side],
            metrics=asked[side],
            modality=side,
        )
        for name, samples in data.items()
        for side in asked
    ]


def tables(profile: str) -> list[Judged]:
    """Table 2."""
    text = measures.METHODS | CONTROLS
    image = text | {"rise": partial(m.rise, masks=RISE[profile])} | RELEASED
    return judged(profile, SETS[profile], dict(image=image, text=text))


def sweeps(profile: str) -> list[Judged]:
    """Tables 3 to 7."""
    tried = {f"steps={n}": partial(m.nib, steps=n) for n in STEPS}
    tried |= {f"layer={v}": partial(measures.nib_at, twelfths=v) for v in LAYERS}
    tried |= {f"beta={b:g}": partial(m.m2ib, beta=b) for b in BETAS[profile]}
    tried |= {"random": m.random_map}
    return judged(profile, SWEPT[profile], dict(image=tried, text=tried))


PAIRS = dict(
    embedded=SETS["embedded"]["two things"],
    captioned=SETS["captioned"]["flickr8k"],
    paper=partial(sets.captioned, "flickr8k", 100),
)
NAMED = dict(  # pictures of two things, of which a text names one
    embedded=partial(sets.scenes, "vit-photos", 100, objects=2, seed=2),
    captioned=partial(sets.of_two_things, "coco/train", 100),
    paper=partial(sets.of_two_things, "coco", 200),
)


def measured(profile: str, name: str, measure, n: int = 100, loose=(), **options) -> Measured:
    """A part on the profile's pairs of a picture and its caption."""
    given = dict(model=MODEL[profile], samples=PAIRS[profile]) | options
    return Measured(name=name, n=n, measure=partial(measure, **given), loose=loose)


def walks(profile: str) -> list[Measured]:
    return [measured(profile, "walks", measures.walk)]


def signs(profile: str) -> list:
    """Figure 1 counted, and what places are worth."""
    more = {"nib, 1 node": partial(m.nib, steps=1), "nib, 50 nodes": partial(m.nib, steps=50)}
    one_of_two = dict(samples=partial(sets.named, "vit-photos", 100, seed=2))
    named = Judged(
        name="named",
        model=MODEL[profile],
        samples=NAMED[profile],
        target="things",
        methods={"nib": m.nib, "m2ib": m.m2ib} | more | {"random": m.random_map},
        metrics={
            "mask-contrast": partial(metrics.mask_contrast, scaled=True),
            "iou": metrics.iou,
            "pointing-hit": metrics.pointing_game,
        },
    )
    return [
        named,
        measured(profile, "cells", measures.cells, **(one_of_two if profile == "embedded" else {})),
        measured(profile, "single places", measures.single_places),
    ]


def stability(profile: str) -> list[Measured]:
    if profile == "captioned":
        return []
    return [
        measured(profile, "runs", measures.runs),
        measured(profile, "m2ib", measures.m2ib_maps),
        measured(profile, "noise", measures.noise),
    ]


def properties(profile: str) -> list[Measured]:
    """Theorems, axioms, passes and Table 1: mostly exact, so that few pictures tell."""
    if profile == "captioned":
        return []
    cnn = "lit-lite0"
    only = dict(samples=PAIRS[profile])
    towers = partial(measures.towers, models=(MODEL[profile], cnn), **only)
    criteria = partial(measures.criteria, model=MODEL[profile], other=cnn, **only)
    return [
        measured(profile, "theorems", measures.theorems, n=10),
        Measured(name="planted", n=1, measure=measures.planted),
        measured(profile, "rewritten", measures.rewritten, n=10),
        measured(profile, "mfaba", measures.mfaba_sums),
        measured(profile, "passes", measures.passes, n=1, masks=RISE[profile]),
        Measured(name="towers", n=1, measure=towers),
        Measured(name="criteria", n=3, measure=criteria),
    ]


def times(profile: str) -> list[Measured]:
    """Table 2's frames per second. RISE has a sixth of its masks: it takes at least that long."""
    if profile == "captioned":
        return []
    masks = RISE[profile] // 6
    return [measured(profile, "seconds", measures.seconds, masks=masks, loose=("seconds",))]


STUDIES = [
    Study(
        name="nib-tables",
        asks="Which of eight methods keeps the match best, on images and on texts?",
        parts=tables,
    ),
    Study(
        name="nib-sweeps",
        asks="What do NIB's steps and layer change, and what M2IB's beta?",
        parts=sweeps,
    ),
    Study(
        name="nib-walks",
        asks="How does the match move along NIB's path, and do the scores add up?",
        parts=walks,
    ),
    Study(
        name="nib-signs",
        asks="Do scores say what a place is worth, with its sign, and which thing is named?",
        parts=signs,
    ),
    Study(
        name="nib-stability",
        asks="What do chance, beta and weak noise make of the maps?",
        parts=stability,
    ),
    Study(
        name="nib-properties",
        asks="Do NIB's theorems, axioms, passes and circles come out by running?",
        parts=properties,
    ),
    Study(
        name="nib-seconds",
        asks="How long does each method take for a pair?",
        parts=times,
    ),
]
