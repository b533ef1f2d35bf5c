"""From comparisons to a verdict: what holds, what does not, and what so few samples leave open.

A comparison says on which side of a bound a number must lie. A claim holds where each of its
comparisons has its whole 95 % interval there: an intersection, which needs no correction. It does
not hold where one lies on the other side beyond chance, by Holm's correction (1979) over all
comparisons of the claim: one interval of twenty lies on a wrong side where nothing differs. What
neither decides is equal within the margin where every comparison is as claimed or has its whole
interval less than the metric's margin (`MARGINS`) away from it.
"""

import json
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..evaluate import possible
from ..stats import Estimate, estimate
from .sources import claims

HOLDS, FAILS, EQUAL, OPEN, UNTESTABLE = (
    "holds",
    "does not hold",
    "equal within the margin",
    "not decided with this n",
    "cannot be tested here",
)
# Independent units: five that all agree stay above 5 % in a sign test.
ENOUGH = 6
ERROR = 0.05
# The smallest difference of two means that matters to a reader of the papers' tables, by metric or
# by the beginning of its name; of other metrics every difference does.
MARGINS = {
    "conf-drop": 0.3,  # points; the smallest lead that P-IBISA's abstract speaks of
    "conf-incr": 5.0,  # points
    "roar": 5.0,  # points
    "localization-iou": 2.0,  # points
    "iou": 0.02,
    "miou": 0.02,
    "boundary-f": 0.02,
    "energy-in-mask": 0.02,
    "mask-contrast": 0.02,
    "pointing-hit": 0.05,
    "morf": 0.01,
    "lerf": 0.01,
    "deletion-auc": 0.01,
    "insertion-auc": 0.01,
    "map-spearman": 0.02,
    "AUC": 0.02,
}


@dataclass(frozen=True)
class Verdict:
    """claim: its row in claims.csv; outcome: HOLDS, FAILS, EQUAL, OPEN or UNTESTABLE; why: one
    sentence; evidence: one row per comparison; n: independent units of the smallest comparison,
    None where nothing is sampled."""

    claim: pd.Series
    outcome: str
    why: str
    evidence: pd.DataFrame
    n: int | None = None

    def noted(self) -> dict:
        """For JSON: claim, outcome, why, n, evidence."""
        lines = [] if self.evidence.empty else json.loads(self.evidence.to_json(orient="records"))
        told = dict(claim=self.claim.id, outcome=self.outcome, why=self.why)
        return told | dict(n=self.n, evidence=lines)


def decide(claim: str, good: bool, bad: bool, why: str, evidence=(), *, n: int | None) -> Verdict:
    """HOLDS where `good`; FAILS where `bad`; OPEN between the two, and where fewer than ENOUGH
    independent units speak.

    evidence  a table, or its rows as dicts
    n         independent units, such as pictures: two texts of one picture are one. None: nothing
              is sampled
    """
    few = n is not None and n < ENOUGH
    outcome = OPEN if few else HOLDS if good else FAILS if bad else OPEN
    return Verdict(
        row_of(claim), outcome, why, pd.DataFrame(evidence), None if n is None else int(n)
    )


def or_equal(verdict: Verdict) -> Verdict:
    """The verdict; EQUAL in the place of OPEN where each line of its evidence holds or lies within
    the margin."""
    lines = verdict.evidence.to_dict("records")
    if verdict.outcome != OPEN or not lines or (verdict.n or 0) < ENOUGH:
        return verdict
    if not all(line["holds"] or within_margin(line) for line in lines):
        return verdict
    close = [line for line in lines if not line["holds"]]
    why = f"{len(lines) - len(close)} of {len(lines)} comparisons as claimed, the others within"
    why += f" the margin: {described(max(close, key=lambda line: abs(line['difference'])))}"
    return replace(verdict, outcome=EQUAL, why=why)


