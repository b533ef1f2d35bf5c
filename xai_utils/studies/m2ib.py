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
# Set -> model, pictures by their number. The region that a scene's caption names is both its things.
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
    },
)
N = dict(  # pairs: texts cost a tenth
    embedded=dict(image=100, text=200),
    captioned=dict(image=100, text=100),
    paper=dict(image=500, text=500),
)
PLACED = ("scenes", "scenes, CNN", "coco", "ms-cxr")  # sets that say where things are
OF_TWO = ("scenes", "scenes, CNN", "coco")  # and show two of them
DEAR = ("scenes", "coco", "flickr8k", "ms-cxr", "cc3m")  # with methods of many masks, and ROAR+
MASKS = dict(  # of RISE
    embedded=dict(image=300, text=256),
    captioned=dict(image=150, text=256),
    paper=dict(image=2048, text=256),
)
SHAP = dict(embedded=2048, captioned=256, paper=2048)  # Kernel SHAP's coalitions, which the paper
# does not name

# The paper's ten experiments, each of pairs of its own, here a tenth of the pairs. Spare pairs
# validate.
ROAR = dict(
    embedded=dict(
        size=10,
        repeats=2,
        spare=partial(TWO_THINGS, n=64, seed=100),
        recipe=measures.LAST_BLOCK,
    ),
    captioned=dict(
        size=10,
        repeats=2,
        spare=partial(sets.of_two_things, "coco", n=64),
        recipe=measures.LAST_BLOCK,
    ),
    paper=dict(size=50, repeats=5),
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
    if side == "text" or name in DEAR:
        found["rise"] = partial(m.rise, masks=MASKS[profile][side])
        found["kernel-shap"] = partial(m.kernel_shap, samples=SHAP[profile])
    return found | {"random": m.random_map} | (BLIND if side == "image" else {})


def metrics_of(profile: str, name: str, side: str) -> dict:
    found = dict(CONFIDENCE)
    if side == "image":
        found |= measures.PLACE if name in PLACED else {}
        found |= BOTH_THINGS if name in OF_TWO else {}
    if name in DEAR:
        found["roar-plus"] = partial(measures.roar_plus, **ROAR[profile])
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
    if profile == "embedded":
        common = dict(model=MODEL[profile], samples=partial(TWO_THINGS, n=100))
        roar = {k: v for k, v in ROAR[profile].items() if k != "recipe"}
        ideal = partial(measures.ideal_roar, **common, **roar)
        masks = partial(measures.exact_masks, **common)
        parts += [
            Measured(name="exact masks", n=100, measure=masks),
            Measured(name="exact masks, ROAR+", n=10, measure=ideal),
        ]
    return parts


STUDIES = [
    Study(
        name="m2ib-tables",
        asks="Which of six methods finds what a pair has in common, by the metrics of Table 1?",
        parts=tables,
    ),
]
