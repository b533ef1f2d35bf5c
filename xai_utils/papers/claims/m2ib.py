"""M2IB's claims that no rule in claims.csv decides alone: the numbers of a run in, a verdict out.

Each `m2ib_NN` follows the decision that claims.csv states in words. Where intervals only leave a
claim open, or fewer than six pairs speak, it is not decided.
"""

from collections.abc import Sequence

import pandas as pd

from ...metrics.maps import rank_interval
from ...stats import mean_interval, slope_interval
from .. import (
    ENOUGH,
    FAILS,
    HOLDS,
    UNTESTABLE,
    Verdict,
    claims,
    comparisons,
    decide,
    published,
    verdict,
)
from ..tables import said


def ruled(claim: str, table: pd.DataFrame) -> Verdict:
    """By the claim's rule in claims.csv on every data set of the table, without the rivals that a
    data set lacks."""
    lines = []
    for clause in (c.strip() for c in claims().loc[claim].rule.split(";")):
        head, op, rivals = clause.partition(" > " if ">" in clause else " < ")
        side = "text" if head.startswith("text") else "image"
        rows = table[(table.metric == head.split(":")[0].split()[-1]) & (table.modality == side)]
        for _, part in rows.groupby("dataset", sort=False):
            there = set(part.method)
            kept = [k for k in rivals.split(", ") if k in there or k.isdigit()]
            lines += comparisons(claim, f"{head}{op}{', '.join(kept)}", part) if kept else []
    held, against = (sum(e[k] for e in lines) for k in ("holds", "opposite"))
    why = (
        f"{len(lines)} comparisons: {held} as the rule says, {against} on the other side, the rest"
        f" on neither or n < {ENOUGH}"
    )
    return decide(claim, held == len(lines), against > 0, why, lines)


def m2ib_05(
    table: pd.DataFrame, rivals: Sequence[str] = ("grad-cam", "saliency", "chefer")
) -> Verdict:
    """On captions no gradient or attention method may be better than M2IB by drop or increase.

    table  rows of `score` with conf-drop and conf-incr of captions
    """
    rules = (f"text conf-{k} {', '.join(rivals)}" for k in ("drop: m2ib <", "incr: m2ib >"))
    lines = [e for rule in rules for e in comparisons("m2ib-05", rule, table)]
    against = sum(e["opposite"] for e in lines)
    better = sum(e["difference"] > 0 if e["op"] == "<" else e["difference"] < 0 for e in lines)
    theirs = [v for metric in ("conf-drop", "conf-incr") for v in printed_leads(metric, rivals)]
    ahead, level = sum(v < 0 for v in theirs), sum(v == 0 for v in theirs)
    why = (
        f"{better} of {len(lines)} means are better than M2IB's, {against} with their interval; in"
        f" the paper's table {ahead} of {len(theirs)} are better, {level} equal"
    )
    return decide("m2ib-05", not better, against > 0, why, lines)


def printed_leads(metric: str, rivals: Sequence[str]) -> list[float]:
    """How far M2IB leads each rival on captions in the printed Table 1, on both data sets."""
    rows = published("m2ib", "1").query("modality == 'text' and metric == @metric")
    wide = rows.assign(value=rows.value.astype(float)).pivot(
        index="dataset", columns="method", values="value"
    )
    turn = -1 if metric == "conf-drop" else 1
    leads = [(turn * (wide["m2ib"] - wide[k])).round(2) for k in rivals]
    return [v for lead in leads for v in lead.dropna()]


def m2ib_06(tokens: Sequence[float], lead: Sequence[float], remark: str = "") -> Verdict:
    """RISE's lead on captions must fall with their number of tokens, one entry a caption."""
    slope, average = slope_interval(tokens, lead), sum(lead) / len(lead)
    why = f"RISE's lead: {said(*slope)} points a token, {average:.1f} on average"
    why += f"; n = {len(tokens)}{remark}"
    return decide("m2ib-06", slope[2] < 0, slope[1] > 0, why, n=len(tokens))


def m2ib_07(costs: pd.DataFrame) -> Verdict:
    """M2IB must use under 5 % of RISE's forward passes, and RISE's median seconds must be at least
    six times M2IB's.

    costs  columns method ("m2ib", "rise"), forwards and seconds of a pair
    """
    by = costs.set_index("method")
    share = by.forwards["m2ib"] / by.forwards["rise"]
    faster = by.seconds["rise"] / by.seconds["m2ib"]
    why = (
        f"{share:.1%} of RISE's passes with both sides counted, half of that with one;"
        f" {faster:.0f} times faster here"
    )
    return decide("m2ib-07", share < 0.05 and faster >= 6, True, why, costs)


def m2ib_08(settings: pd.DataFrame, *, n: int) -> Verdict:
    """Every setting must stay within 5 % of the default's drop and above 0.9 in rank correlation.

    settings  a row for each but the default, with the column "within 5 % and above 0.9"
    """
    kept, of = int(settings["within 5 % and above 0.9"].sum()), len(settings)
    why = f"{kept} of {of} settings stay within 5 % of the drop and above 0.9 in rank correlation"
    return decide("m2ib-08", kept == of, kept < of, why, settings, n=n)