def within_margin(line: dict) -> bool:
    """Whether the whole interval lies less than its metric's margin away from what is claimed."""
    metric = line.get("metric")
    known = [name for name in MARGINS if isinstance(metric, str) and metric.startswith(name)]
    if not known or not sampled(line):
        return False
    matters = MARGINS[max(known, key=len)]
    bottom, top = line["bound"] - line["margin"], line["bound"] + line["margin"]
    low, high = {"<": (bottom, bottom), ">": (top, top), "=": (bottom, top)}[line["op"]]
    return low - matters < line["low"] and line["high"] < high + matters


def untestable(claim: str, why: str = "", *, but: Verdict | None = None) -> Verdict:
    """The verdict of a claim that the kit has no means to test.

    why  the reason; by default the one in claims.csv
    but  what was found of the part or stand-in that could be tested
    """
    row = row_of(claim)
    why = why or row.embedded.removeprefix("no: ")
    if but is None:
        return Verdict(row, UNTESTABLE, why, pd.DataFrame())
    return Verdict(row, UNTESTABLE, f"{why}: {but.outcome} ({but.why})", but.evidence, but.n)


def row_of(claim: str) -> pd.Series:
    if claim not in claims().index:
        raise ValueError(f"unknown claim {claim!r}: one of {', '.join(claims().id[:3])}, ...")
    return claims().loc[claim]


def compared(
    what: dict, found, op: str, bound: float = 0, *, margin: float = 0, clusters=None, among=None
) -> dict:
    """One comparison, as a line of evidence.

    what      names it: {"comparison": "..."}, or columns such as dataset, metric, left, right
    found     an `Estimate`, or the values of the samples; for a difference, paired differences
    op        "<": the interval must lie below bound - margin; ">": above bound + margin;
              "=": between bound - margin and bound + margin
    clusters, among  of the values, as in `estimate`
    Returns what, op, bound, margin, n, difference (the mean), low, high, p (of the other side),
    holds, opposite (not yet corrected: `judge` does that).
    """
    e = found if isinstance(found, Estimate) else estimate(found, clusters=clusters, among=among)
    bottom, top = bound - margin, bound + margin
    holds = {"<": e.high < bottom, ">": e.low > top, "=": bottom < e.low and e.high < top}[op]
    if op == "<":
        p = e.p(bottom) if e.mean > bottom else 1.0
    elif op == ">":
        p = e.p(top) if e.mean < top else 1.0
    else:
        p = max(e.p(bottom), e.p(top)) if not bottom <= e.mean <= top else 1.0
    numbers = dict(n=e.n, difference=e.mean, low=e.low, high=e.high, p=p)
    enough = e.n >= ENOUGH
    outcome = dict(holds=bool(enough and holds), opposite=bool(enough and p <= ERROR))
    return what | dict(op=op, bound=bound, margin=margin) | numbers | outcome


def exact(what: dict, value: float, op: str, bound: float = 0, *, margin: float = 0) -> dict:
    """A line of evidence for a number that nothing was sampled for: n is None. NaN leaves it
    open."""
    bottom, top = bound - margin, bound + margin
    holds = {"<": value < bottom, ">": value > top, "=": bottom <= value <= top}[op]
    alone = dict(n=None, difference=float(value), low=math.nan, high=math.nan, p=math.nan)
    outcome = dict(holds=bool(holds), opposite=not holds and not math.isnan(value))
    return what | dict(op=op, bound=bound, margin=margin) | alone | outcome


def judge(
    claim: str, lines: list[dict], *, need: int | None = None, remark: str = "", groups=None
) -> Verdict:
    """Decide a claim from lines of `compared` and `exact`.

    need    how many must hold, of so many that fewer can remain the claim fails; None: all
    groups  columns that name a group: a group holds where all of its lines do, is against where
            one of them is, and `need` counts groups
    remark  said behind the numbers
    Raises ValueError for no line.
    """
    if not lines:
        raise ValueError(f"{claim}: there is no comparison to decide by")
    evidence = corrected(pd.DataFrame(lines))
    if groups is None:
        held, against = evidence.holds.to_numpy(), evidence.opposite.to_numpy()
    else:
        by = evidence.groupby(groups, sort=False)
        held, against = by.holds.all().to_numpy(), by.opposite.any().to_numpy()
    need = len(held) if need is None else need
    good, bad = held.sum() >= need, against.sum() > len(held) - need
    counts = [int(v) for v in evidence.n.dropna()]
    n = min(counts) if counts else None
    verdict = decide(claim, bool(good), bool(bad), "", evidence, n=n)
    why = told(evidence, verdict.outcome, held, against, need) + remark
    return Verdict(verdict.claim, verdict.outcome, why, evidence, verdict.n)


