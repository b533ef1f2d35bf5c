"""What M2IB's tables, figures and claims rest on."""

from functools import partial

from .. import methods as m
from .. import metrics
from . import m2ib_measures as measures
from . import sets
from .base import Judged, Measured, Study

# Both towers are transformers, as Chefer's method asks for.
MODEL = dict(embedded="vit-photos", captioned="vit-photos", paper="clip-vit-b-32")
CNN = "lit-lite0"

TWO_THINGS = partial(sets.scenes, "vit-photos", objects=2)
# Set -> model, samples of any number. What a scene's caption names is both of its things.
TABLE_1 = dict(
    embedded={
        "scenes": ("vit-photos", TWO_THINGS),
        "scenes, CNN": (CNN, partial(sets.scenes, CNN, objects=2)),
    },
    captioned={
        "coco": ("vit-photos", partial(sets.of_two_things, "coco/train")),
        "flickr8k": ("vit-photos", partial(sets.captioned, "flickr8k")),
    },
    paper={
        "ms-cxr": (MODEL["paper"], partial(sets.captioned, "ms-cxr")),
        "cc3m": (MODEL["paper"], partial(sets.captioned, "cc3m")),
        "coco": (MODEL["paper"], partial(sets.of_two_things, "coco")),
    },
)
N = dict(  # pairs: texts cost a tenth
    embedded=dict(image=100, text=200),
    captioned=dict(image=100, text=100),
    paper=dict(image=500, text=500),
)
PLACED = ("scenes", "scenes, CNN", "coco", "ms-cxr")  # sets that say where things are
OF_TWO = ("scenes", "scenes, CNN", "coco")  # and show two of them
TRAINED = ("scenes", "coco", "ms-cxr", "cc3m")  # with ROAR+
DEAR = (*TRAINED, "flickr8k")  # with methods of many masks
MASKS = dict(  # of RISE
    embedded=dict(image=300, text=256),
    captioned=dict(image=150, text=256),
    paper=dict(image=2048, text=256),
)
SHAP = dict(embedded=1024, captioned=200, paper=2048)  # coalitions; the paper does not say

# The paper's experiments, each of pairs of its own, are a tenth of the pairs here. Spare pairs
# validate.
ROAR = dict(
    embedded=dict(
        repeats=2,
        spare=partial(TWO_THINGS, n=64, seed=100),
        recipe=measures.LAST_BLOCK,
    ),
    captioned=dict(
        repeats=2,
        spare=partial(sets.of_two_things, "coco", n=64),
        recipe=measures.LAST_BLOCK,
    ),
    paper=dict(repeats=5),
)

CONFIDENCE = measures.CONFIDENCE | {"deletion-drop": metrics.deletion_drop}
BOTH_THINGS = {
    "evenness": measures.evenness,
    "weaker-thing": measures.weaker_thing,
    "box-iou": measures.box_iou,
}
BLIND = {"ones": m.ones_map, "centred bump": m.centred_gaussian}


def methods_of(profile: str, name: str, model: str, side: str) -> dict:
    """The paper's six methods as far as the model and the profile's time allow, and controls."""
    found = {"m2ib": m.m2ib, "grad-cam": m.grad_cam, "saliency": m.saliency}
    if side == "text" or model != CNN:  # the CNN has no attention to read
        found["chefer"] = m.chefer
    if name in DEAR:
        found["rise"] = partial(m.rise, masks=MASKS[profile][side])
        found["kernel-shap"] = partial(m.kernel_shap, samples=SHAP[profile])
    return found | {"random": m.random_map} | (BLIND if side == "image" else {})


def metrics_of(profile: str, name: str, side: str) -> dict:
    found = dict(CONFIDENCE)
    if side == "image":
        found |= measures.PLACE if name in PLACED else {}
        found |= BOTH_THINGS if name in OF_TWO else {}
    if name in TRAINED:
        found["roar-plus"] = partial(
            measures.roar_plus, size=N[profile][side] // 10, **ROAR[profile]
        )
    return found


def tables(profile: str) -> list:
    """Table 1."""
    parts = [
        Judged(
            name=f"{name}, {side}",
            model=model,
            samples=partial(samples, n=N[profile][side]),
            methods=methods_of(profile, name, model, side),
            metrics=metrics_of(profile, name, side),
            modality=side,
        )
        for name, (model, samples) in TABLE_1[profile].items()
        for side in ("image", "text")
    ]
    known = "scenes" if profile == "embedded" else "coco"
    model, samples = TABLE_1[profile][known]
    common = dict(model=model, samples=partial(samples, n=N[profile]["image"]))
    masks = partial(measures.exact_masks, **common)
    parts.append(Measured(name=f"{known}, exact masks", n=N[profile]["image"], measure=masks))
    if profile == "embedded":
        ideal = partial(measures.ideal_roar, size=10, **common, **ROAR[profile])
        parts.append(Measured(name=f"{known}, exact masks, ROAR+", n=10, measure=ideal))
    return parts


PAIRS = dict(  # of things whose places are known
    embedded=partial(TWO_THINGS, n=100),
    captioned=partial(sets.of_two_things, "coco/train", n=100),
    paper=partial(sets.of_two_things, "coco", n=100),
)


def measured(profile: str, name: str, measure, n: int = 100, loose=(), **options) -> Measured:
    """A part on the profile's pairs of a picture and its caption."""
    given = dict(model=MODEL[profile], samples=PAIRS[profile]) | options
    return Measured(name=name, n=n, measure=partial(measure, **given), loose=loose)


