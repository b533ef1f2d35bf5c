"""What AdaIB's tables, figures and claims rest on.

The paper's five runs are five equal parts of a set, in its order: each has pairs of its own. The
seed of all is that of the paper's first run.
"""

from functools import partial

from .. import methods as m
from .. import metrics
from . import adaib_measures as measures
from . import sets
from .base import Judged, Measured, Study

SEED, RUNS = 42, 5

# Both towers of each are transformers, as Chefer asks for.
MODEL = dict(embedded="vit-photos", captioned="vit-photos", paper="clip-vit-b-32")

# Both splits of the kit's small COCO together have 119 pictures, 84 of them with two things.
COCO = [partial(sets.captioned, name, 100) for name in ("coco/train", "coco")]
COCO_NAMED = partial(
    sets.joined, 100, *(partial(sets.one_of_two, name, 100) for name in ("coco/train", "coco"))
)

# 200 pairs in each of the paper's runs, as the steps between its printed increases imply, and 1,000
# of RefCOCOg.
PAIRS = dict(
    embedded={
        "one thing": partial(sets.prompted, "vit-photos", 200, seed=SEED),
        "two things": partial(sets.scenes, "vit-photos", 200, objects=2, seed=SEED + 1),
    },
    captioned={
        "flickr8k": partial(sets.captioned, "flickr8k", 100),
        "coco": partial(sets.joined, 100, *COCO),
    },
    paper={
        "cc3m": partial(sets.captioned, "cc3m", 1000),
        "flickr8k": partial(sets.captioned, "flickr8k/all", 1000),
        "laion": partial(sets.captioned, "laion", 1000),
    },
)
NAMED = dict(  # the text names one of the things
    embedded=partial(sets.named, "vit-photos", 200, seed=SEED + 2),
    captioned=COCO_NAMED,
    paper=partial(sets.captioned, "refcocog", 5000),
)
FEWER = dict(  # for what takes longer
    embedded=partial(sets.named, "vit-photos", 100, seed=SEED + 3),
    paper=partial(sets.captioned, "refcocog", 100),
)
CROWD = dict(  # further pairs in the gallery of zero-shot ROAR, as many as a run of the paper has
    embedded={
        "one thing": partial(sets.prompted, "vit-photos", 200, seed=SEED + 10),
        "two things": partial(sets.scenes, "vit-photos", 200, objects=2, seed=SEED + 11),
        "named": partial(sets.named, "vit-photos", 200, seed=SEED + 12),
    },
    captioned={
        "flickr8k": partial(sets.captioned, "flickr8k", 200, seed=1),
        "coco": partial(sets.joined, 200, *COCO),
        "named": COCO_NAMED,
    },
    paper={
        "cc3m": partial(sets.captioned, "cc3m", 200, seed=1),
        "flickr8k": partial(sets.captioned, "flickr8k/all", 200, seed=1),
        "laion": partial(sets.captioned, "laion", 200, seed=1),
        "named": partial(sets.captioned, "refcocog", 200, seed=1),
    },
)
ABLATED = dict(embedded={"named": NAMED["embedded"]}, captioned={"named": NAMED["captioned"]})
ABLATED["paper"] = {
    "flickr8k": partial(sets.captioned, "flickr8k/all", 200),
    "named": partial(sets.captioned, "refcocog", 200),
}
SWAPPED = dict(
    embedded=partial(sets.scenes, "vit-photos", 100, objects=2, seed=SEED + 4),
    paper=partial(sets.captioned, "flickr8k/all", 1000),
)
MATCHED = dict(  # name -> model, pictures; each has its own caption, and another's
    embedded={
        "two things": ("vit-photos", SWAPPED["embedded"]),
        "one thing": ("lit-lite0", partial(sets.prompted, "lit-lite0", 100, seed=SEED + 5)),
    },
    captioned={"flickr8k": ("vit-photos", PAIRS["captioned"]["flickr8k"])},
    paper={name: (MODEL["paper"], samples) for name, samples in PAIRS["paper"].items()},
)
MATCHED_N = dict(embedded=100, captioned=100, paper=1000)  # pictures of each
GRADED = dict(captioned=200, paper=5822)  # pairs of Flickr8k that people judged

CONFIDENCE = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
PLACES = {"miou": metrics.miou, "iou": metrics.iou}
SHARPNESS = {"energy-in-mask": metrics.energy_in_mask, "entropy": metrics.map_entropy}
CORRUPTED = {"image": ("co", 75.0), "text": ("oc", 90.0)}  # and above which percentile of the map

