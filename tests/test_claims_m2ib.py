"""M2IB's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

import numpy as np
import pandas as pd
import pytest
import torch
from claim_cases import N, call, check, contest, every, rows, spread

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, claims, verdict
from xai_utils.papers.claims import m2ib

FIVE = ("grad-cam", "saliency", "kernel-shap", "rise", "chefer")
BY_GRADIENT = ("grad-cam", "saliency", "chefer")
NAN = float("nan")


def without(given, method: str):
    (table,), named = given
    return call(table[table.method != method], **named)


CASES = {
    "m2ib-01": contest({"image conf-drop": "<"}, "m2ib", FIVE),
    "m2ib-02": contest({"image conf-incr": ">"}, "m2ib", FIVE),
    "m2ib-03": contest({"image roar-plus": ">", "text roar-plus": ">"}, "m2ib", FIVE, n=10),
    "m2ib-04": contest({"image localization-iou": ">"}, "m2ib", FIVE),
    "m2ib-05": contest({"text conf-drop": "<", "text conf-incr": ">"}, "m2ib", BY_GRADIENT),
    "m2ib-09": contest(
        {"image map-spearman": ">", "text map-spearman": ">"}, "copies=10", ["copies=1"]
    ),
    "m2ib-24": contest({"image deletion-drop": ">", "text deletion-drop": ">"}, "m2ib", ["random"]),
}
for one in ("m2ib-01", "m2ib-02", "m2ib-03", "m2ib-04", "m2ib-05"):
    CASES[one][UNTESTABLE] = without(CASES[one][HOLDS], "saliency")


def three(make, holds, fails, opens):
    """One case for each outcome, made from these arguments."""
    given = zip((HOLDS, FAILS, OPEN), (holds, fails, opens))
    return {outcome: make(*arguments) for outcome, arguments in given}


def by_length(slope: float):
    tokens = np.arange(N) + 4.0
    return call(tokens, slope * tokens + spread(0.0, size=2.0), remark=", 48 masks")


def cost(column: str, own: float, rise: float):
    return call(pd.DataFrame({"method": ["m2ib", "rise"], column: [own, rise]}))


def settings(change: float, alike: float):
    drop = {"default": spread(10.0), "lr=0.3": spread(10.0) + change + spread(0.0, size=0.01)}
    return call(drop, {"lr=0.3": spread(alike, size=0.01)})


def follows(contrast: float, apart: float):
    table = rows({"mask-contrast": {"m2ib": 0.0}})
    table["value"] = spread(contrast)
    return call(table, torch.tensor(spread(0.9)), torch.tensor(spread(0.9) - apart))


def copies_found(share: float, chance: float):
    made = {"m2ib": share, "random": chance}
    table = rows({"instance-recall": made}, n=60)
    for k, v in made.items():
        table.loc[table.method == k, "value"] = (np.arange(60) < round(60 * v)).astype(float)
    return call(table)


def even(lead: float, aside: float):
    means = {"m2ib": lead} | dict.fromkeys(FIVE, 0.0)
    weaker = rows({"weaker-thing": {"m2ib": 0.0}})
    return call(pd.concat([rows({"evenness": means}), weaker.assign(value=spread(aside))]))


def randomised(text: float):
    lost = {"image": torch.tensor(spread(0.1)), "text": torch.tensor(spread(text))}
    return call(lost, {side: torch.tensor(spread(0.95, size=0.02)) for side in lost})


def ranges(middle: float):
    return call({("image", "own layer"): spread(0.3), ("text", "middle"): spread(middle)})


def areas(low: float):
    return call(rows({"map-area": {"beta=1": 0.0, "beta=0.1": 0.5, "beta=0.01": low}}))


def extremes(alike: float, wide: float, shut: float):
    return call(*(spread(v, size=0.02) for v in (alike, wide, shut)))


def noise(kl: float):
    return call({("image", "one"): spread(1.0), ("text", "nats"): spread(kl)}, remark=", no noise")


def depths(last: float):
    reach = {-1: 10.0, 5: 30.0, 9: 20.0, 11: last}
    return call(
        {k: spread(v, size=1.0) * np.array([1] * 12 + [1.1] * 12) for k, v in reach.items()}
    )


def agreeing(step: int):
    x = np.arange(9.0)
    return call(x, step * x if step else [3, 1, 4, 1, 5, 2, 6, 5, 3])


def sides(lead: float):
    return call({"text": torch.tensor(spread(0.5 + lead)), "image": torch.tensor(spread(0.5))})


def recovered(share: float, lead: float):
    table = rows({"mask-recall": {"beta=0.1": 0.0, "beta=0.01": lead}})
    table["value"] += share - table[table.method == "beta=0.1"].value.mean()
    return call(table)


def rising(yes: float):
    table = rows({"image conf-incr": {"m2ib": 0.0}, "text conf-incr": {"m2ib": 0.0}})
    table["value"] = 100.0 * np.tile(np.arange(N) < N * yes, 2)
    return call(table)


def rewards(order: float, exact_drop: float):
    ranked = ["m2ib", "rise", "grad-cam", "saliency", "chefer", "kernel-shap", "random"]
    maps = [*ranked, "ones", "centred bump", "inverted mask", "exact mask"]
    place = pd.DataFrame([spread(float(k)) for k in range(11)], index=maps)
    drop = pd.DataFrame([spread(10 - order * k) for k in range(11)], index=maps)
    drop.loc["exact mask"], drop.loc["ones"] = spread(exact_drop), 0.0
    rise = pd.DataFrame([100.0 * (np.arange(N) < k) for k in range(10)], index=maps[:-1])
    rise.loc["exact mask"] = 100.0
    return call({"iou": place, "conf-drop": drop, "conf-incr": rise}, ranked)


def planted(hit: float, energy: float):
    table = pd.DataFrame(dict(tower=["cells", "text"] * 8, hit=1.0, energy=energy, random=0.1))
    table["cluster"], table["energy"] = (
        [str(k) for k in range(16)],
        energy + np.repeat([0.01, -0.01], 8),
    )
    table.loc[0, "hit"] = hit
    return call(table)


CASES |= {
    "m2ib-06": three(by_length, [-1.0], [1.0], [0.0]),
    "m2ib-07": three(cost, ("forwards", 4, 100), ("forwards", 9, 100), ("forwards", NAN, 100)),
    "m2ib-08": three(settings, (0.1, 0.95), (0.1, 0.8), (0.5, 0.95)),
    "m2ib-10": three(follows, (0.1, 0.1), (-0.1, 0.1), (0.0, 0.1)),
    "m2ib-11": three(copies_found, (1.0, 0.3), (0.5, 0.3), (0.85, 0.3)),
    "m2ib-12": three(even, (0.5, 0.2), (0.5, -0.2), (0.0, 0.2)),
    "m2ib-13": three(randomised, [0.2], [0.8], [0.5]),
    "m2ib-14": three(ranges, [0.3], [-0.3], [0.0]),
    "m2ib-15": three(lambda v: call(spread(v)), [1.0], [-1.0], [0.0]),
    "m2ib-16": three(areas, [1.0], [0.0], [0.5]),
    "m2ib-17": three(extremes, (0.9, 0.95, 0.03), (0.9, 0.6, 0.03), (0.9, 0.9, 0.03)),
    "m2ib-18": three(noise, [1.0], [-1.0], [0.0]),
    "m2ib-19": three(depths, [5.0], [50.0], [30.0]),
    "m2ib-20": three(agreeing, [-1], [1], [0]),
    "m2ib-21": three(sides, [0.3], [-0.3], [0.0]),
    "m2ib-22": three(recovered, (0.2, 0.5), (0.2, -0.5), (0.2, 0.0)),
    "m2ib-23": three(rising, [0.9], [0.1], [0.5]),
    "m2ib-25": three(lambda v: call(spread(v), spread(-4.0)), [5.0], [-5.0], [0.0]),
    "m2ib-26": three(rewards, (0.5, 0.1), (-0.5, 0.1), (0.0, 0.1)),
    "m2ib-27": three(planted, (1.0, 0.9), (0.0, 0.9), (1.0, 0.1)),
    "m2ib-28": three(agreeing, [1], [-1], [0]),
    "m2ib-29": three(cost, ("seconds", 1, 10), ("seconds", 2, 10), ("seconds", NAN, 10)),
}
CASES["m2ib-12"][UNTESTABLE] = without(CASES["m2ib-12"][HOLDS], "chefer")


@pytest.mark.parametrize("claim, outcome, given", every(CASES))
def test_claim(claim, outcome, given):
    check(claim, outcome, given)


def test_every_claim_has_its_cases():
    assert set(CASES) == set(claims().query("paper == 'm2ib'").id)
    assert all({HOLDS, FAILS, OPEN} <= set(found) for found in CASES.values())


def test_rivals_that_a_data_set_lacks_are_left_out_there():
    every = dict.fromkeys(FIVE, 1.0) | {"m2ib": 0.0}
    few = {"m2ib": 0.0, "grad-cam": 1.0, "saliency": 1.0}
    table = pd.concat([rows({"conf-drop": every}), rows({"conf-drop": few}, dataset="photos")])
    found = m2ib.m2ib_01(table)
    assert found.outcome == HOLDS
    assert len(found.evidence) == 7
    lost = pd.concat([table, rows({"conf-drop": {"m2ib": 9.0, "rise": 1.0}}, dataset="c")])
    assert m2ib.m2ib_01(lost).outcome == FAILS


def test_one_rival_that_is_there_is_enough_to_decide_against():
    (table,), _ = without(CASES["m2ib-01"][FAILS], "saliency")
    assert m2ib.m2ib_01(table).outcome == FAILS


def test_few_pictures_decide_nothing():
    table = rows({"conf-drop": dict.fromkeys(FIVE, 1.0) | {"m2ib": 0.0}}, n=24)
    assert m2ib.m2ib_01(table.assign(cluster=table["sample"].astype(int) % 5)).outcome == OPEN
    assert m2ib.m2ib_15(spread(1.0, 4)).outcome == OPEN


def test_the_printed_table_against_the_claim_on_captions():
    (table,), _ = CASES["m2ib-05"][HOLDS]
    assert m2ib.m2ib_05(table).why.endswith("3 of 12 are better than M2IB, 1 equal")


def test_the_best_layer_is_chosen_on_other_pictures():
    """Two inner layers that are each good on one half would both look better than they are."""
    half = np.array([1.0, 0.0] * 6)
    found = m2ib.m2ib_19({0: half * 0, 3: half, 6: 1 - half, 9: half * 0})
    assert found.outcome == OPEN
    assert found.evidence.difference.max() <= 0.5
    assert "best inner layer 3, 6" in found.why


def test_ones_are_no_rival_by_drop():
    given, _ = CASES["m2ib-26"][HOLDS]
    compared = verdict("m2ib-26", *given).evidence.comparison.tolist()
    assert "conf-incr, exact mask - ones" in compared
    assert "conf-drop, exact mask - ones" not in compared


def test_equal_methods_do_not_fail():
    equal = rows({"conf-drop": dict.fromkeys(("m2ib", *FIVE), 1.0)}, size=0.0)
    assert m2ib.m2ib_01(equal).outcome == OPEN


def test_repeats_over_one_set_of_pairs_are_one_sample():
    (table,), _ = CASES["m2ib-03"][HOLDS]
    assert m2ib.m2ib_03(table.assign(cluster="the same pairs")).outcome == OPEN
