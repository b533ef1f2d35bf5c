"""P-IBISA's claims that no single rule of claims.csv decides: evidence in, verdict out."""

from collections.abc import Sequence

import pandas as pd

from ...stats import mean_interval
from .. import Verdict, decide
from ..tables import said

SEE_THE_CLASS = ("grad-cam", "rise", "iba", "ibisa", "attention-rollout", "ag-cam", "chefer")
BETTER = {"morf": -1, "lerf": 1}  # the direction of each metric


def p_ibisa_07(table: pd.DataFrame) -> Verdict:
    """P-IBISA is first or second in at least half of the cells, a cell being a model and a metric.

    table  rows of `score`: morf and lerf of "p-ibisa" and of methods that see the class, all data
           sets pooled
    A rank counts where the lead on the next method is certain. The claim fails where in more than
    half of the cells two methods or more are certainly better.
    """
    cells = [rank(model, part, metric) for model, part in by_model(table) for metric in BETTER]
    counted = sum(c["rank"] <= 2 and c["certain"] for c in cells)
    lost = sum(c["better"] >= 2 for c in cells)
    told = [
        f"{c['model']} {c['metric']}: {c['rank']} of {c['of']}"
        + ", not certain" * (not c["certain"])
        for c in cells
    ]
    n = min(c["n"] for c in cells)
    why = f"rank by mean: {', '.join(told)}; n = {n}"
    return decide("p-ibisa-07", 2 * counted >= len(cells), 2 * lost > len(cells), why, cells, n=n)


def rank(model: str, table: pd.DataFrame, metric: str) -> dict:
    """P-IBISA's place in one cell, whether its lead on the next method is certain, how many methods
    are certainly better."""
    rivals = [m for m in SEE_THE_CLASS if m in set(table.method)]
    good = BETTER[metric] * paired(table, metric)[["p-ibisa", *rivals]]
    order = list(good.mean().sort_values(ascending=False, kind="stable").index)
    leads = {k: mean_interval(good["p-ibisa"] - good[k]) for k in rivals}
    place = order.index("p-ibisa")
    certain = place + 1 == len(order) or leads[order[place + 1]][1] > 0
    better = sum(high < 0 for _, _, high in leads.values())
    place = dict(rank=place + 1, of=len(order), certain=bool(certain), better=better)
    return dict(model=model, metric=metric, n=len(good), **place)


def p_ibisa_18(search: pd.DataFrame) -> Verdict:
    """The map of the embedding is on another thing than the class rests on more often than IBISA's
    map of the class.

    search  one row a scene: rests_on, p_ibisa, ibisa, the thing that each points at
    """
    elsewhere = search[["p_ibisa", "ibisa"]].ne(search.rests_on, axis=0).astype(float)
    gap = mean_interval(elsewhere.p_ibisa - elsewhere.ibisa)
    rates = elsewhere.mean()
    why = f"elsewhere: P-IBISA {rates.p_ibisa:.0%}, IBISA {rates.ibisa:.0%}, difference"
    why = f"{why} {said(*gap)}; n = {len(search)}"
    return decide("p-ibisa-18", gap[1] > 0, gap[2] < 0, why, search, n=len(search))


def p_ibisa_19(change: Sequence[float]) -> Verdict:
    """A smaller beta moves the map to the thing that the class rests on, in scenes where the map is
    elsewhere.

    change  one number a scene: the share of the map on that thing over the thing's share of the
            area, at the smallest beta minus at the large one; none where no map is elsewhere
    """
    n, evidence = len(change), {"change": list(change)}
    mean, low, high = mean_interval(change) if n else (float("nan"),) * 3
    told = f"{said(mean, low, high)} in the scenes where the map is elsewhere" if n else "no scene"
    why = f"area-corrected share on the named thing, smallest beta minus large one: {told}; n = {n}"
    return decide("p-ibisa-19", low > 0, high < 0, why, evidence, n=n)


def p_ibisa_23(table: pd.DataFrame, fixed: Sequence[str] = ("beta=1", "beta=10")) -> Verdict:
    """MoRF with learned weights lies within a tenth of that with the best fixed weights.

    table  rows of `score`: morf of "p-ibisa" (learned) and of the fixed ones, all data sets pooled
    """
    lines = []
    for model, part in by_model(table):
        wide = paired(part, "morf")
        best = min(fixed, key=lambda k: wide[k].mean())
        mean, low, high = mean_interval(wide["p-ibisa"] - wide[best])
        difference = dict(mean=mean, low=low, high=high, margin=0.1 * wide[best].mean())
        lines.append(dict(model=model, fixed=best, n=len(wide), **difference))
    good = all(-e["margin"] < e["low"] and e["high"] < e["margin"] for e in lines)
    bad = any(e["low"] > e["margin"] or e["high"] < -e["margin"] for e in lines)
    told = [
        f"{e['model']}, {e['fixed']}: {said(e['mean'], e['low'], e['high'])},"
        f" allowed +-{e['margin']:.2f}"
        for e in lines
    ]
    n = min(e["n"] for e in lines)
    why = f"MoRF of learned minus best fixed, {'; '.join(told)}; n = {n}"
    return decide("p-ibisa-23", good, bad, why, lines, n=n)


def p_ibisa_30(hits: Sequence[float], energies: dict[str, pd.DataFrame]) -> Verdict:
    """One call for every kind of encoder finds what there is to find.

    hits      one number a planted patch: 1 where the hottest pixel lies on it
    energies  kind of encoder -> columns p-ibisa and random: share of the map on the things
    """
    lines = []
    for kind, share in energies.items():
        mean, low, high = mean_interval(share["p-ibisa"] - share.random)
        lines.append(dict(encoder=kind, n=len(share), mean=mean, low=low, high=high))
    above = sum(e["low"] > 0 for e in lines)
    good = min(hits) == 1 and above == len(lines)
    bad = min(hits) < 1 or any(e["high"] < 0 for e in lines)
    n = min(e["n"] for e in lines)
    why = f"{sum(hits):.0f} of {len(hits)} hits on the patch; above random on {above} of"
    return decide("p-ibisa-30", good, bad, f"{why} {len(lines)} kinds; n = {n}", lines, n=n)


def by_model(table: pd.DataFrame):
    return table.groupby("model", sort=False)


def paired(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row for each sample, a column for each method."""
    rows = table[table.metric == metric]
    return rows.pivot(index=["dataset", "sample"], columns="method", values="value")
