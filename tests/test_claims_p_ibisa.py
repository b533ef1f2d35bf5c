"""P-IBISA's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

import numpy as np
import pandas as pd
import pytest
from claim_cases import N, call, check, contest, every, rows, spread

from xai_utils.models.strategies import Measured
from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, claims, verdict
from xai_utils.papers.claims.p_ibisa import CAPTION_SCORES

RIVALS = ("rise", "m2ib", "nib")
NAN = float("nan")
TEN = {f"cap-morf-{k}": "<" for k in CAPTION_SCORES} | {
    f"cap-lerf-{k}": ">" for k in CAPTION_SCORES
}


def with_(cases: dict, **named) -> dict:
    """The cases with further arguments."""
    return {outcome: (evidence, more | named) for outcome, (evidence, more) in cases.items()}


def outcomes(evidence, holds, fails, open_) -> dict:
    return {HOLDS: evidence(*holds), FAILS: evidence(*fails), OPEN: evidence(*open_)}


def versus(directions: dict, left: str, *rights, **options) -> dict:
    return contest(directions, left, rights, **options)


CASES = {
    "p-ibisa-01": contest({"image conf-drop": "<"}, "p-ibisa", RIVALS),
    "p-ibisa-02": contest({"image conf-incr": ">"}, "p-ibisa", RIVALS),
    "p-ibisa-04": contest({"image conf-drop": ">"}, "m2ib", ("rise", "nib")),
    "p-ibisa-11": contest({"image iou": ">"}, "p-ibisa", ("m2ib", "nib")),
    "p-ibisa-13": contest({"image conf-drop": "<"}, "p-ibisa", ("integrated-gradients", "sbsm")),
    "p-ibisa-15": versus({"map-tv": "<", "map-spearman": ">"}, "p-ibisa", "sbsm"),
    "p-ibisa-21": versus({"morf": ">", "lerf": "<"}, "beta=100", "beta=10"),
    "p-ibisa-22": versus({"image conf-drop": ">", "image conf-incr": "<"}, "beta=3", "beta=1"),
    "p-ibisa-26": versus({"map-spearman": ">"}, "masks=20", "masks=1"),
    "p-ibisa-29": versus({"morf": "<", "lerf": ">"}, "iba", "grad-cam"),
}


def leads(incr: float, drop: float):
    others = {"p-ibisa": (0, 0)} | {k: (-incr, drop) for k in RIVALS}
    incr, drop = ({k: v[i] for k, v in others.items()} for i in (0, 1))
    return call(rows({"image conf-incr": incr, "image conf-drop": drop}))


CASES["p-ibisa-03"] = {HOLDS: leads(13, 0.4), FAILS: leads(13, 0.1), OPEN: leads(12, 0.4)}


CAPTIONED = contest(TEN, "p-ibisa", ("m2ib", "nib"))
CASES["p-ibisa-05"] = with_(CAPTIONED, stand_in=False)
CASES["p-ibisa-05"][UNTESTABLE] = with_(CAPTIONED, stand_in=True)[HOLDS]


def random_orders(gap: float, own: float, stand_in: bool = False):
    """Random orders' Cap-LeRF minus Cap-MoRF, and how far the methods lie from the random ones."""
    others = dict.fromkeys(("p-ibisa", "m2ib", "nib"), own)
    falls = {"random": 0.0} | {k: -v for k, v in others.items()}
    stays = {k: gap + v for k, v in others.items()} | {"random": gap}
    table = rows({"cap-morf-meteor": falls, "cap-lerf-meteor": stays}, size=0.01)
    return call(table, stand_in=stand_in)


CASES["p-ibisa-06"] = {
    HOLDS: random_orders(0.0, 0.5),
    FAILS: random_orders(0.1, 0.5),
    OPEN: random_orders(0.02, 0.5),
    UNTESTABLE: random_orders(0.0, 0.5, stand_in=True),
}


def cells(own: float, **options) -> pd.DataFrame:
    """P-IBISA's MoRF and LeRF among three methods at 0.2, 0.4 and 0.6, of which LeRF likes high."""
    rivals = {"rise": 0.2, "iba": 0.4, "chefer": 0.6}
    morf = rivals | {"p-ibisa": own, "random": -1.0}
    lerf = rivals | {"p-ibisa": 0.8 - own, "random": 1.0}
    return rows({"morf": morf, "lerf": lerf}, size=0.02, **options)


