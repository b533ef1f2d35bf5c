"""NIB's claims: evidence that makes each hold, that speaks against it, that leaves it open."""

import numpy as np
import pandas as pd
import pytest
import torch
from claim_cases import N, call, check, contest, every, rows, spread

from xai_utils.papers import FAILS, HOLDS, OPEN, UNTESTABLE, claims
from xai_utils.papers.claims import nib

SIDES = nib.SIDES
NAN = float("nan")
METHODS = ("nib", *nib.RIVALS)
KINDS = (HOLDS, FAILS, OPEN)
PLACES = ("photos", "scenes")


def three(*evidence) -> dict:
    """The calls that hold, fail and stay open."""
    return dict(zip(KINDS, evidence))


def both(directions: dict) -> dict:
    return {f"{side} {metric}": op for side in SIDES for metric, op in directions.items()}


CASES = {
    "nib-01": contest({"image conf-drop": "<"}, "nib", nib.RIVALS),
    "nib-02": contest({"image conf-incr": ">"}, "nib", nib.RIVALS),
    "nib-03": contest({"text conf-drop": "<", "text conf-drop-nib": "<"}, "nib", nib.RIVALS),
    "nib-04": contest({"text conf-incr": ">", "text conf-incr-nib": ">"}, "nib", nib.RIVALS),
    "nib-19": contest({"image mask-contrast": ">"}, "nib", ("m2ib",)),
    "nib-20": contest(both({"map-spearman": ">"}), "nib", ("m2ib",)),
}


def cells(level: dict, side: str, *, noise: float, n: int = N) -> pd.DataFrame:
    """Rows of two data sets with exactly these means, level[method] = (drop, increase)."""
    made = []
    for place in PLACES:
        for method, means in level.items():
            for metric, mean in zip(nib.MEASURES, means):
                own = dict(value=spread(mean, n, noise), sample=[f"{i}" for i in range(n)])
                at = dict(dataset=place, model="m", modality=side, method=method, metric=metric)
                made.append(pd.DataFrame(own).assign(**at))
    return pd.concat(made, ignore_index=True)


def gains(*, m2ib: dict, noise: float = 0.1):
    """NIB's drop and increase are 40, M2IB's such that NIB improves by `m2ib` %, a side each; the
    other rivals are far behind."""
    tables = []
    for side in SIDES:
        share = 1 - m2ib[side] / 100
        level = {k: (100.0, 10.0) for k in METHODS}
        level |= {"nib": (40.0, 40.0), "m2ib": (40 / share, 40 * share)}
        tables.append(cells(level, side, noise=noise))
    return call(pd.concat(tables))


AS_PRINTED = {"image": 9.0, "text": 58.83}
CASES["nib-05"] = three(
    gains(m2ib=AS_PRINTED),
    gains(m2ib={"image": 30.0, "text": 58.83}),  # more than printed: another figure
    gains(m2ib=AS_PRINTED, noise=30.0),
)


def seconds(n: int = N, **level):
    """Seconds a pair, some of them two pairs of one picture."""
    taken = {k: level.get(k.replace("-", "_"), 9.0) * spread(1, n, 0.01) for k in METHODS}
    return call(taken, clusters=[f"{i // 2}" for i in range(n)])


CASES["nib-06"] = three(seconds(nib=1.0), seconds(nib=8.0), seconds(n=8, nib=1.0))
CASES["nib-07"] = three(seconds(nib=1.0), seconds(nib=1.0, grad_cam=0.5), seconds())


def passes(**forwards):
    costs = pd.DataFrame({"towers forward": 4.0, "towers backward": 4.0}, index=METHODS)
    for method, count in forwards.items():
        costs.loc[method, "towers forward"] = count
    return call(costs)


CASES["nib-08"] = three(passes(nib=2.0), passes(nib=2.0, saliency=1.0), passes(nib=2.0, rise=NAN))


def counted(*forwards):
    table = pd.DataFrame(dict(forwards=forwards, backwards=11.0))
    return call(table.assign(of=[f"tower {k}" for k in range(len(forwards))]))


