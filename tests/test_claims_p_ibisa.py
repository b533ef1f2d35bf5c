"""P-IBISA's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

import pytest
from claim_cases import call, check, contest, rows

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE

RIVALS = ("rise", "m2ib", "nib")

CASES = {
    "p-ibisa-01": contest({"image conf-drop": "<"}, "p-ibisa", RIVALS),
    "p-ibisa-02": contest({"image conf-incr": ">"}, "p-ibisa", RIVALS),
    "p-ibisa-04": contest({"image conf-drop": ">"}, "m2ib", ("rise", "nib")),
}


def leads(incr: float, drop: float):
    others = {"p-ibisa": (0, 0)} | {k: (-incr, drop) for k in RIVALS}
    incr, drop = ({k: v[i] for k, v in others.items()} for i in (0, 1))
    return call(rows({"image conf-incr": incr, "image conf-drop": drop}))


CASES["p-ibisa-03"] = {HOLDS: leads(13, 0.4), FAILS: leads(13, 0.1), OPEN: leads(12, 0.4)}


@pytest.mark.parametrize("outcome", (HOLDS, FAILS, OPEN, UNTESTABLE))
@pytest.mark.parametrize("claim", CASES)
def test_claim(claim, outcome):
    if outcome in CASES[claim]:
        check(claim, outcome, CASES[claim][outcome])
