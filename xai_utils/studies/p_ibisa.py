"""What P-IBISA's tables and claims rest on."""

from functools import partial

from .. import methods as m
from .. import metrics
from ..models.strategies import examples
from . import p_ibisa_measures as measures
from . import sets
from .base import Judged, Measured, Study

SCALED = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
RAW = {"conf-drop (raw)": partial(metrics.confidence_drop, protocol="raw")}
PLACES = {"iou": metrics.iou, "pointing-hit": metrics.pointing_game}
CONTRAST = {"mask-contrast": metrics.mask_contrast}
CONTROLS = {"random": m.random_map, "ones": m.ones_map}

# The paper's settings: 20 masks, 15 steps; beta = 2 and phi = 1 are those of Table 2.
FIXED = {
    "p-ibisa": partial(m.p_ibisa, beta=2.0),
    "beta=1": partial(m.p_ibisa, beta=1.0),
    "beta=3": partial(m.p_ibisa, beta=3.0),
}
LEARNED = partial(m.p_ibisa, beta=None, phi=None)
TABLE_6 = FIXED | {"learnable": LEARNED}

RISE = dict(embedded=1000, captioned=200, paper=6000)  # masks; 6,000 in NIB's repository
CAPTIONED = dict(  # a picture explained by its caption
    embedded={"scenes": partial(sets.scenes, "lit-lite0", 100)},
    captioned={"flickr8k": partial(sets.captioned, "flickr8k", 100)},
    paper={  # sizes as the percentages of Table 2 imply them
        "ms-cxr": partial(sets.captioned, "ms-cxr", 216),
        "flickr8k": partial(sets.captioned, "flickr8k/all", 8091),
        "coco": partial(sets.captioned, "coco", 5000),
    },
)
THINGS = dict(  # a picture explained by each of two things in it
    embedded={"scenes, things": partial(sets.scenes, "lit-lite0", 60, objects=2, seed=1)},
    captioned={"coco, things": partial(sets.of_two_things, "coco/train", 50)},
    paper={"coco, things": partial(sets.of_two_things, "coco", 200)},
)


def captions(profile: str) -> list[Judged]:
    """Tables 2 and 6: a picture explained by a text, and by one of two things in it."""
    rivals = {"rise": partial(m.rise, masks=RISE[profile]), "m2ib": m.m2ib, "nib": m.nib}
    weights = FIXED if profile == "captioned" else TABLE_6
    common = dict(
        model="clip-vit-b-32" if profile == "paper" else "lit-lite0",
        methods=weights | rivals | CONTROLS,
    )
    placed = PLACES if profile == "embedded" else {}
    whole = [
        Judged(name=name, samples=samples, metrics=SCALED | RAW | placed, **common)
        for name, samples in CAPTIONED[profile].items()
    ]
    named = [
        Judged(
            name=name,
            samples=samples,
            target="things",
            metrics=SCALED | RAW | PLACES | CONTRAST,
            **common,
        )
        for name, samples in THINGS[profile].items()
    ]
    return whole + named


# A class explained: by methods that see it, and by P-IBISA, which sees the embedding alone.
CNNS = dict(embedded=("efficientnet-lite0",), paper=("vgg16", "resnet50"))
VITS = dict(embedded=("vit-photos",), paper=("vit-b-16",))
CLASSIFIED = dict(
    embedded=(
        "scenes",
        partial(sets.sure, "scenes", CNNS["embedded"] + VITS["embedded"], 100, least=measures.SURE),
    ),
    paper=("imagenet", partial(sets.captioned, "imagenet", 10_000)),
)
PORTIONS = dict(embedded=28, paper=None)  # of the blocks; the paper: block by block
RISE_OF_CLASSES = {  # grid and 4,000 masks of its own paper, as P-IBISA's prints none
    profile: partial(m.rise, masks=masks, cells=7, p=0.5)
    for profile, masks in dict(embedded=1000, paper=4000).items()
}

BETAS = {f"beta={b:g}": partial(m.p_ibisa, beta=b) for b in (0.5, 1.0, 2.0, 3.0, 10.0, 100.0)}
BY_SELF = {
    k: partial(measures.of_itself, method=method)
    for k, method in ({"p-ibisa": LEARNED} | BETAS).items()
}
ALIKE = partial(m.ibisa, beta=1.0, phi=1.0, each=True, masks=20, steps=15)
BY_CLASS = dict(
    cnn={
        "grad-cam": m.grad_cam,
        "iba": m.iba,
        "ibisa": partial(m.ibisa, beta=1.0, phi=1.0),
        "ibisa, each": ALIKE,
    },
    vit={
        "attention-rollout": m.attention_rollout,
        "ag-cam": m.ag_cam,
        "chefer": m.chefer_lrp,
    },
)


