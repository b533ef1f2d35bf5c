"""M2IB's claims: functions of evidence, with evidence made up so that the answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE
from xai_utils.papers.claims import m2ib

N = 8


def rows(values: dict, metric: str, modality: str = "image", dataset: str = "scenes", n: int = N):
    """Rows of `score`: each method's mean, all samples nearly alike."""
    jitter = np.random.default_rng(0).normal(scale=0.01, size=n)
    parts = [
        pd.DataFrame(
            dict(
                dataset=dataset,
                model="m",
                modality=modality,
                sample=[str(i) for i in range(n)],
                method=method,
                metric=metric,
                value=mean + jitter * (1 + k),
            )
        )
        for k, (method, mean) in enumerate(values.items())
    ]
    return pd.concat(parts)


def steady(mean: float, n: int = N):
    return mean + np.random.default_rng(1).normal(scale=0.01, size=n)


def test_a_rule_leaves_out_the_rivals_that_a_data_set_lacks():
    every = {"m2ib": 1, "grad-cam": 2, "saliency": 3, "kernel-shap": 3, "rise": 2, "chefer": 2}
    few = {"m2ib": 1, "grad-cam": 2, "saliency": 3}
    table = pd.concat([rows(every, "conf-drop"), rows(few, "conf-drop", dataset="photos")])
    v = m2ib.ruled("m2ib-01", table)
    assert v.outcome == HOLDS
    assert v.why.startswith("7 comparisons: 7 as the rule says")
    worse = pd.concat([table, rows({"m2ib": 9, "rise": 1}, "conf-drop", dataset="c")])
    assert m2ib.ruled("m2ib-01", worse).outcome == FAILS
    short = rows(every, "conf-drop", n=3)
    assert m2ib.ruled("m2ib-01", short).outcome == OPEN
    half = pd.concat([rows({"m2ib": 90}, "conf-incr"), rows({"m2ib": 90}, "conf-incr", "text")])
    assert m2ib.ruled("m2ib-23", half).outcome == HOLDS


def test_captions_against_gradient_methods_and_length():
    good = {"m2ib": 1.0, "grad-cam": 2, "saliency": 3, "chefer": 4}
    turned = {k: -v for k, v in good.items()}
    table = pd.concat([rows(good, "conf-drop", "text"), rows(turned, "conf-incr", "text")])
    v = m2ib.m2ib_05(table)
    assert v.outcome == HOLDS
    assert "3 of 12 are better, 1 equal" in v.why  # in the printed table
    bad = pd.concat([rows(turned, "conf-drop", "text"), rows(turned, "conf-incr", "text")])
    assert m2ib.m2ib_05(bad).outcome == FAILS
    tokens = [4, 5, 6, 7, 8, 9, 10]
    assert m2ib.m2ib_06(tokens, [-t + 0.01 * (t % 2) for t in tokens]).outcome == HOLDS
    assert m2ib.m2ib_06(tokens, tokens).outcome == FAILS


@pytest.mark.parametrize(("forwards", "seconds", "outcome"), [(4, 1, HOLDS), (9, 1, FAILS)])
def test_cost(forwards, seconds, outcome):
    costs = pd.DataFrame(
        [("m2ib", forwards, seconds), ("rise", 100, 10)], columns=["method", "forwards", "seconds"]
    )
    assert m2ib.m2ib_07(costs).outcome == outcome


def test_settings_texts_and_copies():
    within = pd.DataFrame({"within 5 % and above 0.9": [True, True]})
    assert m2ib.m2ib_08(within, n=N).outcome == HOLDS
    assert m2ib.m2ib_08(~within, n=N).outcome == FAILS
    names = ("named minus other thing", "two seeds minus two texts")
    follows = pd.DataFrame(dict(measure=names, mean=0.2, low=0.1, high=0.3, n=N))
    assert m2ib.m2ib_10(follows).outcome == HOLDS
    assert m2ib.m2ib_10(follows.assign(low=-0.1)).outcome == OPEN
    recall = pd.DataFrame(
        dict(method=("m2ib", "random", "m2ib minus random"), n=N, low=(0.9, 0.1, 0.5), high=1.0)
    ).assign(**{"copies found": (0.95, 0.2, 0.75)})
    assert m2ib.m2ib_11(recall).outcome == HOLDS
    assert m2ib.m2ib_11(recall.assign(low=0.0, high=0.7)).outcome == FAILS