def corrected(evidence: pd.DataFrame) -> pd.DataFrame:
    """The lines with Holm's p-values; `opposite` only where they stay below 5 %."""
    drawn = evidence.n.notna()
    p = holm(evidence.p[drawn].fillna(1))
    evidence.loc[drawn, "p"] = p
    evidence.loc[drawn, "opposite"] = (p <= ERROR) & (evidence.n[drawn] >= ENOUGH)
    return evidence.astype({"opposite": bool, "holds": bool})


def holm(p) -> np.ndarray:
    """Holm's step-down p-values (1979) of a family of tests."""
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    back = np.empty_like(stepped)
    back[order] = np.minimum(stepped, 1)
    return back


def told(evidence: pd.DataFrame, outcome: str, held, against, need: int) -> str:
    """Why, from the numbers that decided: how many comparisons, and those that come closest to
    another outcome, or that went the other way."""
    of = len(held)
    what = "comparisons" if of == len(evidence) else "groups"
    parts = [f"{held.sum()} of {of} {what} as claimed"]
    if need < of:
        parts[0] += f" ({need} needed)"
    if against.any():
        parts.append(f"{against.sum()} on the other side")
    lines = evidence[evidence.opposite] if outcome == FAILS else evidence[~evidence.holds]
    if outcome == HOLDS or not len(lines):
        lines = evidence
    head = {FAILS: "against it", HOLDS: "closest"}.get(outcome, "open")
    lines = lines.iloc[
        np.argsort([slack(line) for line in lines.to_dict("records")], kind="stable")
    ]
    shown = [
        described(line) for line in lines.head(1 if outcome == HOLDS else 2).to_dict("records")
    ]
    more = f" and {len(lines) - 2} more" if outcome != HOLDS and len(lines) > 2 else ""
    return ", ".join(parts) + f"; {head}: " + "; ".join(shown) + more


def slack(line: dict) -> float:
    """How far a line's interval lies on the claimed side, in widths of the interval: the least is
    the closest to another outcome. 0 where nothing was sampled."""
    if not sampled(line):
        return 0.0
    bottom, top = line["bound"] - line["margin"], line["bound"] + line["margin"]
    inside = {
        "<": bottom - line["high"],
        ">": line["low"] - top,
        "=": min(line["low"] - bottom, top - line["high"]),
    }[line["op"]]
    return inside / max(line["high"] - line["low"], 1e-12)


def sampled(line: dict) -> bool:
    return line["n"] is not None and not math.isnan(line["n"])


def described(line: dict) -> str:
    """A comparison with its numbers, such as "scenes conf-drop: p-ibisa - rise -0.31 [-0.44, -0.18]
    (n = 24)"."""
    text = f"{label(line)} {number(line['difference'])}"
    if sampled(line) and not math.isnan(line["low"]):
        text += f" [{number(line['low'])}, {number(line['high'])}]"
    bottom, top = line["bound"] - line["margin"], line["bound"] + line["margin"]
    wanted = {
        "<": f"< {number(bottom)}",
        ">": f"> {number(top)}",
        "=": f"within {number(bottom)}..{number(top)}" if line["margin"] else number(bottom),
    }[line["op"]]
    if line["bound"] or line["margin"] or not sampled(line):
        text += f", wanted {wanted}"
    return text + (f" (n = {int(line['n'])})" if sampled(line) else "")