CASES["nib-09"] = three(counted(12, 12, 12), counted(12, 12, 14), counted(12, 12, NAN))
CASES["nib-10"] = three(
    *(call(pd.DataFrame({"side": SIDES, "two runs": [0.0, v]})) for v in (0.0, 1e-9, NAN))
)


def moves(text, n: int = 48):
    """In every second picture the hottest place of images moves, with both further seeds."""
    image = np.repeat(np.arange(n)[:, None] % 2, 2, axis=1)
    return call(dict(image=image, text=np.full((n, 2), text)))


CASES["nib-11"] = three(moves(1), moves(0), moves(0, n=20))


def shares(count: int, n: int = N) -> np.ndarray:
    return np.arange(n) < count


def gaps(small: int):
    """Pairs with a small enough gap at 100 nodes, of N."""
    by = {10: np.full(N, 0.09), 100: np.where(shares(small), 0.005, 0.05)}
    return call(dict(image=by, text=by))


CASES["nib-12"] = three(gaps(N), gaps(2), gaps(N // 2))
CASES["nib-13"] = three(
    *(call({"tanh": (0.0, 0.1), "plain": v}) for v in ((1e-9, 0.2), (0.0, 0.0), (NAN, 0.2)))
)
CASES["nib-14"] = three(*(call({"times 3": 1e-7, "shift": v}) for v in (0.0, 0.1, NAN)))


def divergences(factor: float):
    formula = [0.0, 1.0, 4.0, 9.0]
    return call({1.0: formula}, {1.0: [0.0, 1.001, 4.0 * factor, 9.0]})


CASES["nib-15"] = three(*map(divergences, (1.001, 0.2, NAN)))
CASES["nib-16"] = three(
    *(call([1.0, v], [0.5, 0.9999]) for v in (0.01, 100.0, NAN)),
)


def closing(falls: int, early: int, n: int = 40):
    """Paths of n pairs, of which some fall behind the middle and some have their change early."""
    t = torch.linspace(0, 1, 101)[:, None].repeat(1, n)
    path = torch.where(torch.arange(n) < falls, t * (2 - 1.5 * t), t)
    path = torch.where(torch.arange(n) >= n - early, t.sqrt().sqrt(), path)
    return call(dict(image=t, text=path))


CASES["nib-17"] = three(closing(0, 0), closing(30, 0), closing(3, 1))


def removed(lead: float):
    up, noise = spread(0.2), spread(0, size=0.01)[::-1]
    layer = {"most negative": up, "random": noise}
    picture = {"most negative": spread(lead), "random": noise}
    return call(dict(layer=layer, picture=picture))


CASES["nib-18"] = three(*map(removed, (0.2, -0.2, 0.0)))


def swept(names, levels: dict, **options) -> pd.DataFrame:
    """Rows of settings on both sides: drop 20, increase 50 and IoU 0.5 for all that `levels` does
    not give, by ("side", "metric", setting) or ("metric", setting)."""
    usual = {"conf-drop": 20.0, "conf-incr": 50.0, "iou": 0.5}
    means = {}
    for side in SIDES:
        for metric, level in usual.items():
            named = {k: levels.get((metric, k), level) for k in names}
            named |= {k: levels[side, metric, k] for k in names if (side, metric, k) in levels}
            means[f"{side} {metric}"] = named
    return rows(means, **{"size": 0.001, "dataset": "all"} | options)


BETAS = (0.01, 0.1, 0.3, 0.9)


def over_beta(*drops):
    names = [f"beta={b:g}" for b in BETAS]
    levels = {("conf-drop", k): v for k, v in zip(names, drops)}
    levels |= {("conf-incr", k): 90 - 10 * i for i, k in enumerate(names)}
    return call(swept(names, levels), BETAS)


CASES["nib-21"] = three(
    over_beta(20, 21, 22, 23), over_beta(20, 24, 25, 22), over_beta(20, 20, 20, 20)
)
CASES["nib-22"] = three(
    *(call(dict(image=spread(0.1), text=[*spread(v), NAN, NAN])) for v in (0.2, 0.9, 0.5))
)

STEPS, LAYERS = (3, 5, 10, 20), (3, 6, 9)
OURS = [f"steps={k}" for k in STEPS]
THEIRS = [f"beta={b:g}" for b in BETAS]


def varied(nib_last: float, m2ib_last: float, **options):
    levels = {("conf-drop", "steps=20"): nib_last, ("conf-drop", "beta=0.9"): m2ib_last}
    return call(swept(OURS + THEIRS, levels, **options), OURS, THEIRS)


CASES["nib-23"] = three(varied(21, 60), varied(60, 21), varied(21, 21, size=5.0))


def steps(level: float, **options):
    return call(swept(OURS, {("text", "conf-drop", "steps=20"): level}, **options), STEPS)


CASES["nib-24"] = three(steps(20.1), steps(15.0), steps(20.0, size=5.0))


def precise(smaller: int, many: float = 15.0):
    gap = {3: np.ones(N), 20: np.where(shares(smaller), 0.5, 2.0)}
    close = {3: np.full(N, 0.5), 20: np.full(N, 0.9)}
    table = swept(OURS, {("conf-drop", "steps=20"): many})
    return call(table, {s: gap for s in SIDES}, {s: close for s in SIDES})


CASES["nib-25"] = three(precise(N), precise(N, many=25.0), precise(N // 2))


def at_layers(levels: dict, **options) -> pd.DataFrame:
    return swept([f"layer={k}" for k in LAYERS], levels, **options)


CASES["nib-26"] = three(
    call(at_layers({("conf-drop", "layer=9"): 15.0, ("conf-incr", "layer=9"): 90.0}), LAYERS),
    call(at_layers({("image", "conf-drop", "layer=3"): 10.0}), LAYERS),
    call(at_layers({}, size=5.0), LAYERS),
)


def early(drop: float):
    images = {("image", "conf-drop", "layer=9"): 15.0}
    return call(at_layers(images | {("text", "conf-drop", "layer=9"): drop}))


CASES["nib-27"] = three(*map(early, (15.0, 25.0, 20.0)))


def unimodal(fast_ig: float):
    """Drops of 4 for the methods of one modality and 1 for the others, on two data sets; FastIG's
    text drop as given."""
    own = dict.fromkeys(METHODS, 4.0) | {"nib": 1.0, "m2ib": 1.0}
    means = {"image conf-drop": own, "text conf-drop": own | {"fast-ig": fast_ig}}
    means["image iou"] = {k: -v for k, v in own.items()}
    return call(pd.concat([rows(means, dataset=place, n=6) for place in PLACES]))


CASES["nib-28"] = three(*map(unimodal, (4.0, -4.0, 1.0)))


def mfaba(small: int, stray: float = 0.0):
    """Of N pairs the number whose sum is close enough to the fall."""
    off = {side: np.where(shares(small), 0.01, 0.5) for side in SIDES}
    return call(off, {"times 3": 1e-7}, stray)


CASES["nib-29"] = three(mfaba(N), mfaba(N, stray=0.1), mfaba(N // 2))


def under_noise(saliency: float):
    steady = dict(
        saliency=[*spread(saliency), 0.9], nib=[*spread(0.8), NAN], m2ib=[*spread(0.8), 1]
    )
    return call(steady)


CASES["nib-30"] = three(*map(under_noise, (0.2, 1.0, 0.8)))
CASES["nib-31"] = contest({"image iou": ">"}, "nib", ("random",)) | {UNTESTABLE: call()}


def circles(nib_meets, m2ib_meets):
    """What is found of the six criteria: NIB's no information loss and M2IB's no randomness."""
    printed = nib.read("nib_table1_properties.csv").set_index("method") == "yes"
    found = {method: dict(row) for method, row in printed.iterrows()}
    found["nib"] |= {"no_info_loss": nib_meets}
    found["m2ib"] |= {"no_randomness": m2ib_meets, "runs_on_a_closed_model": False}
    return call(found)


CASES["nib-32"] = three(circles(True, False), circles(False, False), circles(True, NAN))


@pytest.mark.parametrize("claim, outcome, given", every(CASES))
def test_claim(claim, outcome, given):
    check(claim, outcome, given)


def test_every_claim_of_the_paper_has_its_cases():
    assert set(CASES) == set(claims().query("paper == 'nib'").id)
    assert all(set(KINDS) <= set(cases) for cases in CASES.values())
    assert [k for k, cases in CASES.items() if UNTESTABLE in cases] == ["nib-31"]


def test_the_abstracts_figures_are_against_m2ib_alone():
    told = nib.printed_improvements().set_index(["side", "against"])["drop and increase"]
    assert told["image", "m2ib"] == pytest.approx(nib.PRINTED["image"], abs=0.01)
    assert told["text", "m2ib"] == pytest.approx(nib.PRINTED["text"], abs=0.01)
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
    level = {k: (4.0, 40.0) for k in METHODS} | {"nib": (1.0, 50.0)}
    table = pd.concat([cells(level, side, noise=0.1) for side in SIDES])
    ours = nib.improvements(table)
    one = ours.set_index(["side", "against", "by"]).loc["image", "m2ib", "drop and increase"]
    assert one.here == pytest.approx(100 * (0.75 + 0.2) / 2)
    assert one.low < one.here < one.high and one.n == 2 * N
    level["nib"] = (1.0, 0.0)
    never = pd.concat([cells(level, side, noise=0.0) for side in SIDES])
    none = nib.improvements(never)
    assert none.here.isna().tolist() == none.low.isna().tolist() == [True, False] * 4
    assert nib.nib_05(never).outcome == OPEN


def test_data_sets_are_pooled_and_their_pictures_kept_apart():
    table = pd.concat([rows({"iou": {"nib": 1.0}}, dataset=place, n=6) for place in PLACES])
    pool = nib.pooled(table)
    assert set(pool.dataset) == {"all"} and pool.cluster.nunique() == 12
    assert pool.home.tolist() == table.dataset.tolist()


def test_seeds_and_texts_of_one_picture_are_one_trial():
    assert nib.nib_11(dict(image=np.ones((40, 2)))).n == 40
    pictures = [f"{i // 8}" for i in range(40)]
    assert nib.nib_11(dict(image=np.ones((40, 2))), clusters=pictures).outcome == OPEN
    gap = {10: np.zeros(12), 100: np.zeros(12)}
    assert nib.nib_12(dict(image=gap)).outcome == HOLDS
    assert nib.nib_12(dict(image=gap), clusters=[f"{i // 3}" for i in range(12)]).n == 4
    times = dict(nib=spread(1.0, 12, 0.01), m2ib=spread(9.0, 12, 0.01))
    assert nib.nib_06(times, clusters=[f"{i // 3}" for i in range(12)]).outcome == OPEN


def test_what_becomes_of_the_similarity_along_the_path():
    t = torch.linspace(0, 1, 101)[:, None]
    paths = torch.cat([t, t**2, t * (2 - 1.5 * t), t.sqrt().sqrt()], 1)
    assert nib.rising(paths).tolist() == [True, True, False, True]
    assert nib.late(paths).tolist() == [True, True, True, False]


def test_sets_that_do_not_say_where_things_are_are_judged_without_iou():
    table = at_layers({("conf-drop", "layer=9"): 15.0, ("conf-incr", "layer=9"): 90.0})
    blind = nib.nib_26(table[table.metric != "iou"], LAYERS)
    assert blind.outcome == HOLDS
    assert len(nib.nib_26(table, LAYERS).evidence) == len(blind.evidence) + len(LAYERS) - 1
    own = dict.fromkeys(METHODS, 4.0) | {"nib": 1.0, "m2ib": 1.0}
    drops = rows({f"{side} conf-drop": own for side in SIDES}, dataset="photos", n=6)
    assert nib.nib_28(drops).outcome == HOLDS


def test_a_sweep_that_lacks_a_setting_is_an_error():
    with pytest.raises(ValueError, match="no image conf-drop of steps=13"):
        nib.nib_24(swept(OURS, {}), (*STEPS, 13))
    with pytest.raises(ValueError, match="beta=0.9"):
        nib.nib_21(swept(THEIRS[:3], {}), BETAS)