def method(profile: str) -> list[Measured]:
    """What the paper says of steps, rates, copies and encoders."""
    return [
        measured(profile, "steps and rates", measures.steps_and_rates),
        measured(profile, "copies", measures.copies),
        measured(profile, "planted", measures.planted),
    ]


BETAS = (1e-4, 0.01, 0.1, 1.0, 100.0)


def figures(profile: str) -> list:
    """Figures 2a, 5 and 8, counted."""
    parts = [
        measured(profile, "names", measures.names),
        measured(profile, "two things", measures.betas, tried=BETAS),
    ]
    if profile == "embedded":
        one = partial(sets.scenes, "vit-photos", 200)
        parts += [
            measured(profile, "one thing", measures.betas, n=200, samples=one, tried=(0.01, 0.1)),
        ]
    return parts


def instances(profile: str) -> list[Judged]:
    """Figure 2b, counted."""
    if profile != "embedded":
        return []
    return [
        Judged(
            name="several of a kind",
            model=MODEL[profile],
            samples=partial(sets.copies, "vit-photos", 100),
            methods={"m2ib": m.m2ib, "grad-cam": m.grad_cam, "random": m.random_map},
            metrics={"instance-recall": metrics.instance_recall},
            target="things",
        )
    ]


LENGTHS = dict(  # captions of one to four things; those that people wrote
    embedded=partial(sets.scenes, "vit-photos", 200, objects=None, seed=3),
    captioned=partial(sets.captioned, "flickr8k", 100),
    paper=partial(sets.captioned, "cc3m", 500),
)


def lengths(profile: str) -> list[Judged]:
    rise = partial(m.rise, masks=MASKS["paper"]["text"])
    return [
        Judged(
            name="captions",
            model=MODEL[profile],
            samples=LENGTHS[profile],
            methods={"m2ib": m.m2ib, "rise": rise, "random": m.random_map},
            metrics={"conf-drop": metrics.confidence_drop, "tokens": measures.tokens},
            modality="text",
        )
    ]


def sanity(profile: str) -> list[Measured]:
    """Figure 4."""
    if profile == "captioned":
        return []
    return [
        measured(profile, "random weights", measures.randomised),
        measured(profile, "before and behind", measures.before_and_behind),
    ]


BLOCKS = (-1, 1, 3, 5, 7, 8, 9, 10, 11)


def table_2(profile: str) -> list:
    """Layer, beta and sigma^2; 100 pairs."""
    if profile == "captioned":
        return []
    by_block = {f"block={k}": partial(measures.m2ib_at, block=k, copies=1) for k in BLOCKS}
    roar = dict(spare=None, recipe={}) | ROAR[profile]
    roar = {k: roar[k] for k in ("spare", "recipe")}
    roar |= dict(repeats=3)
    blocks = dict(image=(7, 8, 9), text=(9,) if profile == "embedded" else (7, 8, 9))
    return [
        measured(profile, "pairs", measures.grid),
        *(
            measured(
                *(profile, f"settings, {side}", measures.setting, 9 * len(some)),
                **dict(side=side, blocks=some),
                **roar,
            )
            for side, some in blocks.items()
        ),
        Judged(
            name="layers",
            model=MODEL[profile],
            samples=PAIRS[profile],
            methods=by_block | {"random": m.random_map},
            metrics={"localization-iou": metrics.localization_iou},
        ),
    ]


def tuning(profile: str) -> list[Measured]:
    """Each unit has a model that is tuned on pictures of its own."""
    if profile != "embedded":
        return []
    lessons = dict(samples=partial(sets.domain, 26), lessons=24)
    return [measured(profile, "tuned", measures.tuned, **lessons)]


def costs(profile: str) -> list[Measured]:
    """Passes are counted and seconds measured: neither is sampled from pictures."""
    if profile == "captioned":
        return []
    masks = dict(masks=dict(image=256, text=256), paper=MASKS["paper"])
    return [measured(profile, "both sides", measures.spent, n=5, loose=("seconds",), **masks)]


STUDIES = [
    Study(
        name="m2ib-tables",
        asks="Which of six methods finds what a pair has in common, by the metrics of Table 1?",
        parts=tables,
    ),
    Study(
        name="m2ib-table-2",
        asks="What do the bottleneck's layer, beta and sigma^2 change?",
        parts=table_2,
    ),
    Study(
        name="m2ib-method",
        asks="Do steps, rates and noisy copies matter, and does any encoder do?",
        parts=method,
    ),
    Study(
        name="m2ib-figures",
        asks="Does the map follow the text, and does it grow as beta falls?",
        parts=figures,
    ),
    Study(
        name="m2ib-instances",
        asks="Does the map find all copies of a thing?",
        parts=instances,
    ),
    Study(
        name="m2ib-lengths",
        asks="Is RISE ahead on short captions alone?",
        parts=lengths,
    ),
    Study(
        name="m2ib-sanity",
        asks="Does the map depend on what the model has learned, and on which side?",
        parts=sanity,
    ),
    Study(
        name="m2ib-tuning",
        asks="Are the maps of a model that knows the domain more accurate?",
        parts=tuning,
    ),
    Study(
        name="m2ib-costs",
        asks="What does a pair cost M2IB and RISE?",
        parts=costs,
    ),
]