METHODS = measures.OURS | {
    "nib": m.nib,
    "grad-cam": m.grad_cam,
    "chefer": m.chefer,
    "mfaba": partial(m.mfaba, layer=0, steps=10),
    "fast-ig": m.fast_ig,
    "random": m.random_map,
    "ones": measures.flat_map,
}
TABLE_5 = {k: METHODS[k] for k in (*measures.OURS, "nib", "random")}


def hits(profile: str, name: str, side: str) -> dict:
    """What zero-shot ROAR is made of, in both directions."""
    which, percentile = CORRUPTED[side]
    gallery = partial(sets.embedded, MODEL[profile], CROWD[profile][name])
    given = dict(percentile=percentile, gallery=gallery)
    return {
        f"hit-{way}-{which}": partial(metrics.hit_without, direction=way, **given)
        for way in ("i2t", "t2i")
    }


def judged(profile: str, name: str, side: str, samples, methods: dict, asked: dict) -> Judged:
    return Judged(
        name=f"{name}, {side}",
        model=MODEL[profile],
        samples=samples,
        methods=methods,
        metrics=asked,
        modality=side,
        seed=SEED,
    )


def tables(profile: str) -> list[Judged]:
    """Tables 1 and 3, and the parts of Table 5 by the untouched match."""
    own = {"image": CONFIDENCE | {"match": measures.untouched_match}, "text": CONFIDENCE}
    return [
        judged(profile, name, side, samples, METHODS, own[side] | hits(profile, name, side))
        for name, samples in PAIRS[profile].items()
        for side in own
    ]


def named(profile: str) -> list[Judged]:
    """Table 2, and how sharp the maps are."""
    own = {"image": CONFIDENCE | PLACES | SHARPNESS, "text": CONFIDENCE}
    return [
        judged(profile, "named", side, NAMED[profile], METHODS, asked)
        for side, asked in own.items()
    ]


def swapped(profile: str) -> list[Judged]:
    if profile == "captioned":
        return []
    samples = partial(sets.swapped, SWAPPED[profile])
    return [judged(profile, "swapped", side, samples, TABLE_5, CONFIDENCE) for side in CORRUPTED]


def quiet(**how) -> partial:
    """AdaIB without noise, so that every difference comes from the choice under test."""
    return partial(m.adaib, noise=False, **how)


def variants(pairs) -> dict:
    """AdaIB with other weights; named as in Tables 6 and 7 where g is learned. `pairs`: the
    embeddings of those over which three choices of f get one mean g / f."""
    tried = {name: quiet(g="mlp", f=f) for name, f in measures.FS.items()}
    tried |= {f"{name}, scaled": quiet(f=f) for name, f in measures.FS.items()}
    tried |= {name: quiet(g=g) for name, g in measures.NETS.items() if g != "mlp"}
    lengths = {"unit-l2": {}, "raw-l2": dict(normalise=False), "cosine": dict(f="cosine")}
    for name, how in lengths.items():
        tried[f"{name}, levelled"] = partial(measures.levelled, pairs=pairs, **how)
    return tried | {"random": m.random_map, "ones": measures.flat_map}


COMBINED = {  # what else may be fixed and what learned
    "closed": quiet(g="closed"),
    "learned f": partial(measures.learned_f, g="scaled"),
    "both learned": partial(measures.learned_f, g="mlp"),
    "m2ib": partial(m.m2ib, noise=False),
}


def ablations(profile: str) -> list:
    """Tables 6 and 7, and the combinations that the paper has no table for."""
    parts = []
    for name, samples in ABLATED[profile].items():
        tried = variants(partial(sets.embedded, MODEL[profile], samples))
        for side, more in (("image", COMBINED), ("text", {})):
            asked = CONFIDENCE | hits(profile, name, side)
            asked |= PLACES if (name, side) == ("named", "image") else {}
            parts.append(judged(profile, name, side, samples, tried | more, asked))
    return parts


READINGS = {  # one departure each from what stands for the paper's words; A1 to A9: docs/papers.md
    "default": quiet(),
    "learned g": quiet(g="mlp"),
    "A1: f is the distance itself": measures.by_distance,
    "A2: raw lengths": quiet(normalise=False),
    "A3: g = 1 / f": quiet(g="closed"),
    "A3: beta / 10": quiet(beta=measures.BETA / 10),
    "A7: learned g, other start": quiet(g="mlp", seed=SEED + 1),
    "A8: sigma = 0.3": quiet(sigma=0.3),
    "A8: one block earlier": measures.earlier,
    "A9: no clipping": quiet(clip=None),
    "A9: learned g, no clipping": quiet(g="mlp", clip=None),
}


