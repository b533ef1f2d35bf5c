"""Intervals and verdicts keep their level: simulated, and by hand where the answer is known."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from claim_cases import rows
from scipy import stats as scipy_stats

from xai_utils.evaluate import summarise
from xai_utils.papers import (
    ENOUGH,
    EQUAL,
    FAILS,
    HOLDS,
    OPEN,
    compared,
    decide,
    exact,
    judge,
    verdict,
)
from xai_utils.papers.statistics import by_rule, holm, or_equal
from xai_utils.stats import (
    auc,
    estimate,
    jackknife,
    kendall_c,
    mean_interval,
    rank_agreement,
    slope,
)


def normal(rng, n):
    return rng.normal(size=n)


def exponential(rng, n):
    return rng.exponential(size=n) - 1


def lognormal(rng, n):
    return rng.lognormal(size=n) - np.exp(0.5)


def yes(share, rng, n):
    return (rng.random(n) < share) - share


def difference(rng, n):
    return 1.0 * (rng.random(n) < 0.6) - 1.0 * (rng.random(n) < 0.6)


@pytest.mark.parametrize("n", (6, 10, 20))
def test_intervals_hold_a_normal_mean(n):
    assert coverage(normal, n) >= 0.93


@pytest.mark.parametrize("draw", (exponential, lognormal, difference))
def test_intervals_hold_the_mean_of_skewed_values_and_of_differences(draw):
    assert coverage(draw, 20) >= 0.90


@pytest.mark.parametrize("share", (0.5, 0.8, 0.95))
@pytest.mark.parametrize("n", (6, 20))
def test_intervals_hold_a_share(share, n):
    rng = np.random.default_rng(1)
    found = [estimate(1.0 * (rng.random(n) < share), among=(0, 1)) for _ in range(400)]
    assert np.mean([e.low <= share <= e.high for e in found]) >= 0.90


def coverage(draw, n: int, runs: int = 800) -> float:
    rng = np.random.default_rng(0)
    ends = (mean_interval(draw(rng, n))[1:] for _ in range(runs))
    return np.mean([low <= 0 <= high for low, high in ends])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", (3, 8, 20))
def test_a_bound_is_outside_the_interval_where_its_p_is_below_a_twentieth(seed, n):
    rng = np.random.default_rng(seed)
    for e in (
        estimate(rng.normal(size=n)),
        estimate(rng.exponential(size=n)),
        estimate(100.0 * (rng.random(n) < 0.7), among=(0, 100)),
        estimate(rng.integers(-1, 2, n).astype(float), among=(-1, 0, 1)),
        jackknife(lambda a, b: a.mean() / b.mean(), 5 + rng.normal(size=n), 9 + rng.random(n)),
    ):
        for end, away in ((e.low, -1), (e.high, 1)):
            step = 1e-3 * (e.high - e.low)
            limit = {-1: -100, 1: 100}[away]
            if abs(end) < 1 - 1e-6 or abs(end) not in (0, 1, 100):
                assert e.p(end - away * step) > 0.05 >= e.p(end + away * step) - 1e-9, limit
        assert e.low <= e.mean <= e.high


def test_for_symmetric_values_it_is_students_interval():
    values = np.array([-3.0, -1.0, 1.0, 3.0]) + 7
    ends = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert mean_interval(values) == pytest.approx((7, ends.low, ends.high))
    assert estimate(values).p(5) == pytest.approx(scipy_stats.ttest_1samp(values, 5).pvalue)


def test_of_yes_and_no_it_is_wilsons_interval():
    ends = scipy_stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert mean_interval([1] * 7 + [0] * 3) == pytest.approx((0.7, ends.low, ends.high))
    percent = mean_interval([100.0] * 3)
    assert percent[0] == percent[2] == 100
    assert percent[1] == pytest.approx(
        100 * scipy_stats.binomtest(3, 3).proportion_ci(method="wilson").low
    )


def test_of_paired_yes_and_no_it_is_tangos_interval():
    values = np.repeat([1.0, -1.0, 0.0], (9, 1, 34))
    e = estimate(values)
    mcnemar = 2 * scipy_stats.norm.sf(8 / np.sqrt(10))
    assert e.mean == pytest.approx(8 / 44)
    assert e.p(0) == pytest.approx(mcnemar)
    assert 0 < e.low < e.mean < e.high < 0.4
    nothing = estimate(np.zeros(10), among=(-1, 0, 1))
    assert nothing.low == pytest.approx(-nothing.high) and nothing.high > 0.2


def test_one_change_of_eight_is_no_evidence():
    change = np.array([114.3] + [0.0] * 7)
    assert mean_interval(change)[1] < 0  # whether or not the size is one of a share
    assert estimate(change / 1.143, among=(-100, 0, 100)).low < 0


def test_samples_of_one_cluster_count_as_one():
    rng = np.random.default_rng(0)
    five = rng.normal(1, 0.1, 5)
    copied, clusters = np.repeat(five, 4), np.repeat(list("abcde"), 4)
    assert mean_interval(copied, clusters=clusters) == pytest.approx(mean_interval(five))
    assert estimate(copied, clusters=clusters).n == 5
    shares = estimate(np.repeat([100.0, 0, 100, 100, 100], 4), clusters=clusters)
    assert shares.ends == pytest.approx(mean_interval([100.0, 0, 100, 100, 100]))
    uneven = estimate([1.0, 2, 3, 9, 9, 9, 9], clusters=list("abcdddd"))
    assert uneven.mean == pytest.approx(6) and uneven.n == 4
    alike = jackknife(np.mean, copied, clusters=clusters)
    assert alike.ends == pytest.approx(mean_interval(five))
    with pytest.raises(ValueError, match="clusters"):
        mean_interval([1, 2], clusters=["a"])


def test_single_values_constant_values_and_mistakes():
    assert mean_interval([3.0, 3.0]) == (3, 3, 3)
    assert estimate([3.0] * 8).p(2) == pytest.approx(2 / 2**8)  # as a sign test
    assert np.isnan(mean_interval([2.0])[1:]).all()
    assert mean_interval(torch.tensor([1.0, 2.0, 6.0]))[0] == 3
    for bad in ([], [[1.0]], [1, float("nan")]):
        with pytest.raises(ValueError, match="values must"):
            mean_interval(bad)


def test_the_jackknife():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 60)
    b = a + rng.normal(0.3, 0.1, 60)  # paired: the difference is sure where neither mean is
    e = jackknife(lambda p, q: (q - p).mean(), a, b)
    assert e.ends == pytest.approx(mean_interval(b - a))
    perfect = jackknife(auc, np.arange(4.0), np.arange(4.0) + 9, within=(0, 1))
    assert perfect.high <= 1
    assert 0.4 < perfect.low < 0.9 and perfect.p(0.5) < 0.1
    undefined = jackknife(lambda p: 1 / p.sum(), np.array([0.0, 0.0, 1.0]))
    assert undefined.mean == 1 and np.isnan(undefined.low)
    assert np.isnan(jackknife(np.mean, [[2.0]]).low)
    with pytest.raises(ValueError, match="one length"):
        jackknife(np.mean, [1, 2], [1])


def test_rank_agreement_and_slope():
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = 2 * x + rng.normal(size=30)
    e = rank_agreement(x, y)
    assert e.mean == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
    assert 0 < e.low < e.mean < e.high < 1
    perfect = rank_agreement(x[:6], x[:6])
    assert perfect.mean == perfect.high == 1 and 0.2 < perfect.low < 0.9
    assert np.isnan(rank_agreement([1, 1, 1, 1], x[:4]).mean)
    line = slope(x, y)
    assert line.mean == pytest.approx(np.polyfit(x, y, 1)[0])
    assert 1 < line.low < line.mean < line.high < 3
    for f, bad in ((rank_agreement, (x, y[1:])), (slope, (x * 0, y)), (rank_agreement, ([1], [1]))):
        with pytest.raises(ValueError, match="x and y"):
            f(*bad)


def test_rank_agreement_keeps_its_level():
    rng = np.random.default_rng(0)
    for n in (6, 12):
        found = [rank_agreement(*rng.normal(size=(2, n))) for _ in range(400)]
        assert np.mean([e.low <= 0 <= e.high for e in found]) >= 0.92


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("n", (8, 20))
@pytest.mark.parametrize("rivals", (1, 6, 24))
def test_claims_about_equal_methods_seldom_fail(n, rivals):
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(150):
        means = rng.normal(size=(rivals + 1, n))
        differences = means[0] - means[1:]  # all share one method, as in a claim
        lines = [compared({"comparison": "a - b"}, d, ">") for d in differences]
        failed += judge("p-ibisa-01", lines).outcome == FAILS
    assert failed / 150 <= 0.05


def test_five_scenes_copied_four_times_decide_nothing():
    for lead, fresh in ((1.0, HOLDS), (-1.0, FAILS)):
        means = {"iou": {"p-ibisa": 0.0, "m2ib": -lead, "nib": -lead}}
        five = rows(means, n=5)
        copies = [five.assign(sample=five["sample"] + f"/{k}") for k in range(4)]
        assert verdict("p-ibisa-11", pd.concat(copies, ignore_index=True)).outcome == OPEN
        twenty = rows(means, n=20)
        assert verdict("p-ibisa-11", twenty).outcome == fresh


def test_yes_no_differences_are_known_by_the_whole_table():
    made = rows({"image conf-incr": {"m2ib": 0, "rise": 0, "nib": 0}}, n=8)
    alike = made.assign(value=100.0)
    (line,) = by_rule("p-ibisa-02", alike, "image conf-incr: m2ib > rise").evidence.to_dict(
        "records"
    )
    assert line["low"] < -20 and line["high"] > 20  # not 0 [0, 0]
    never = made.assign(value=0.0)
    of_rise = summarise(never).set_index("method").loc["rise"]
    assert of_rise.low == 0 and of_rise.high > 20
    assert summarise(never.assign(metric="iou")).high.max() == 0


def test_judge_counts_groups_needs_and_exact_lines():
    sure, against = np.arange(8.0) + 1, -np.arange(8.0) - 1
    line = partial(compared, op=">")
    lines = [line({"comparison": "a", "on": "x"}, sure), line({"comparison": "b", "on": "x"}, sure)]
    lines += [line({"comparison": "c", "on": "y"}, against)]
    assert judge("nib-01", lines).outcome == FAILS
    assert judge("nib-01", lines, need=2).outcome == HOLDS
    assert judge("nib-01", lines, need=1, groups="on").outcome == HOLDS
    assert judge("nib-01", lines, groups="on").outcome == FAILS
    counted = exact({"comparison": "passes"}, 3, "<", 4)
    assert judge("nib-01", [counted]).n is None
    assert judge("nib-01", [counted, lines[0]]).n == 8
    assert judge("nib-01", [exact({"comparison": "passes"}, np.nan, "<", 4)]).outcome == OPEN
    assert judge("nib-01", [exact({"comparison": "passes"}, 4, "<", 4)]).outcome == FAILS
    with pytest.raises(ValueError, match="no comparison"):
        judge("nib-01", [])


def test_within_a_margin_is_not_easier_for_a_wider_interval():
    rng = np.random.default_rng(0)
    narrow, wide = (0.1 + s * rng.normal(size=30) for s in (0.01, 2.0))
    line = partial(compared, {"comparison": "a"}, op="=", bound=0.1, margin=0.05)
    assert line(narrow)["holds"] and not line(wide)["holds"]
    assert line(narrow + 1)["opposite"] and not line(wide)["opposite"]


@pytest.mark.parametrize("n, outcome", ((None, HOLDS), (ENOUGH, HOLDS), (ENOUGH - 1, OPEN)))
def test_n_is_said(n, outcome):
    assert decide("nib-01", True, False, "", n=n).outcome == outcome


def test_kendalls_tau_c_counts_pairs_in_order():
    grades, values = np.array([1, 1, 2, 3, 3, 4]), np.array([0.1, 0.3, 0.2, 0.6, 0.4, 0.4])
    both = [
        np.sign(grades[i] - grades[j]) * np.sign(values[i] - values[j])
        for i in range(6)
        for j in range(i)
    ]
    assert kendall_c(grades, values) == pytest.approx(2 * sum(both) / (36 * (4 - 1) / 4))
    low, high = np.array([0.1, 0.5, 0.3, 0.7]), np.array([0.2, 0.6, 0.9, 0.8])
    two = kendall_c(np.repeat([0, 1], 4), np.concatenate([low, high]))
    assert two == pytest.approx(2 * auc(low, high) - 1)
    assert np.isnan(kendall_c(np.ones(4), low))


def drops(difference: float, spread: float = 0.01, n: int = 40) -> pd.DataFrame:
    """Rows of a drop of two methods, the first `difference` above the second."""
    rng = np.random.default_rng(0)
    theirs, noise = rng.normal(size=(2, n))
    ours = theirs + difference + spread * (noise - noise.mean()) / noise.std()
    place = dict(dataset="d", model="m", modality="image", metric="conf-drop")
    names = [f"{i}" for i in range(n)]
    tables = [
        pd.DataFrame(dict(place, sample=names, method=method, value=value))
        for method, value in (("nib", ours), ("m2ib", theirs))
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(
    "difference, spread, outcome",
    [
        (-0.1, 0.01, HOLDS),  # sure, if small
        (0.1, 0.01, FAILS),
        (0.001, 0.01, EQUAL),
        (0.05, 0.3, EQUAL),
        (0.05, 5.0, OPEN),
        (0.2, 0.6, OPEN),  # its interval ends beyond the margin of 0.3
    ],
)
def test_what_is_open_and_differs_by_less_than_matters_is_equal(difference, spread, outcome):
    table = drops(difference, spread)
    found = by_rule("nib-01", table, "image conf-drop: nib < m2ib")
    assert found.outcome == (OPEN if outcome == EQUAL else outcome)
    assert or_equal(found).outcome == outcome


def test_one_line_that_holds_and_one_that_is_equal_are_equal():
    table = drops(0.001)
    third = table[table.method == "nib"].assign(method="rise")
    third = third.assign(value=third.value + 3)
    found = by_rule("nib-01", pd.concat([table, third]), "conf-drop: nib < m2ib, rise")
    assert found.outcome == OPEN and or_equal(found).outcome == EQUAL
    unknown = table.assign(metric="entropy")
    assert or_equal(by_rule("nib-01", unknown, "entropy: nib < m2ib")).outcome == OPEN