def classification(profile: str) -> list[Judged]:
    """Tables 1 and 5. The weights are parts of their own, as they take the longest."""
    if profile not in CLASSIFIED:
        return []
    data, samples = CLASSIFIED[profile]
    steps = dict(steps=PORTIONS[profile])
    judges = {"morf": partial(metrics.morf, **steps), "lerf": partial(metrics.lerf, **steps)}
    judges |= {"map-area": metrics.map_area}
    judges |= {"energy-in-mask": metrics.energy_in_mask} if profile == "embedded" else {}
    seeing = BY_CLASS["cnn"] | {"rise": RISE_OF_CLASSES[profile]}
    random = {"random": m.random_map}
    asked = {(name, "seeing the class"): seeing | random for name in CNNS[profile]}
    asked |= {(name, "seeing the class"): BY_CLASS["vit"] | random for name in VITS[profile]}
    table_5 = {"learned and 1": ("p-ibisa", "beta=1"), "10 and 100": ("beta=10", "beta=100")}
    for weights, names in table_5.items():
        for model in CNNS[profile] + VITS[profile]:
            asked[model, weights] = {k: BY_SELF[k] for k in names}
    return [
        Judged(
            name=f"{data}, {model}, {group}",
            model=model,
            samples=samples,
            target="predicted",
            methods=methods,
            metrics=judges,
        )
        for (model, group), methods in asked.items()
    ]


GALLERY = dict(
    embedded=dict(data="scenes", model="efficientnet-lite0", kinds=25, each=4),
    paper=dict(data="imagenet", model="beit-base", kinds=100, each=10),
)
ITEM = dict(item="sports-basketball", side=64)  # a thing that a network of ImageNet knows


def retrieval(profile: str) -> list[Measured]:
    """Table 4, and an item that two pictures share."""
    if profile not in GALLERY:
        return []
    of = GALLERY[profile]
    sides = [
        Measured(name=side, n=100, measure=partial(measures.retrieval, side=side, **of))
        for side in ("query", "retrieved")
    ]
    shared = partial(measures.shared_item, **ITEM, **of)
    return [*sides, Measured(name="shared item", n=100, measure=shared)]


PAIRS = dict(
    embedded=[("efficientnet-lite0", "scenes")],
    paper=[("resnet50", "coco"), ("vit-b-16", "coco")],
)


def contrast(profile: str) -> list[Measured]:
    """Figure 5 and Appendix A."""
    return [
        Measured(
            name=f"{data}, {model}",
            n=100,
            measure=partial(measures.contrast, model=model, data=data, n=100),
        )
        for model, data in PAIRS.get(profile, ())
    ]


SEARCHED = dict(
    embedded=dict(data="scenes", model="efficientnet-lite0", n=100),
    paper=dict(data="scenes", model="vgg16", n=200),  # scenes, for their exact masks
)


def search(profile: str) -> list[Measured]:
    """Figure 6 and Appendix B."""
    if profile not in SEARCHED:
        return []
    of = SEARCHED[profile]
    return [Measured(name="search", n=of["n"], measure=partial(measures.search, **of))]


TOLD = dict(  # explained by what a captioner says
    embedded=("lit-lite0", dict(model="vit-photos", data="scenes", n=100)),
)
SCORES = metrics.captions.SCORES
DRAWS = 5  # random orders of each picture
TABLE_3 = {"p-ibisa": FIXED["p-ibisa"], "m2ib": m.m2ib, "nib": m.nib}
TABLE_3 |= {f"random {k}": partial(m.random_map, seed=k) for k in range(DRAWS)}
TABLE_7 = {k: TABLE_6[k] for k in ("learnable", "beta=1", "beta=3")}  # beta = 2 is in Table 3


def told(profile: str, name: str, methods: dict) -> list[Judged]:
    """Captions are retrieved in the place of written ones."""
    if profile not in TOLD:
        return []
    model, of = TOLD[profile]
    options = dict(captioner=partial(measures.says, **of), steps=10)
    judges = {
        f"{name}-{score}": partial(metric, score=score, **options)
        for name, metric in {"cap-morf": metrics.cap_morf, "cap-lerf": metrics.cap_lerf}.items()
        for score in SCORES
    }
    samples = partial(measures.captioned, **of)
    return [Judged(name=name, model=model, samples=samples, methods=methods, metrics=judges)]


