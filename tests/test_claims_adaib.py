"""AdaIB's claims: evidence for a claim, against it, or too little of it."""

import pandas as pd
import pytest

from xai_utils.papers import FAILS, HOLDS, OPEN
from xai_utils.papers.claims import adaib as claims

RIVALS = ["m2ib", "nib"]


def rows(dataset="named", n=8, **means):
    """Rows of `score`: drop and increase of both sides; samples differ, methods by their means."""
    return pd.DataFrame(
        dict(dataset=dataset, model="m", modality=side, metric=metric, sample=f"{i}")
        | dict(method=name, value=i + sign * mean)
        for side in ("image", "text")
        for metric, sign in (("conf-drop", -1), ("conf-incr", 1))
        for name, mean in means.items()
        for i in range(n)
    )


def interval(low, high, n=8, **more):
    return dict(low=low, high=high, n=n, **more)


def lines(*outcomes, **columns):
    """Lines of `comparisons` in as many measures, each for AdaIB (1), against it (-1) or open."""
    made = [
        dict(modality="image", metric=f"m{k}", holds=v == 1, opposite=v == -1, n=8) | columns
        for k, v in enumerate(outcomes)
    ]
    return pd.DataFrame(made)


@pytest.mark.parametrize(
    "low, high, outcome", [(0.1, 0.4, HOLDS), (0.6, 0.9, FAILS), (0.4, 0.6, OPEN)]
)
def test_quiet_maps(low, high, outcome):
    ratios = pd.DataFrame([interval(low, high, ratio=(low + high) / 2)] * 2)
    below = pd.DataFrame([interval(-0.5, -0.1)])
    assert claims.adaib_01(ratios, below).outcome == outcome
    assert claims.adaib_01(ratios.assign(n=5), below).outcome == OPEN


def test_a_beta_of_its_own():
    for low, high, outcome in ((0.1, 0.2, HOLDS), (-0.2, -0.1, FAILS), (0.0, 0.1, OPEN)):
        table = pd.DataFrame([interval(0, 1, IoU=0.5), interval(low, high, IoU=0.1)])
        assert claims.adaib_02(table).outcome == outcome


def test_what_follows_from_the_formulas():
    same = pd.DataFrame(dict(f=[1.0, 10.0], maps=[0.0, 9.0], traces=[0.0, 9.0]))
    assert claims.adaib_03(same).outcome == HOLDS
    assert claims.adaib_03(same.assign(f=1.0)).outcome == FAILS
    ends = pd.DataFrame(dict(f=[0.1, 10, 1e9], KL=[0.001, 5, 6], fit=[0.0, 0.8, 0.8]))
    assert claims.adaib_04(ends, n=6).outcome == HOLDS
    assert claims.adaib_04(ends, n=2).outcome == OPEN
    assert claims.adaib_04(ends.assign(KL=5.0), n=6).outcome == FAILS
    least = pd.DataFrame([interval(-3, -1), interval(float("nan"), float("nan"))])
    assert claims.adaib_05(least, n=6).outcome == HOLDS
    assert claims.adaib_05(least[1:], n=6).outcome == OPEN  # no rival reaches the match
    assert claims.adaib_05(pd.DataFrame([interval(1, 3)]), n=6).outcome == FAILS


def test_relevance_and_the_learned_g():
    table = pd.DataFrame(
        [
            interval(-0.9, 0.9, g="M2IB", against="nats kept", r=0.0),
            interval(-1, -0.8, g="scaled", against="price g/f", r=-0.9),
            interval(0.3, 0.9, g="scaled", against="nats kept", r=0.6),
        ]
    )
    assert claims.adaib_06(table).outcome == HOLDS
    assert claims.adaib_06(table.assign(low=-1, high=-0.5)).outcome == FAILS
    assert claims.adaib_07(0.02, table, n=24).outcome == HOLDS
    assert claims.adaib_07(0.9, table, n=24).outcome == FAILS
    last = dict(step=10, largest=1e-6, high=1)
    shares = pd.DataFrame([last | dict(network=k, share=0.8, low=0.6) for k in ("mlp", "linear")])
    assert claims.adaib_16(shares, n=6).outcome == HOLDS
    assert claims.adaib_16(shares.assign(low=float("nan")), n=6).outcome == FAILS