CASES["p-ibisa-07"] = {HOLDS: call(cells(0.3)), FAILS: call(cells(0.5)), OPEN: call(cells(0.4))}


def level(gap: float, spent=(16, 16)):
    table = rows({k: {"p-ibisa": gap, "ibisa": 0.0} for k in ("morf", "lerf")}, size=0.02)
    passes = table.method.map({"p-ibisa": 16, "ibisa": spent[1]})
    return call(table.assign(forwards=passes, backwards=16))


CASES["p-ibisa-08"] = {HOLDS: level(0.0), FAILS: level(0.1), OPEN: level(0.03)}


def on_the_object(own: float, right: float):
    others = {"centred-gaussian": 0.0, "p-ibisa-untrained": 0.0}
    table = rows({"energy-in-mask": {"p-ibisa": own} | others})
    blind = rows({"energy-in-mask": {"p-ibisa": -1.0} | others}, model="blind")
    known = [Measured(name, a, 0.25, 0, 1, N) for name, a in (("m", right), ("blind", 0.49))]
    return call(pd.concat([table, blind]), known)


for of_encoders in ("p-ibisa-09", "p-ibisa-10"):
    CASES[of_encoders] = {
        HOLDS: on_the_object(1.0, 0.5),
        FAILS: on_the_object(-1.0, 0.5),
        OPEN: on_the_object(0.0, 0.5),
        UNTESTABLE: on_the_object(1.0, 0.4),
    }


def contrast(own: float):
    table = rows({"image mask-contrast": {"p-ibisa": own, "random": 0.0}})
    centred = table.groupby("method").value.transform("mean")
    return call(
        table.assign(value=0.1 * (table.value - centred) + own * (table.method != "random"))
    )


CASES["p-ibisa-12"] = {HOLDS: contrast(1.0), FAILS: contrast(-1.0), OPEN: contrast(0.0)}


def two_sides(query: float, retrieved: float):
    """P-IBISA's increase: leads over Integrated Gradients by 1, over SBSM by so much."""
    parts = [
        rows(
            {"image conf-incr": {"p-ibisa": 1.0, "integrated-gradients": 0.0, "sbsm": 1.0 - lead}},
            dataset=f"gallery, {side}",
        )
        for side, lead in (("query", query), ("retrieved", retrieved))
    ]
    return call(pd.concat(parts))


CASES["p-ibisa-14"] = {HOLDS: two_sides(-1, 1), FAILS: two_sides(1, -1), OPEN: two_sides(1, 0)}
CASES["p-ibisa-16"] = {
    HOLDS: call(spread(3), spread(1)),
    FAILS: call(spread(0.5), spread(0)),
    OPEN: call(spread(3), np.roll(spread(3), 1)),
}