def m2ib_10(follows: pd.DataFrame) -> Verdict:
    """The named thing must lie above the other one, and two seeds of a text be more alike than two
    texts.

    follows  rows "named minus other thing" and "two seeds minus two texts": measure, mean, low,
             high, n
    """
    by = follows.set_index("measure")
    moves, apart = by.loc["named minus other thing"], by.loc["two seeds minus two texts"]
    why = (
        f"named minus other {said(moves['mean'], moves.low, moves.high, digits=3)}; two seeds are"
        f" more alike than two texts by {apart['mean']:.2f}"
    )
    good, bad = moves.low > 0 and apart.low > 0, moves.high < 0 or apart.high < 0
    return decide("m2ib-10", good, bad, why, follows, n=int(min(moves.n, apart.n)))


def m2ib_11(recall: pd.DataFrame) -> Verdict:
    """M2IB must find more than 0.8 of the copies, and more than a random map.

    recall  rows m2ib, random and "m2ib minus random": method, copies found, low, high, n
    """
    by = recall.set_index("method")
    own, beside, chance = by.loc["m2ib"], by.loc["m2ib minus random"], by.loc["random"]
    found = said(own["copies found"], own.low, own.high)
    why = f"{found} of the copies; random maps {chance['copies found']:.2f}"
    good, bad = own.low > 0.8 and beside.low > 0, own.high < 0.8 or beside.high < 0
    return decide("m2ib-11", good, bad, why, recall, n=int(own.n))


def m2ib_12(table: pd.DataFrame) -> Verdict:
    """By the rule on evenness, with M2IB's weaker thing above the background.

    table  rows of `score` with evenness and weaker-thing
    """
    if "chefer" not in set(table.method):
        why = "Chefer's method needs a model with attention"
        return Verdict(claims().loc["m2ib-12"], UNTESTABLE, why, pd.DataFrame())
    v = verdict("m2ib-12", table[table.metric == "evenness"])
    own = table[(table.metric == "weaker-thing") & (table.method == "m2ib")].value
    mean, low, high = mean_interval(own)
    why = f"{v.why}; M2IB's weaker thing lies {said(mean, low, high)} above the background"
    good, bad = low > 0 and v.outcome == HOLDS, high < 0 or v.outcome == FAILS
    return decide("m2ib-12", good, bad, f"{why}; n = {len(own)}", v.evidence, n=len(own))


def m2ib_13(lost: dict[str, Sequence], seeds: dict[str, Sequence], evidence=()) -> Verdict:
    """On both sides the correlation with the trained map must lie below 0.5 once all weights are
    random, and below that of two seeds.

    lost, seeds  side -> correlation of each pair
    """
    good, bad, parts = [], [], []
    for side, gone in lost.items():
        mean, low, high = mean_interval(gone)
        _, least, most = mean_interval(seeds[side] - gone)
        good.append(high < 0.5 and least > 0)
        bad.append(low > 0.5 or most < 0)
        parts.append(f"{side}: {said(mean, low, high)}, two seeds {seeds[side].mean():.2f}")
    n = min(map(len, lost.values()))
    return decide("m2ib-13", all(good), any(bad), "; ".join(parts), evidence, n=n)


def m2ib_14(ranges: pd.DataFrame) -> Verdict:
    """Random blocks before the bottleneck must change the map more than as many behind it.

    ranges  a row for each comparison of equally many blocks: low and high end of the correlation
            after minus before, and n
    """
    good, opposite = int((ranges.low > 0).sum()), int((ranges.high < 0).sum())
    why = f"{good} of {len(ranges)} intervals lie above 0, {opposite} below"
    whole = good == len(ranges)
    return decide("m2ib-14", whole, opposite > 0, why, ranges, n=int(ranges.n.min()))


def m2ib_15(gain: Sequence[float]) -> Verdict:
    """IoU of the tuned model minus that of the general one, in points, one entry a picture."""
    mean, low, high = mean_interval(gain)
    why = f"tuned minus before: {said(mean, low, high)} points of IoU, n = {len(gain)}"
    return decide("m2ib-15", low > 0, high < 0, why, n=len(gain))


def m2ib_17(alike: float, gates: tuple[float, float], evidence=(), *, n: int) -> Verdict:
    """The maps of the two extreme betas must correlate above 0.7, with gates open at one and shut
    at the other.

    alike  median correlation of the maps; gates: mean gate at the smallest and at the largest beta
    """
    wide, shut = gates
    why = f"the extremes correlate at {alike:.2f}; mean gates {wide:.2f} and {shut:.2f}"
    good = alike > 0.7 and wide > 0.9 and shut < 0.1
    return decide("m2ib-17", good, True, why, evidence, n=n)