def test_confidence_of_all_four_cells():
    ahead, behind = rows(adaib=3, m2ib=1, nib=2), rows(adaib=1, m2ib=2, nib=3)
    assert claims.adaib_11(ahead, rivals=RIVALS).outcome == HOLDS
    assert claims.adaib_11(behind, rivals=RIVALS).outcome == FAILS
    tied = claims.adaib_11(rows(adaib=3, m2ib=3, nib=3), rivals=RIVALS)
    assert "0 of 8 intervals on the worse side" in tied.why
    parts = pd.concat([ahead.assign(dataset=part) for part in ("clean", "noisy")])
    assert claims.adaib_13(parts).outcome == HOLDS
    assert "8 of 8 rows" in claims.adaib_13(parts).why
    assert claims.adaib_13(pd.concat([parts, behind])).outcome == FAILS


def test_losses_costs_and_the_printed_distance():
    for low, high, outcome in ((0.1, 0.2, HOLDS), (-0.2, -0.1, FAILS), (-0.1, 0.1, OPEN)):
        assert claims.adaib_14(pd.DataFrame([interval(low, high)])).outcome == outcome
    table = pd.DataFrame([interval(0, 0.2, f="distance, as printed", auc=0.1)])
    assert claims.adaib_15(table).outcome == FAILS
    assert claims.adaib_15(table.assign(low=0.6, high=0.9)).outcome == HOLDS
    costs = pd.DataFrame(dict(method=["adaib", "m2ib"], time=[1.05, 1], memory=[1.0, 1]))
    assert claims.adaib_17(costs).outcome == HOLDS
    assert claims.adaib_17(costs.assign(time=2.0)).outcome == FAILS


def test_choices_of_f():
    leads = pd.DataFrame(dict(best=["l2", "l2", "l1"], decided=[True, True, True]))
    assert claims.adaib_18(leads, n=8).outcome == HOLDS
    assert claims.adaib_18(leads.assign(best="l1"), n=8).outcome == FAILS
    assert claims.adaib_18(leads.assign(decided=False), n=8).outcome == OPEN
    focus = pd.DataFrame(
        [dict(g="learned", low=-0.2, high=-0.1, gaps=4), dict(g="scaled", low=0, high=1, gaps=0)]
    )
    assert claims.adaib_19(focus, n=8).outcome == HOLDS
    assert claims.adaib_19(focus.assign(low=0.1, high=0.2), n=8).outcome == FAILS
    even = lines(0, 0).assign(low=-1, high=1)
    assert claims.adaib_20(lines(1, 1), even).outcome == HOLDS
    assert claims.adaib_20(lines(1, 0), even).outcome == OPEN
    assert claims.adaib_20(lines(1, -1), even).outcome == FAILS


def test_networks_and_combinations():
    names = ("1-1", "1-8-8-1-relu", "1-64-64-1-relu", "1-32-32-1-none", "1-32-32-1-tanh")
    better = pd.concat([lines(*[1] * 8, right=k) for k in names])
    worse = pd.concat([lines(*[-1] * 8, right=k) for k in names])
    for claim in (claims.adaib_21, claims.adaib_22, claims.adaib_23):
        assert claim(better).outcome == HOLDS
        assert claim(worse).outcome == FAILS
        assert claim(better.assign(holds=False)).outcome == OPEN
    assert claims.adaib_24(lines(1, 1)).outcome == HOLDS
    assert claims.adaib_24(lines(1, 0)).outcome == OPEN
    assert claims.adaib_24(lines(1, -1)).outcome == FAILS
