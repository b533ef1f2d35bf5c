"""AdaIB's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

from math import inf, nan

import numpy as np
import pandas as pd
import pytest
from claim_cases import N, call, check, contest, every, rows, spread

from xai_utils.papers import FAILS, HOLDS, OPEN, claims, verdict
from xai_utils.papers.claims.adaib import share_of_pairs

RIVALS = ("m2ib", "nib", "grad-cam", "chefer", "mfaba", "fast-ig")
IMAGE = {"image conf-drop": "<", "image conf-incr": ">"}
TEXT = {"text conf-drop": "<", "text conf-incr": ">"}
ROAR = {f"image roar-{way}-{which}": ">" for way in ("i2t", "t2i") for which in ("oc", "co")}
EIGHT = IMAGE | TEXT | ROAR
PICTURES = [f"{i}" for i in range(N)]

CASES = {
    "adaib-02": contest({"iou": ">"}, "own-beta", ("common-beta",)),
    "adaib-08": contest(IMAGE, "adaib", RIVALS),
    "adaib-09": contest(TEXT, "adaib", RIVALS),
    "adaib-10": contest({"miou": ">"}, "adaib", RIVALS),
    "adaib-12": contest(ROAR, "adaib", RIVALS),
    "adaib-13": contest(IMAGE | TEXT, "adaib", ("m2ib", "nib")),
    "adaib-24": contest(
        {"image conf-drop": "<", "image iou": ">"},
        "learned-g",
        ("closed-g", "scaled-g", "learned-f", "both-learned", "m2ib"),
    ),
    "adaib-25": contest({"map-spearman": ">"}, "clipped", ("unclipped",)),
    "adaib-26": contest({"energy-in-mask": ">"}, "adaib", RIVALS),
}


def ends(n: int = N, **means) -> pd.DataFrame:
    """One line a picture and method: a number with its own caption, and with another's."""
    place = dict(dataset="scenes", model="m", modality="image", cluster=PICTURES[:n])
    made = [
        pd.DataFrame(place | dict(method=method.replace("_", "-"))).assign(
            own=spread(own, n), other=np.roll(spread(other, n), 1)
        )
        for method, (own, other) in means.items()
    ]
    return pd.concat(made, ignore_index=True)


quiet = {"adaib": (10, 2), "m2ib": (10, 9), "grad_cam": (10, 9), "nib": (10, 9)}
CASES["adaib-01"] = {
    HOLDS: call(ends(**quiet)),
    FAILS: call(ends(**quiet | {"nib": (10, 0.5)})),
    OPEN: call(ends(**quiet | {"nib": (10, 2)})),
}

# Losses that lie 0.1 above and below their means: apart, overlapping, and the wrong way round.
apart, even, reversed_ = (0, 1), (0, 0), (1, 0)
CASES["adaib-14"] = {
    HOLDS: call(ends(adaib=apart, m2ib=even, nib=even)),
    FAILS: call(ends(adaib=even, m2ib=apart, nib=even)),
    OPEN: call(ends(adaib=apart, m2ib=apart, nib=even)),
}
CASES["adaib-15"] = {
    HOLDS: call(ends(distance=(1, 0))),
    FAILS: call(ends(distance=(0, 1))),
    OPEN: call(ends(distance=(0, 0))),
}


def constant(maps: float, traces: float = 0.0):
    same = [dict(side=side, f=1.0, maps=maps, traces=traces) for side in ("image", "text")]
    return call(pd.DataFrame([*same, dict(side="image", f=1000.0, maps=9.0, traces=9.0)]))


CASES["adaib-03"] = {HOLDS: constant(0.0), FAILS: constant(1e-3), OPEN: constant(nan)}


def limits(least: float, fit: float, n: int = N):
    """Where pairs end at the smallest f, at the largest, and without compression."""
    pairs = dict(sample=PICTURES[:n], cluster=PICTURES[:n])
    made = [
        pd.DataFrame(pairs | dict(f=f, kl=kl, fit=spread(at, n, size)))
        for f, kl, at, size in (
            (0.001, least, 0.0, 0.1),
            (1000.0, 10.0, fit, 0.01),
            (inf, 11.0, 0.8, 0.0),
        )
    ]
    return call(pd.concat(made))