def m2ib_18(tests: dict[tuple[str, str], Sequence], remark: str = "") -> Verdict:
    """Every difference must lie above 0.

    tests  (side, what is compared) -> difference of each pair
    """
    lines = [
        dict(zip(("side", "test", "mean", "low", "high"), (*key, *mean_interval(v))))
        for key, v in tests.items()
    ]
    above, n = sum(e["low"] > 0 for e in lines), min(map(len, tests.values()))
    why = f"{above} of {len(lines)} intervals lie above 0, n = {n}{remark}"
    bad = any(e["high"] < 0 for e in lines)
    return decide("m2ib-18", above == len(lines), bad, why, lines, n=n)


def m2ib_19(reach: dict[int, Sequence]) -> Verdict:
    """The best layer must lie strictly inside, and above the first and the last by their interval.

    reach  layer -> IoU of each pair, in points
    """
    first, *inner, last = sorted(reach)
    best = max(inner, key=lambda k: reach[k].mean())
    edges = [mean_interval(reach[best] - reach[k]) for k in (first, last)]
    n = len(reach[best])
    why = (
        f"best inner layer {best}: IoU {said(*edges[0])} above the first, {said(*edges[1])} above"
        f" the last, n = {n}"
    )
    good, bad = all(e[1] > 0 for e in edges), any(e[2] < 0 for e in edges)
    return decide("m2ib-19", good, bad, why, n=n)


def m2ib_20_28(grid: pd.DataFrame) -> list[Verdict]:
    """Both claims on the grid of settings: imbalance of the two terms must rank against IoU (20),
    ROAR+ with it (28).

    grid  a row for each setting: imbalance, ROAR+ here, IoU
    """
    uneven = rank_interval(grid.imbalance, grid.IoU)
    chosen = rank_interval(grid["ROAR+ here"], grid.IoU)
    why = (
        f"rank correlation with IoU over {len(grid)} settings: imbalance {said(*uneven)}, ROAR+"
        f" {said(*chosen)}"
    )
    n = len(grid)
    return [
        decide("m2ib-20", uneven[2] < 0, uneven[1] > 0, why, grid, n=n),
        decide("m2ib-28", chosen[1] > 0, chosen[2] < 0, why, grid, n=n),
    ]


def m2ib_21(alike: dict[str, Sequence]) -> Verdict:
    """Maps of captions must keep more of their order over the settings than those of pictures.

    alike  "text", "image" -> mean rank correlation with the default's map of each pair
    """
    steady = mean_interval(alike["text"] - alike["image"])
    text, image = (alike[side].mean() for side in ("text", "image"))
    n = len(alike["text"])
    why = f"text {text:.2f}, image {image:.2f}, difference {said(*steady)}, n = {n}"
    return decide("m2ib-21", steady[1] > 0, steady[2] < 0, why, n=n)


def m2ib_25(shape: dict[str, Sequence]) -> Verdict:
    """IoU with exact masks must lie above IoU with boxes.

    shape  "m2ib", "random" -> IoU with masks minus IoU with boxes of each pair, in points
    """
    own, chance = (mean_interval(shape[k]) for k in ("m2ib", "random"))
    why = (
        f"IoU with masks minus IoU with boxes: {said(*own)} points; of random maps {said(*chance)}"
    )
    return decide("m2ib-25", own[1] > 0, own[2] < 0, why, n=len(shape["m2ib"]))


def m2ib_26(
    judged: dict[str, pd.DataFrame],
    methods: Sequence[str],
    controls: Sequence[str] = ("ones", "centred bump", "inverted mask", "random"),
) -> Verdict:
    """The exact masks must beat every control by drop and by increase, and both metrics must rank
    the methods as IoU does.

    judged  "iou", "conf-drop", "conf-incr" -> values, a row for each map, a column for each sample
    """
    turned = {"conf-drop": -judged["conf-drop"], "conf-incr": judged["conf-incr"]}
    where = judged["iou"].loc[list(methods)]
    agree = {k: rank_interval(v.loc[list(methods)], where) for k, v in turned.items()}
    beaten = {
        (k, c): mean_interval(v.loc["exact mask"] - v.loc[c])
        for k, v in turned.items()
        for c in controls
    }
    lost = ", ".join(f"{c} ({k})" for (k, c), e in beaten.items() if e[2] < 0) or "none"
    why = (
        f"exact masks lose to {lost}; ranks against IoU: drop {said(*agree['conf-drop'])}, increase"
        f" {said(*agree['conf-incr'])}"
    )
    tests = [*beaten.values(), *agree.values()]
    good, bad = all(e[1] > 0 for e in tests), any(e[2] < 0 for e in tests)
    return decide("m2ib-26", good, bad, why, n=where.shape[1])


def m2ib_27(trials: pd.DataFrame) -> Verdict:
    """The planted place must come first in every trial, with more of the map on it than a random
    map has, on every kind of tower.

    trials  columns tower, hit, energy, random
    """
    gain = trials.energy - trials.random
    lows = gain.groupby(trials.tower).agg(lambda v: mean_interval(v)[1])
    good = bool(trials.hit.eq(1).all() and (lows > 0).all())
    why = f"first in {int(trials.hit.sum())} of {len(trials)} trials on {len(lows)} kinds of towers"
    summary = trials.groupby("tower", sort=False).mean().reset_index()
    return decide("m2ib-27", good, not good, why, summary, n=len(trials))