SMALL = "resnet-mini-supervised"  # a hundredth of a second for a pass
OPTIMISED = dict(
    embedded=("lit-lite0", CAPTIONED["embedded"]["scenes"]),
    paper=("clip-vit-b-32", partial(sets.captioned, "coco", 100)),
)


def optimisation(profile: str) -> list:
    """What the weights, the starts and the steps do, and what a map costs."""
    if profile not in OPTIMISED:
        return []
    model, samples = OPTIMISED[profile]
    small = dict(model=SMALL, samples=samples)
    return [
        Measured(name="learned weights", n=100, measure=partial(measures.learned_weights, **small)),
        Measured(
            name="starts and ends",
            n=100,
            measure=partial(measures.starts_and_ends, model=model, samples=samples),
        ),
        Measured(name="planted", n=100, measure=measures.planted),
        Measured(
            name="costs",
            n=1,
            measure=partial(measures.costs, rise_masks=4000, part=10, **small),
            loose=("seconds",),
        ),
    ]


SWEPT = dict(  # (model, part) -> pictures, target and weights; the ViT's others are in Table 5
    embedded={
        (SMALL, ""): (CAPTIONED["embedded"]["scenes"], "self", BETAS),
        ("vit-photos", ", 2 and 3"): (CLASSIFIED["embedded"][1], "self", ("beta=2", "beta=3")),
        ("vit-photos", ", 0.5"): (CLASSIFIED["embedded"][1], "self", ("beta=0.5",)),
    },
    paper={
        ("resnet50", ""): (partial(sets.captioned, "imagenet", 100), "self", BETAS),
        ("vit-b-16", ""): (partial(sets.captioned, "imagenet", 100), "self", BETAS),
        ("clip-vit-b-32", ""): (partial(sets.captioned, "coco", 100), "caption", BETAS),
    },
)


def betas(profile: str) -> list[Judged]:
    """Figure 10 and Appendix E."""
    return [
        Judged(
            name=f"{model}{more}",
            model=model,
            samples=samples,
            target=target,
            methods={k: BETAS[k] for k in tried},
            metrics={"map-area": metrics.map_area},
        )
        for (model, more), (samples, target, tried) in SWEPT.get(profile, {}).items()
    ]


def encoders(profile: str) -> list[Judged]:
    """Figures 2, 7 and 8: the encoders that may stand for how they were trained."""
    known = examples() if profile == "embedded" else ()
    own = {"p-ibisa": m.p_ibisa, "centred-gaussian": m.centred_gaussian, "random": m.random_map}
    return [
        Judged(
            name=name,
            model=name,
            samples=CAPTIONED["embedded"]["scenes"],
            target="self",
            methods=own | {"p-ibisa-untrained": partial(measures.of_untrained, name=name)},
            metrics={"energy-in-mask": metrics.energy_in_mask} | PLACES,
        )
        for name in known
    ]


STUDIES = [
    Study(
        name="p-ibisa-captions",
        asks="Does P-IBISA's map for a text keep the match and lie on what the text names?",
        parts=captions,
    ),
    Study(
        name="p-ibisa-classification",
        asks="Does a map of the embedding explain a class as well as methods that see it?",
        parts=classification,
    ),
    Study(
        name="p-ibisa-retrieval",
        asks="Which map keeps two pictures near, and does it find an item that they share?",
        parts=retrieval,
    ),
    Study(
        name="p-ibisa-told",
        asks="Does a caption change when what the map marks is taken away?",
        parts=partial(told, name="table 3", methods=TABLE_3),
    ),
    Study(
        name="p-ibisa-optimisation",
        asks="What do P-IBISA's weights, starts and steps do, and what does a map cost?",
        parts=optimisation,
    ),
    Study(
        name="p-ibisa-contrast",
        asks="Is the contrastive map above 0 on what two pictures share, and below 0 elsewhere?",
        parts=contrast,
    ),
    Study(
        name="p-ibisa-search",
        asks="Is the encoder after another thing than the one that its class rests on?",
        parts=search,
    ),
    Study(
        name="p-ibisa-betas",
        asks="Is a map sparser with every larger weight of the area?",
        parts=betas,
    ),
    Study(
        name="p-ibisa-told-weights",
        asks="Do P-IBISA's weights change how a caption changes?",
        parts=partial(told, name="table 7", methods=TABLE_7),
    ),
    Study(
        name="p-ibisa-encoders",
        asks="Does the map of an embedding lie on the object, however the encoder was trained?",
        parts=encoders,
    ),
]