def regions(shared: float, differing: float):
    """Values of two sides of a pair, which are one cluster."""
    parts = [
        pd.DataFrame(dict(metric=metric, value=spread(mean), sample=[f"{i}" for i in range(N)]))
        for metric, mean in (("shared", shared), ("differing", differing))
    ]
    place = dict(dataset="pairs", model="m", modality="image", method="p-ibisa", error="")
    table = pd.concat(parts).assign(**place)
    return call(table.assign(cluster=table["sample"].astype(int) // 2 % 12 + 100))


CASES["p-ibisa-17"] = {HOLDS: regions(1, -1), FAILS: regions(1, 1), OPEN: regions(1, 0)}


def elsewhere(p_ibisa: int, ibisa: int):
    """24 scenes, in so many of which the maps lie on another thing."""
    table = pd.DataFrame(dict(rests_on=[0] * N, p_ibisa=0, ibisa=0))
    table.loc[: p_ibisa - 1, "p_ibisa"] = 1
    table.loc[N - ibisa :, "ibisa"] = 1
    return call(table)


CASES["p-ibisa-18"] = {HOLDS: elsewhere(12, 0), FAILS: elsewhere(0, 12), OPEN: elsewhere(6, 6)}
CASES["p-ibisa-19"] = {HOLDS: call(spread(1)), FAILS: call(spread(-1)), OPEN: call(spread(0))}


def sweep(areas):
    betas = (0.5, 1, 2, 3, 10, 100)
    return call(rows({"map-area": {f"beta={b:g}": a for b, a in zip(betas, areas)}}))


CASES["p-ibisa-20"] = {
    HOLDS: sweep((6, 5, 4, 3, 2, 1)),
    FAILS: sweep((6, 5, 4, 3, 4, 1)),
    OPEN: sweep((6, 5, 4, 3, 3, 1)),
}


def learned(drop: float, morf: float, size: float = 0.01):
    """Means of learned weights, those of the best fixed ones being 4."""

    def values(metric: str, own: float, fixed: dict):
        table = rows({metric: {"p-ibisa": own} | fixed}, size=size)
        mean = table.groupby("method").value.transform("mean")
        return table.assign(value=mean + 0.1 * (table.value - mean))

    captions = values("image conf-drop", drop, {"beta=1": 6.0, "beta=2": 4.0, "beta=3": 5.0})
    return call(captions, values("morf", morf, {"beta=1": 4.0, "beta=10": 5.0}))


CASES["p-ibisa-23"] = {
    HOLDS: learned(4.1, 4.1),
    FAILS: learned(4.1, 4.8),
    OPEN: learned(4.1, 4.4, size=2.0),
}


def ends(with_t, without_t):
    """Runs at the printed rate, (weight, mean mask) with and without t."""
    parts = [
        pd.DataFrame(dict(weight=weight, area=spread(area, size=0.001), t=t, rate=1.0))
        for t, (weight, area) in ((True, with_t), (False, without_t))
    ]
    table = pd.concat(parts)
    other = table.assign(rate=0.1, weight=5.0)  # decides nothing
    return call(pd.concat([table, other]).assign(picture=np.tile(np.arange(N), 4)))


HALF = np.tile([5.0, 50.0], N // 2)
CASES["p-ibisa-24"] = {
    HOLDS: ends((5.0, 0.2), (500.0, 0.01)),
    FAILS: ends((500.0, 0.2), (500.0, 0.01)),
    OPEN: ends((HALF, 0.2), (500.0, 0.01)),
}


def stable(gain: float, bad: int = 0, held: int = 0, lowest: float = -1.0, n: int = 96):
    table = pd.DataFrame(dict(picture=np.arange(n), lowest=lowest, gain=gain))
    return call(table.assign(finite=table.index >= bad, held=table.index < held))


CASES["p-ibisa-25"] = {HOLDS: stable(0.1), FAILS: stable(-0.1), OPEN: stable(0.1, n=24)}


def costs(masks: float, rise: float = 8000.0, seconds: float = 1.0):
    table = dict(forwards=[masks, 300.0, rise], backwards=[masks, 300.0, 0.0])
    return call(
        pd.DataFrame(table | dict(seconds=[seconds, 1.0, 9.0]), index=["p-ibisa", "ibisa", "rise"])
    )


CASES["p-ibisa-27"] = {HOLDS: costs(320), FAILS: costs(400), OPEN: costs(300, seconds=NAN)}


def moved(cosine: float, area: float):
    (table,), _ = regions(cosine, area)
    names = {"shared": "cosine-change", "differing": "map-area-change"}
    return call(table.replace({"metric": names}))


CASES["p-ibisa-28"] = {HOLDS: moved(1, -1), FAILS: moved(1, 1), OPEN: moved(1, 0)}


def anywhere(own: float, hit: float = 1.0):
    things = pd.DataFrame({"p-ibisa": spread(0.5), "random": spread(0.2)})
    return call([1.0] * 15 + [hit], {"CNN": things, "ViT": things.assign(random=spread(0.5 - own))})


CASES["p-ibisa-30"] = {HOLDS: anywhere(0.3), FAILS: anywhere(0.3, 0), OPEN: anywhere(0, NAN)}
CASES["p-ibisa-31"] = {UNTESTABLE: call()}


@pytest.mark.parametrize("claim, outcome, given", every(CASES))
def test_claim(claim, outcome, given):
    check(claim, outcome, given)


def test_every_claim_has_a_case_for_each_outcome():
    assert set(CASES) == set(claims().query("paper == 'p-ibisa'").id)
    beside = {k: {UNTESTABLE} for k in ("p-ibisa-05", "p-ibisa-06", "p-ibisa-09", "p-ibisa-10")}
    for claim, given in CASES.items():
        wanted = {HOLDS, FAILS, OPEN} | beside.get(claim, set())
        assert set(given) == ({UNTESTABLE} if claim == "p-ibisa-31" else wanted), claim


def test_07_counts_cells_where_p_ibisa_is_first_or_second():
    assert verdict("p-ibisa-07", cells(0.1)).outcome == HOLDS  # random is no rival
    assert verdict("p-ibisa-07", cells(0.1, n=4)).outcome == OPEN
    two = verdict("p-ibisa-07", pd.concat([cells(0.5), cells(0.1, model="other")]))
    assert two.outcome == HOLDS  # half of the cells
    assert list(two.evidence["rank"]) == [3, 3, 1, 1]
    assert list(two.evidence.right) == ["iba"] * 4
    even = verdict("p-ibisa-07", cells(0.4))  # one is better, level with the second
    assert not even.evidence.holds.any() and not even.evidence.opposite.any()
    with pytest.raises(ValueError, match="pool the data sets"):
        verdict("p-ibisa-07", pd.concat([cells(0.3), cells(0.3, dataset="photos")]))


def test_08_wants_equal_passes():
    (table,), _ = level(0.0, spent=(16, 20))
    with pytest.raises(ValueError, match="need equal passes"):
        verdict("p-ibisa-08", table)


def test_09_leaves_out_encoders_that_are_not_twice_as_good_as_untrained():
    (table, known), _ = on_the_object(1.0, 0.5)
    found = verdict("p-ibisa-09", table, known)
    assert set(found.evidence.model) == {"m"}
    assert "left out" in found.why and "blind 49% (untrained 25%)" in found.why
    shown = table[table.model == "m"]  # what is left out needs no rows
    assert verdict("p-ibisa-09", shown, known).why == found.why
    assert "left out" not in verdict("p-ibisa-09", shown, known[:1]).why
    with pytest.raises(ValueError, match="the table lacks m"):
        verdict("p-ibisa-09", table[table.model == "blind"], known)
    (table, known), _ = on_the_object(1.0, 0.4)
    found = verdict("p-ibisa-10", table[:0], known)
    assert found.outcome == UNTESTABLE and "m 40% (untrained 25%), blind 49%" in found.why


def test_14_ignores_the_side_on_which_the_paper_loses():
    assert len(verdict("p-ibisa-14", *two_sides(-1, 1)[0]).evidence) == 3


def test_17_counts_pairs_not_their_sides():
    assert verdict("p-ibisa-17", *regions(1, -1)[0]).n == N // 2


def test_18_says_both_rates():
    assert "P-IBISA 50%, IBISA 0%" in verdict("p-ibisa-18", *elsewhere(12, 0)[0]).why


def test_19_needs_scenes_with_the_map_elsewhere():
    assert verdict("p-ibisa-19", spread(1, n=4)).outcome == OPEN
    assert verdict("p-ibisa-19", [1.0]).outcome == OPEN
    assert "in no picture" in verdict("p-ibisa-19", []).why


def test_23_is_about_as_well_and_not_better_and_wants_both_parts():
    assert verdict("p-ibisa-23", *learned(4.1, 3.0)[0]).outcome == FAILS
    assert verdict("p-ibisa-23", *learned(5.5, 4.1)[0]).outcome == FAILS
    (captions, classification), _ = learned(4.1, 4.1)
    with pytest.raises(ValueError, match="no morf of beta=10"):
        verdict("p-ibisa-23", captions, classification[classification.method != "beta=10"])


def test_24_lets_the_weights_without_t_decide_too():
    assert verdict("p-ibisa-24", *ends((5.0, 0.2), (5.0, 0.2))[0]).outcome == FAILS
    assert verdict("p-ibisa-24", *ends((5.0, 0.01), (500.0, 0.01))[0]).outcome == FAILS


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        (dict(bad=1), FAILS),
        (dict(held=1), FAILS),
        (dict(lowest=1.0), OPEN),  # no loss below 0
        (dict(n=5), OPEN),
    ],
)
def test_25_asks_for_three_things(options, outcome):
    assert verdict("p-ibisa-25", *stable(0.1, **options)[0]).outcome == outcome


def test_30_wants_every_kind():
    things = pd.DataFrame({"p-ibisa": spread(0.2), "random": spread(0.5)})
    assert verdict("p-ibisa-30", [1.0], {"CNN": things}).outcome == FAILS
    assert verdict("p-ibisa-30", [1.0], {"CNN": things[:4]}).outcome == OPEN