def readings(profile: str) -> list[Judged]:
    if profile == "captioned":
        return []
    return [
        judged(
            *(profile, "named", side, FEWER[profile], READINGS),
            CONFIDENCE | hits(profile, "named", side) | (PLACES if side == "image" else {}),
        )
        for side in CORRUPTED
    ]


def measured(profile: str, name: str, measure, n: int = 100, loose=(), **options) -> Measured:
    given = dict(model=MODEL[profile], samples=FEWER[profile]) | options
    return Measured(name=name, n=n, measure=partial(measure, **given), loose=loose)


def stability(profile: str) -> list[Measured]:
    if profile == "captioned":
        return []
    return [
        measured(profile, "maps", measures.stability),
        measured(profile, "weights", measures.weights),
    ]


def mismatch(profile: str) -> list[Measured]:
    """Figures 1, 3 and 4. More is asked of the first set."""
    return [
        Measured(
            name=name,
            n=2 * MATCHED_N[profile],
            measure=partial(
                measures.ends,
                model=model,
                samples=partial(sets.with_swapped, samples),
                more=i == 0,
            ),
        )
        for i, (name, (model, samples)) in enumerate(MATCHED[profile].items())
    ]


def graded(profile: str) -> list[Measured]:
    if profile == "embedded":
        return []
    n = GRADED[profile]
    judged_by_people = partial(sets.captioned, "flickr8k/expert", n)
    given = dict(model=MODEL[profile], samples=judged_by_people)
    return [Measured(name="flickr8k", n=n, measure=partial(measures.ends, **given))]


BETAS = (0.01, 0.03, 0.1, 0.3, 1.0)  # Figure 2's sweep
LONG = dict(embedded=40, paper=200)  # steps that stand for convergence
WITH_RIVALS = dict(  # of vit-photos no other gates match as well, so that nothing can be compared
    embedded=dict(model="lit-lite0", samples=partial(sets.named, "lit-lite0", 100, seed=SEED + 3))
)


def theory(profile: str) -> list:
    """Figure 2, the propositions and the theorems."""
    if profile == "captioned":
        return []
    swept = {
        f"beta={beta:g}, seed={seed}": partial(m.m2ib, beta=beta, seed=seed)
        for beta in BETAS
        for seed in (SEED, SEED + 1)
    }
    long = dict(long=LONG[profile])
    able = WITH_RIVALS.get(profile, {})
    return [
        judged(profile, "sweep", "image", FEWER[profile], swept, {"iou": metrics.iou}),
        measured(profile, "constant weights", measures.constants),
        measured(profile, "forced f", measures.limits, **long),
        measured(profile, "rivals", measures.rivals, **long, **able),
        measured(profile, "starts", measures.starts),
    ]


def costs(profile: str) -> list[Measured]:
    """Table 4. A median of thirty repeats; nothing is drawn from pictures."""
    if profile == "captioned":
        return []
    return [measured(profile, "pairs", measures.costs, n=30, loose=("seconds", "memory"))]


STUDIES = [
    Study(
        name="adaib-tables",
        asks="Whose map keeps the match, and whose marks what retrieval needs, of seven methods?",
        parts=tables,
    ),
    Study(
        name="adaib-named",
        asks="Whose map lies on the thing that a text names?",
        parts=named,
    ),
    Study(
        name="adaib-swapped",
        asks="What do drop and increase say of pairs that do not belong together?",
        parts=swapped,
    ),
    Study(
        name="adaib-ablations",
        asks="Which f, which network for g, and which of the two learned, does best?",
        parts=ablations,
    ),
    Study(
        name="adaib-readings",
        asks="Which of the choices that the paper leaves open move a number?",
        parts=readings,
    ),
    Study(
        name="adaib-stability",
        asks="Does f move the map more than noise does, and what do f, g and clipping change?",
        parts=stability,
    ),
    Study(
        name="adaib-mismatch",
        asks="Does AdaIB stay quiet on a picture with another's caption, and do losses tell?",
        parts=mismatch,
    ),
    Study(
        name="adaib-graded",
        asks="Do totals and losses order pairs as people do?",
        parts=graded,
    ),
    Study(
        name="adaib-theory",
        asks="Do the theorems, a best beta for each pair and the learned g come true in ten steps?",
        parts=theory,
    ),
    Study(
        name="adaib-costs",
        asks="What do AdaIB and M2IB cost?",
        parts=costs,
    ),
]
