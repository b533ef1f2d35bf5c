"""AHA's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

import numpy as np
import pandas as pd
import pytest
from claim_cases import call, check, contest, every, rows, spread

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, claims
from xai_utils.papers.claims.aha import RIVALS

BOTH = {"deletion-auc": "<", "insertion-auc": ">"}
CASES = {
    "aha-01": contest({"deletion-auc": "<"}, "aha", RIVALS),
    "aha-02": contest({"insertion-auc": ">"}, "aha", RIVALS),
    "aha-05": contest({"boundary-f": ">", "iou": ">"}, "aha", RIVALS),
    "aha-09": contest({"energy-in-mask": ">"}, "T=5", ["T=0"]),
}
CASES["aha-11"] = contest(BOTH, "ranking", ["imitation", "surrogate"]) | {UNTESTABLE: call()}


def two_patches(given, patches):
    (table,), _ = given
    of_all = [table.assign(model=k, dataset=d) for k in patches for d in ("predicted", "labelled")]
    return call(pd.concat(of_all), patches)


sizes = {"one": 16, "two": 32}
CASES["aha-03"] = {k: two_patches(v, sizes) for k, v in contest(BOTH, "aha", RIVALS[2:4]).items()}
(table,), _ = contest(BOTH, "aha", RIVALS)[HOLDS]
CASES["aha-03"][UNTESTABLE] = two_patches(call(table), {"one": 16})


def leads(on_vit: float, on_cnn: float):
    """AHA's lead in both metrics on two models."""
    parts = []
    for model, lead in (("vit", on_vit), ("cnn", on_cnn)):
        means = {"insertion-auc": {"aha": lead, "grad-cam": 0, "rise": -1}}
        means["deletion-auc"] = {"aha": -lead, "grad-cam": 0, "rise": 1}
        parts.append(rows(means, model=model))
    return call(pd.concat(parts), "vit", "cnn")


CASES["aha-04"] = {HOLDS: leads(2, 1), FAILS: leads(1, 2), OPEN: leads(1, 1)}
once = dict(forwards=1, backwards=0)
CASES["aha-06"] = {
    HOLDS: call(once, 1.2, 0.001),
    FAILS: call(once, 2.5, 0.001),
    OPEN: call(once, 1.2, float("nan")),
}
CASES["aha-07"] = {
    HOLDS: call(spread(1, size=0.01), spread(0.88, size=0.01)),
    FAILS: call(spread(1, size=0.01), spread(1, size=0.01)),
    OPEN: call(spread(1, size=0.01), np.random.default_rng(0).normal(0.88, 0.5, 24)),
}


def by_t_and_s(by_t: float, by_s: float):
    return call(rows({"insertion-auc": {"T=0": 0, "T=5": by_t, "S=1": 0, "S=8": by_s}}))


CASES["aha-08"] = {HOLDS: by_t_and_s(1, 1), FAILS: by_t_and_s(1, -1), OPEN: by_t_and_s(1, 0)}


def soft_and_hard(noise: float, gain: float = 1.0):
    table = rows({k: {"trained": s * gain, "untrained": 0} for k, s in zip(BOTH, (-1, 1))})
    rng = np.random.default_rng(0)
    hard = rng.normal(size=48)
    soft = dict(soft=hard + noise * rng.normal(size=48), hard=hard, tau=0.1)
    place = dict(sample=np.tile(np.arange(24), 2), method=np.repeat(["trained", "random"], 24))
    return call(table, pd.DataFrame(soft | place))


CASES["aha-10"] = {
    HOLDS: soft_and_hard(0.1),
    FAILS: soft_and_hard(3),
    OPEN: soft_and_hard(0.1, gain=0),
}


def on_the_circle(tuned: float, clean: float):
    share = dict(zip(("tuned T=0", "tuned T=5", "clean T=0", "clean T=5"), (0, tuned, 0, clean)))
    mass = {k: 0.02 + v + spread(0, size=0.0005) for k, v in share.items()}
    mass["tuned T=5"] = mass["tuned T=5"] + np.roll(spread(0, 24, 0.001), 1)
    return call(pd.DataFrame(mass), 0.02)


CASES["aha-12"] = {
    HOLDS: on_the_circle(0.03, 0.0),
    FAILS: on_the_circle(0.0, 0.03),
    OPEN: on_the_circle(0.03, 0.03),
}


def ranked_as_iou(order: int, refined: float):
    """Eight methods whose scores rise with their IoU (order 1), fall (-1) or neither (0)."""
    level = dict(zip("abcdefgh", range(8)))
    known = {k: order * v if order else (v * 3) % 8 for k, v in level.items()}
    means = {
        "insertion-auc": known,
        "deletion-auc": {k: -v for k, v in known.items()},
        "iou": {**level, "T=0": 3, "T=5": 3 + refined},
    }
    return call(rows(means, size=0.001))


CASES["aha-13"] = {
    HOLDS: ranked_as_iou(1, 0),
    FAILS: ranked_as_iou(1, -0.1),
    OPEN: ranked_as_iou(0, 0),
}
CASES["aha-14"] = {
    HOLDS: call(spread(1, size=0.01), spread(1.01, size=0.01)),
    FAILS: call(spread(1, size=0.01), spread(1.2, size=0.01)),
    OPEN: call(spread(1, size=0.01), np.random.default_rng(0).normal(1, 0.4, 24)),
}


def against_slow(behind: float, forwards: int = 128, size: float = 0.001):
    means = {k: {"aha": 0, "rise": s * behind} for k, s in zip(BOTH, (-1, 1))}
    return call(rows(means, size=size), {"aha": 1, "rise": forwards})


CASES["aha-15"] = {
    HOLDS: against_slow(0.0),
    FAILS: against_slow(0.1),
    OPEN: against_slow(0.02),
    UNTESTABLE: against_slow(0.0, forwards=40),
}


@pytest.mark.parametrize("claim, outcome, given", every(CASES))
def test_claim(claim, outcome, given):
    check(claim, outcome, given)


def test_every_claim_has_its_cases():
    assert set(CASES) == set(claims().query("paper == 'aha'").id)
    assert all({HOLDS, FAILS, OPEN} <= set(cases) for cases in CASES.values())