def label(line: dict) -> str:
    if isinstance(line.get("comparison"), str):
        return line["comparison"]
    places = [line[k] for k in ("dataset", "model", "modality", "metric") if line.get(k)]
    right = "" if re.fullmatch(r"-?[\d.]+", line["right"]) else f" - {line['right']}"
    return f"{' '.join(places)}: {line['left']}{right}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where one can do without; 0 for what rounding
    leaves of it."""
    if abs(value) < 1e-12:
        return "0"
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e4 else f"{value:.1e}"


CLAUSE = re.compile(r"(?:(image|text) )?([\w-]+): (\S+) ([<>=]) (.+?)(?: (?:by|within) ([\d.]+))?")


def by_rule(claim: str, table: pd.DataFrame, rule: str, *, remark: str = "") -> Verdict:
    """Decide a claim on rows of `score` or `evaluate` by a rule: comparisons joined by ";", each on
    every data set and model of the table, all samples paired.

        image conf-drop: p-ibisa < rise, m2ib     p-ibisa minus each lies below 0; "image" may be
                                                  left out
        conf-incr: p-ibisa > rise by 12           ... above 12
        mask-contrast: p-ibisa > 0                a number in place of a method
        morf: p-ibisa = ibisa within 0.03         the interval lies within -0.03..0.03
    Raises ValueError for a table that lacks what the rule names.
    """
    clauses = (clause.strip() for clause in rule.split(";"))
    lines = [line for clause in clauses for line in comparisons(claim, clause, table)]
    return judge(claim, lines, remark=remark)


def comparisons(claim: str, clause: str, table: pd.DataFrame) -> list[dict]:
    """The lines of one clause of a rule (`by_rule`), one for each rival, data set, model and
    side; samples of one `cluster` of the table count as one."""
    parsed = CLAUSE.fullmatch(clause)
    if not parsed:
        raise ValueError(f"{claim}: cannot read the rule {clause!r}")
    modality, metric, left, op, rights, margin = parsed.groups()
    rows = table[(table.metric == metric) & (table.modality == modality if modality else True)]
    yes = possible(metric, rows.value)
    lines, rivals = [], rights.split(", ")
    together = {
        place: side_by_side(group[group.method.isin({left, *rivals})])
        for place, group in rows.groupby(["dataset", "model", "modality"], sort=False)
    }
    for right in rivals:
        constant = float(right) if re.fullmatch(r"-?[\d.]+", right) else None
        needed = [left] if constant is not None else [left, right]
        if missing := {*needed} - set(rows.method):
            raise ValueError(f"{claim}: the table has no {metric} of {', '.join(sorted(missing))}")
        for place, every in together.items():
            wide = every[needed].dropna() if {*needed} <= set(every) else every[:0]
            if not len(wide):
                raise ValueError(
                    f"{claim}: {' '.join(place)} has no sample with a {metric} of each of"
                    f" {', '.join(sorted(needed))}"
                )
            clusters = clusters_of(wide)
            values = wide[left] - (0 if constant is not None else wide[right])
            among = yes if not yes or constant is not None else (-yes[-1], 0.0, yes[-1])
            what = dict(zip(("dataset", "model", "modality"), place))
            what |= dict(metric=metric, left=left, right=right)
            lines.append(
                compared(
                    *(what, values.to_numpy(), op, constant or 0),
                    margin=float(margin or 0),
                    clusters=clusters,
                    among=among,
                )
            )
    return lines


def paired(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Rows of one metric as one row a sample that has a value of every method, a column for each
    method, and the cluster of each row. Without a column `cluster` each sample is its own."""
    wide = side_by_side(rows).dropna()
    return wide, clusters_of(wide)


def side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one metric as one row a sample, a column for each method, NaN where it has none."""
    own = rows["cluster"].fillna(rows["sample"]) if "cluster" in rows else rows["sample"]
    index = [k for k in ("dataset", "model", "modality", "cluster", "sample") if k in rows]
    index = list(dict.fromkeys([*index, "cluster"]))
    return rows.assign(cluster=own).pivot(index=index, columns="method", values="value")


def clusters_of(wide: pd.DataFrame) -> list[str]:
    """The cluster of each row of `side_by_side`."""
    return [str(key) for key in wide.index.droplevel("sample")]
