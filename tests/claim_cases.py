"""Evidence for the tests of claims: tables that make a claim hold, fail, or leave it open."""

import numpy as np
import pandas as pd

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, verdict

N = 24


def call(*evidence, **named):
    """What a claim's function is called with."""
    return evidence, named


def spread(mean: float, n: int = N, size: float = 0.1) -> np.ndarray:
    """n values of exactly this mean, half of them above it and half below."""
    return mean + size * np.tile([1.0, -1.0], n // 2)


def rows(means: dict, *, n: int = N, dataset="scenes", model="m", size: float = 0.1):
    """Rows of `score`: one method's mean for each "side metric" and method. Samples share a part,
    so that pairing matters; methods differ by their means and a little of their own."""
    shared = np.random.default_rng(0).normal(size=n)
    made = []
    for where, by_method in means.items():
        modality, metric = where.split() if " " in where else ("image", where)
        for k, (method, mean) in enumerate(by_method.items()):
            own = size * np.roll(np.tile([1.0, 1.0, -1.0, -1.0], n // 4 + 1)[:n], k)
            part = pd.DataFrame(dict(value=mean + shared + own, sample=[f"{i}" for i in range(n)]))
            place = dict(dataset=dataset, model=model, modality=modality)
            made.append(part.assign(**place, method=method, metric=metric, error=""))
    table = pd.concat(made, ignore_index=True)
    return table.assign(cluster=table["sample"])


def contest(directions: dict, own: str, rivals, **options) -> dict:
    """The three calls of a claim that `own` beats `rivals`.

    directions  "side metric" -> "<" or ">", the better side
    """

    def table(lead_on_last: float, others: float = 1.0):
        means = {}
        for where, op in directions.items():
            sign = 1 if op == ">" else -1
            lead = {rival: others for rival in rivals} | {list(rivals)[-1]: lead_on_last}
            means[where] = {own: 0.0} | {rival: -sign * by for rival, by in lead.items()}
        return call(rows(means, **options))

    return {HOLDS: table(1.0), FAILS: table(-1.0), OPEN: table(0.0)}


def every(cases: dict) -> list[tuple]:
    """(claim, outcome, call) of each case, to parametrize a test with."""
    return [(claim, outcome, given) for claim, of in cases.items() for outcome, given in of.items()]


def check(claim: str, outcome: str, given) -> None:
    evidence, named = given
    found = verdict(claim, *evidence, **named)
    assert found.outcome == outcome, found.why
    assert found.claim.id == claim
    assert found.why
    if outcome != UNTESTABLE:
        assert len(found.evidence)
        assert any(letter.isdigit() for letter in found.why), "why gives the numbers that decided"