def test_evenness_asks_for_the_background_too():
    methods = ("m2ib", "grad-cam", "saliency", "kernel-shap", "rise", "chefer")
    even = rows({k: 0.9 if k == "m2ib" else 0.4 for k in methods}, "evenness")
    assert m2ib.m2ib_12(pd.concat([even, rows({"m2ib": 0.2}, "weaker-thing")])).outcome == HOLDS
    assert m2ib.m2ib_12(pd.concat([even, rows({"m2ib": -0.2}, "weaker-thing")])).outcome == FAILS
    few = even[even.method != "chefer"]
    assert m2ib.m2ib_12(few).outcome == UNTESTABLE


def test_sanity_layers_and_gates():
    low, high = {"image": steady(0.1), "text": steady(0.2)}, {"image": steady(0.9)}
    high["text"] = steady(0.95)
    assert m2ib.m2ib_13(low, high).outcome == HOLDS
    assert m2ib.m2ib_13(high, high).outcome == FAILS
    ranges = pd.DataFrame(dict(low=[0.1, 0.2], high=[0.3, 0.4], n=[6, 10]))
    assert m2ib.m2ib_14(ranges).outcome == HOLDS
    assert m2ib.m2ib_14(-ranges.rename(columns=dict(low="high", high="low"))).outcome == OPEN
    assert m2ib.m2ib_14(ranges.assign(low=-0.2, high=-0.1)).outcome == FAILS
    assert m2ib.m2ib_15(steady(1.0)).outcome == HOLDS
    assert m2ib.m2ib_15(steady(1.0, 4)).outcome == OPEN
    assert m2ib.m2ib_17(0.9, (0.95, 0.05), n=N).outcome == HOLDS
    assert m2ib.m2ib_17(0.9, (0.6, 0.05), n=N).outcome == FAILS
    reach = {-1: steady(10), 5: steady(30), 9: steady(20), 11: steady(5)}
    v = m2ib.m2ib_19(reach)
    assert v.outcome == HOLDS
    assert v.why.startswith("best inner layer 5")
    assert m2ib.m2ib_19(reach | {11: steady(50)}).outcome == FAILS


def test_grids():
    tests = {("image", "one"): torch.tensor(steady(1.0)), ("text", "two"): steady(2.0)}
    assert m2ib.m2ib_18(tests).outcome == HOLDS
    assert m2ib.m2ib_18(tests | {("text", "three"): steady(-1.0)}).outcome == FAILS
    grid = pd.DataFrame({"imbalance": range(9), "ROAR+ here": range(9), "IoU": range(9)})
    assert [v.outcome for v in m2ib.m2ib_20_28(grid)] == [FAILS, HOLDS]
    alike = {"text": torch.tensor(steady(0.9)), "image": torch.tensor(steady(0.5))}
    assert m2ib.m2ib_21(alike).outcome == HOLDS


def test_boxes_rewards_and_planted_cells():
    assert m2ib.m2ib_25({"m2ib": steady(-5.0), "random": steady(-4.0)}).outcome == FAILS
    maps = ["m2ib", "rise", "ones", "centred bump", "inverted mask", "random", "exact mask"]
    place = pd.DataFrame([steady(10.0 * k) for k in range(7)], index=maps)
    judged = {"iou": place, "conf-drop": -place, "conf-incr": place}
    methods = ["m2ib", "rise", "random"]
    v = m2ib.m2ib_26(judged, methods)
    assert v.outcome == HOLDS
    assert "lose to none" in v.why
    assert m2ib.m2ib_26(judged | {"conf-drop": place}, methods).outcome == FAILS
    trials = pd.DataFrame(dict(tower=["cells", "text"] * N, hit=1.0, energy=0.9, random=0.1))
    assert m2ib.m2ib_27(trials).outcome == HOLDS
    assert m2ib.m2ib_27(trials.assign(hit=[0.0] + [1.0] * 15)).outcome == FAILS
