"""NIB's claims on planted evidence: each holds, fails and stays open where it should."""

import numpy as np
import pandas as pd
import pytest
import torch

from xai_utils.papers import FAILS, HOLDS, OPEN, claims
from xai_utils.papers.claims import nib

METHODS = ("nib", *nib.RIVALS)
SETS = ("photos", "scenes", "stamps")


def scores(level: dict, *, n: int = 8, sets=SETS, metrics=nib.MEASURES, spread: float = 0.1):
    """Rows as `score` gives them: level[method] or level[method, metric] plus noise."""
    rng, rows = np.random.default_rng(0), []
    for side in nib.SIDES:
        for method in dict.fromkeys(k if isinstance(k, str) else k[0] for k in level):
            for metric in metrics:
                mean = level.get((method, metric), level.get(method))
                for d in sets:
                    for i, v in enumerate(mean + spread * rng.standard_normal(n)):
                        row = (d, "m", side, f"{d}-{i}", method, metric, v)
                        rows.append(row)
    columns = ["dataset", "model", "modality", "sample", "method", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_the_abstracts_figures_are_against_m2ib_alone():
    told = nib.printed_improvements().set_index(["side", "against"])["drop and increase"]
    assert told["image", "m2ib"] == pytest.approx(9.0, abs=0.01)
    assert told["text", "m2ib"] == pytest.approx(58.83, abs=0.01)
    assert told["image", "best rival"] < 6 and told["image", "m2ib, 0.01"] < 0


def test_improvement_in_closed_form():
    mean = {("nib", "a", "conf-drop"): 1.0, ("nib", "a", "conf-incr"): 40.0}
    mean |= {("x", "a", "conf-drop"): 2.0, ("x", "a", "conf-incr"): 10.0}
    mean |= {("y", "a", "conf-drop"): 4.0, ("y", "a", "conf-incr"): 20.0}
    assert nib.improvement(mean, ["x"], ["a"]) == pytest.approx(100 * (0.5 + 0.75) / 2)
    assert nib.improvement(mean, ["x", "y"], ["a"]) == pytest.approx(50)
    assert nib.improvement(mean, ["y"], ["a"], ["conf-drop"]) == pytest.approx(75)
    mean["nib", "a", "conf-incr"] = 0.0
    assert not np.isfinite(nib.improvement(mean, ["x"], ["a"]))


def test_improvements_say_where_there_is_no_figure():
    level = {(k, "conf-drop"): 1.0 if k == "nib" else 4.0 for k in METHODS}
    level |= {(k, "conf-incr"): 50.0 if k == "nib" else 40.0 for k in METHODS}
    gains = nib.improvements(scores(level))
    one = gains.set_index(["side", "against", "by"]).loc["image", "m2ib", "drop and increase"]
    assert (
        one.here == pytest.approx(100 * (0.75 + 0.2) / 2, abs=2) and one.low < one.here < one.high
    )
    assert one.undefined == 0 and one.n == 24
    assert nib.nib_05(gains).outcome == FAILS  # above what is printed for images
    assert nib.nib_05(gains.assign(printed=gains.here)).outcome == HOLDS
    level["nib", "conf-incr"] = 0.0
    none = nib.improvements(scores(level, spread=0.0))
    assert none.undefined.tolist() == [1, 0, 1, 0] * 2
    assert none.here.isna().tolist() == none.low.isna().tolist() == [True, False] * 4
    assert nib.nib_05(none).outcome == OPEN


def seconds(**level):
    return {k: level.get(k.replace("-", "_"), 9.0) * np.linspace(0.99, 1.01, 8) for k in METHODS}


def test_time_and_passes():
    assert nib.nib_06(seconds(nib=1.0)).outcome == HOLDS
    assert nib.nib_06(seconds(nib=8.0)).outcome == FAILS
    few = {k: v[:3] for k, v in seconds(nib=1.0).items()}
    assert nib.nib_06(few).outcome == OPEN and nib.nib_07(few).outcome == OPEN
    assert nib.nib_07(seconds(nib=1.0)).outcome == HOLDS
    slower = nib.nib_07(seconds(nib=1.0, grad_cam=0.5))
    assert slower.outcome == FAILS and "faster: grad-cam;" in slower.why
    costs = pd.DataFrame({"towers forward": 4.0, "towers backward": 4.0}, index=METHODS)
    costs.loc["nib"] = 2.0, 3.0
    assert nib.nib_08(costs).outcome == HOLDS
    costs.loc["saliency"] = 1.0, 3.0
    assert nib.nib_08(costs).outcome == FAILS
    for over, outcome in (([3.0, 3.2], HOLDS), ([3.0, 4.0], FAILS)):
        assert nib.nib_09(pd.DataFrame({"over one forward": over})).outcome == outcome


def test_theorems_and_axioms():
    runs = pd.DataFrame({"side": nib.SIDES, "two runs": [0.0, 0.0]})
    assert nib.nib_10(runs).outcome == HOLDS
    assert nib.nib_10(runs.assign(**{"two runs": [0.0, 1e-9]})).outcome == FAILS
    often, never, once = torch.ones(8), torch.zeros(8), torch.eye(8)[0]
    for moved, outcome in ((often, HOLDS), (never, FAILS), (once, OPEN)):
        assert nib.nib_11(dict(image=often, text=moved)).outcome == outcome
    for small, outcome in ((0.005, HOLDS), (0.05, FAILS)):
        gaps = {10: torch.full((5,), 0.09), 100: torch.full((5,), small)}
        assert nib.nib_12(dict(image=gaps)).outcome == outcome
    assert nib.nib_13(0.0, 0.1).outcome == HOLDS
    assert nib.nib_13(1e-3, 0.1).outcome == nib.nib_13(0.0, 0.0).outcome == FAILS
    assert nib.nib_14({"times 3": 1e-7}).outcome == HOLDS
    assert nib.nib_14({"times 3": 1e-7, "shift": 0.1}).outcome == FAILS
    assert nib.nib_15(0.004, True).outcome == HOLDS
    assert nib.nib_15(0.004, False).outcome == nib.nib_15(0.04, True).outcome == FAILS
    assert nib.nib_16([1.0, 0.1], [0.5, 0.9999]).outcome == HOLDS
    grows = nib.nib_16([1.0, 100.0], [0.5, 0.9999])
    assert grows.outcome == FAILS and "grows by a factor of 1e+02" in grows.why


def test_a_path_that_closes_gradually():
    t = torch.linspace(0, 1, 101)[:, None].repeat(1, 4)
    held = nib.nib_17(dict(image=t, text=t**2))
    assert held.outcome == HOLDS and held.evidence["never falls"].tolist() == [1, 1]
    falls, early = t * (2 - 1.5 * t), t.sqrt().sqrt()
    assert nib.nib_17(dict(image=falls)).evidence["never falls"].item() == 0
    assert nib.nib_17(dict(image=early)).evidence.late.item() == 0
    assert nib.nib_17(dict(image=t, text=falls)).outcome == FAILS
    assert nib.nib_17(dict(image=t, text=early)).outcome == FAILS


def test_negative_scores():
    up, noise = torch.full((8,), 0.2), torch.linspace(-0.05, 0.05, 8)
    where = {"most negative": up + noise, "random": noise.flip(0)}
    assert nib.nib_18(dict(layer=where)).outcome == HOLDS
    unclear = {"most negative": 4 * noise, "random": noise.flip(0)}
    assert nib.nib_18(dict(layer=where, picture=unclear)).outcome == OPEN
    down = {"most negative": noise - up, "random": noise}
    assert nib.nib_18(dict(layer=where, picture=down)).outcome == FAILS


def swept(**level):
    """NIB's and M2IB's settings; the drop of each as given, else 5; the increase 50."""
    names = [f"steps={k}" for k in (5, 10, 20)] + [f"layer={k}" for k in (3, 6, 9)]
    names += [f"beta={b}" for b in (0.01, 0.1, 0.9)]
    all_levels = {}
    for name in names:
        key = name.replace("=", "_").replace(".", "_")
        all_levels[name, "conf-drop"] = level.get(key, 5.0)
        all_levels[name, "conf-incr"] = level.get(f"{key}_incr", 50.0)
        all_levels[name, "iou"] = level.get(f"{key}_iou", 0.5)
    return scores(all_levels, sets=("all",), metrics=(*nib.MEASURES, "iou"), spread=0.01)


def test_sweeps():
    best = swept(steps_10=3.0)
    assert nib.nib_24(best, (5, 10, 20)).outcome == HOLDS
    later = nib.nib_24(swept(steps_20=3.0), (5, 10, 20))
    assert later.outcome == FAILS and "worse than steps=20" in later.why
    nine = swept(layer_9=3.0, layer_9_incr=60.0, layer_9_iou=0.9)
    assert nib.nib_26(nine, (3, 6, 9)).outcome == HOLDS
    assert nib.nib_26(swept(layer_3=3.0), (3, 6, 9)).outcome == FAILS
    assert nib.nib_27(nine).outcome == HOLDS
    assert nib.nib_27(swept(layer_9=6.0)).outcome == FAILS
    lines = [(s, k, 1 / k, 1 - 1 / k) for s in nib.SIDES for k in (5, 10, 20)]
    precise = pd.DataFrame(lines, columns=["side", "steps", "gap", "correlation"])
    assert nib.nib_25(swept(steps_20=4.0), precise).outcome == HOLDS
    assert nib.nib_25(swept(steps_20=6.0), precise).outcome == FAILS
    assert nib.nib_25(swept(steps_20=4.0), precise.assign(gap=1.0)).outcome == OPEN
    ours, theirs = ["steps=5", "steps=10"], ["beta=0.01", "beta=0.9"]
    assert nib.nib_23(swept(beta_0_9=50.0), ours, theirs).outcome == HOLDS
    assert nib.nib_23(swept(steps_10=50.0), ours, theirs).outcome == FAILS
    rising = dict(beta_0_01=1.0, beta_0_1=2.0, beta_0_9=3.0)
    falling = dict(beta_0_01_incr=60.0, beta_0_1_incr=50.0, beta_0_9_incr=40.0)
    assert nib.nib_21(swept(**rising, **falling), (0.01, 0.1, 0.9)).outcome == HOLDS
    bent = swept(**(rising | dict(beta_0_1=0.5)), **falling)
    assert nib.nib_21(bent, (0.01, 0.1, 0.9)).outcome == OPEN


def test_maps_against_maps():
    alike, unlike = torch.linspace(0.8, 0.9, 8), torch.linspace(0.1, 0.2, 8)
    assert nib.nib_22(dict(image=unlike, text=unlike)).outcome == HOLDS
    assert nib.nib_22(dict(image=unlike, text=alike)).outcome == FAILS
    assert nib.nib_22(dict(image=unlike[:4])).outcome == OPEN
    assert nib.nib_30(dict(saliency=unlike, nib=alike, m2ib=alike)).outcome == HOLDS
    assert nib.nib_30(dict(saliency=alike, nib=unlike, m2ib=alike + 0.1)).outcome == FAILS
    good = dict(image=0.01, text=0.02), {"times 3": 1e-7}
    assert nib.nib_29(*good, 0.0).outcome == HOLDS
    assert nib.nib_29(*good, 0.1).outcome == FAILS


@pytest.mark.parametrize("claim", ["nib-01", "nib-20"])
def test_ruled_counts_the_comparisons(claim):
    metric = "conf-drop" if claim == "nib-01" else "map-spearman"
    low, high = (1.0, 4.0) if claim == "nib-01" else (4.0, 1.0)
    table = scores({k: low if k == "nib" else high for k in METHODS}, metrics=(metric,))
    v = nib.ruled(claim, table, "; a remark")
    of = len(v.evidence)
    assert v.outcome == HOLDS and v.why.startswith(f"{of} of {of} comparisons hold, 0 go")
    assert v.why.endswith("; a remark") and v.claim.id == claims().loc[claim].id
    assert nib.ruled(claim, table, also=False).outcome == OPEN


def test_compared_wants_every_interval_above_zero():
    up, noise = np.linspace(1, 2, 8), np.linspace(-1, 1, 8)
    assert nib.compared("nib-27", dict(a=up, b=up)).outcome == HOLDS
    assert nib.compared("nib-27", dict(a=up, b=noise)).outcome == OPEN
    assert nib.compared("nib-27", dict(a=up, b=-up)).outcome == FAILS
    assert nib.compared("nib-27", dict(a=up, b=up[:5])).outcome == OPEN
    worse = {k: 4.0 for k in METHODS} | {"nib": 1.0, "m2ib": 1.0}
    worse |= {(k, "iou"): 0.9 if k in ("nib", "m2ib") else 0.1 for k in METHODS}
    table = scores(worse, metrics=("conf-drop", "iou"), spread=0.01)
    assert nib.nib_28(table).outcome == HOLDS