CASES["adaib-04"] = {HOLDS: limits(0.001, 0.8), FAILS: limits(5.0, 0.8), OPEN: limits(0.001, 0.807)}


def rivals(ours: float, theirs: float, **more):
    """Nats of AdaIB and of two rivals, one of which never reaches the match."""
    pairs = dict(sample=PICTURES, cluster=PICTURES, ours=spread(ours))
    made = [
        pd.DataFrame(pairs | dict(steps=steps, price="0.1", rival=rival, theirs=nats) | more)
        for steps in (10, 40)
        for rival, nats in (("one gate", inf), ("fitted without a price", theirs))
    ]
    return call(pd.concat(made))


CASES["adaib-05"] = {HOLDS: rivals(1, 3), FAILS: rivals(3, 1), OPEN: rivals(1, 1)}


def relevant(price: int, kept: int):
    """Prices and nats that rise (1) or fall (-1) with the cosine, or have little to do with it."""
    cosine = np.arange(N, dtype=float)
    beside = np.tile([0.0, 3, 1, 2], N // 4)
    of = {1: cosine, -1: -cosine, 0: beside}
    pairs = dict(cluster=PICTURES, cosine=cosine, price=of[price], kept=of[kept])
    return call(pd.concat([pd.DataFrame(pairs | dict(g=g)) for g in ("mlp", "closed")]))


CASES["adaib-06"] = {HOLDS: relevant(-1, 1), FAILS: relevant(-1, -1), OPEN: relevant(-1, 0)}


def learned(own: float, other: float, n: int = 40):
    return call(pd.DataFrame(dict(cluster=range(n), own=own, other=spread(other, n, other / 10))))


CASES["adaib-07"] = {
    HOLDS: learned(0.1, 0.2),
    FAILS: learned(1e-6, 1e-6),
    OPEN: learned(0.1, 0.2, n=20),
}


def best_of_all(better: float, noise: float):
    """AdaIB's mean is better than all others' by `better`, where samples differ by `noise`."""
    means = {}
    for cell, op in (IMAGE | TEXT).items():
        sign = 1 if op == ">" else -1
        means[cell] = {"adaib": sign * better} | dict.fromkeys(RIVALS, 0.0)
    table = rows(means)
    own = np.tile([noise, -noise], len(table) // 2)
    return call(table.assign(value=table.value + np.where(table.method == "adaib", own, 0)))


CASES["adaib-11"] = {
    HOLDS: best_of_all(0.01, 1.0),  # level within the intervals, and best in the mean
    FAILS: best_of_all(-1.0, 0.1),
    OPEN: best_of_all(-0.01, 1.0),
}


def starts(pairs: float, starts: float, n: int = N):
    """g of n pairs from four starts whose logs differ by so much."""
    made = [
        dict(sample=PICTURES[i], cluster=PICTURES[i], start=s, g=np.exp(pairs * i + starts * s))
        for i in range(n)
        for s in range(4)
    ]
    return call(pd.DataFrame(made))


CASES["adaib-16"] = {HOLDS: starts(0.1, 0.01), FAILS: starts(0.0, 0.0), OPEN: starts(0.1, 0.55)}


def paid(seconds: float, repeats: int = 6):
    made = [
        dict(method=method, seconds=spent + 0.001 * k, memory=100.0)
        for k in range(repeats)
        for method, spent in (("adaib", seconds), ("m2ib", 1.0))
    ]
    return call(pd.DataFrame(made))


CASES["adaib-17"] = {HOLDS: paid(1.05), FAILS: paid(1.2), OPEN: paid(1.05, repeats=5)}


def measured(measures: dict, own: str, better: dict, worse: int) -> pd.DataFrame:
    """`own` is level with the others but for the first measures: better than each by `better`, and
    in the first `worse` of them worse than all."""
    means = {}
    for k, (where, op) in enumerate(measures.items()):
        sign = 1 if op == ">" else -1
        lead = {name: -1.0 if k < worse else float(k < count) for name, count in better.items()}
        means[where] = {own: 0.0} | {name: -sign * by for name, by in lead.items()}
    return rows(means)


def majority(measures: dict, own: str, others, need: int) -> dict:
    """The three calls of a claim that `own` is better than all others in `need` measures."""
    few = len(measures) - need + 1  # against so many it can no longer
    enough = dict.fromkeys(others, need)
    return {
        HOLDS: call(measured(measures, own, enough, 0)),
        FAILS: call(measured(measures, own, dict.fromkeys(others, 0), few)),
        OPEN: call(measured(measures, own, enough | {others[-1]: need - 1}, 0)),
    }


NETWORKS = ("1-1", "1-8-8-1-relu", "1-64-64-1-relu", "1-32-32-1-none", "1-32-32-1-tanh")
FS = ("l1", "chebyshev", "cosine")
CASES["adaib-18"] = majority(EIGHT | {"image miou": ">"}, "l2", FS, 5)
CASES["adaib-21"] = majority(EIGHT, "1-32-1-relu", NETWORKS, 4)
CASES["adaib-22"] = majority(EIGHT, "1-32-1-relu", NETWORKS[::3], 5)
CASES["adaib-23"] = majority(EIGHT, "1-32-1-relu", ("1-8-8-1-relu", *NETWORKS[2::2]), 5)


def focus(across: float, blurred: float):
    """Agreement across f where two seeds agree by 0.9, and the IoU of L1 and Chebyshev."""
    iou = rows({"iou": {"l2": 1.0, "cosine": 1.0, "l1": blurred, "chebyshev": blurred}})
    moves = pd.DataFrame(dict(cluster=PICTURES, across=spread(across, size=0.01), seeds=0.9))
    return call(iou, moves)


CASES["adaib-19"] = {HOLDS: focus(0.5, 0.0), FAILS: focus(0.95, 0.0), OPEN: focus(0.5, 1.0)}


def lengths(raw: float, unit: float):
    drop = {"raw-l2": -raw, "unit-l2": -unit, "cosine": 0.0}
    means = {f"{side} conf-drop": drop for side in ("image", "text")}
    return call(rows(means | {"image iou": {k: -v for k, v in drop.items()}}))


CASES["adaib-20"] = {HOLDS: lengths(2, 0), FAILS: lengths(4, 2), OPEN: lengths(0, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("claim, outcome, given", every(CASES))
def test_claim(claim, outcome, given):
    check(claim, outcome, given)


def test_every_claim_has_its_cases():
    assert set(CASES) == set(claims().query("paper == 'adaib'").id)
    assert all(set(of) == {HOLDS, FAILS, OPEN} for of in CASES.values())


@pytest.mark.parametrize("claim", ["adaib-01", "adaib-04", "adaib-05", "adaib-07", "adaib-16"])
def test_fewer_than_six_pictures_decide_nothing(claim):
    for outcome in (HOLDS, FAILS):
        (table,), _ = CASES[claim][outcome]
        few = table[table.cluster.astype(int) < 5]
        assert verdict(claim, few).outcome == OPEN


def test_rivals_that_never_reach_the_match_leave_it_open():
    assert verdict("adaib-05", *rivals(1, inf)[0]).outcome == OPEN


def test_the_cheapest_rival_counts():
    (table,), _ = rivals(2, 3)
    cheap = table.assign(theirs=table.theirs.where(np.isfinite(table.theirs), 1.0))
    assert verdict("adaib-05", cheap).outcome == FAILS


def test_level_with_all_is_neither_best_nor_worse():
    found = verdict("adaib-11", *best_of_all(0.0, 0.1)[0])
    assert found.outcome == OPEN
    assert found.why.startswith("0 of 24 comparisons as claimed")


def test_every_part_of_the_pairs_counts():
    (table,), _ = CASES["adaib-13"][HOLDS]
    (level,), _ = CASES["adaib-13"][OPEN]
    parts = pd.concat([table.assign(dataset="clean"), level.assign(dataset="noisy")])
    assert verdict("adaib-13", parts).outcome == OPEN


def test_share_of_pairs():
    pairs = np.arange(6.0)[:, None]
    assert share_of_pairs(pairs + np.zeros((6, 3))) == pytest.approx(1)
    assert share_of_pairs(np.zeros((6, 1)) + np.arange(3.0)) == pytest.approx(0)
    assert share_of_pairs(np.full((6, 3), np.log(1e-6))) == 0
