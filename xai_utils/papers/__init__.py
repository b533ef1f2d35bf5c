"""The published numbers beside ours, and the papers' claims with a verdict that a rule decides."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pandas as pd

from ..evaluate import summarise
from ..stats import mean_interval
from . import claims as _  # noqa: F401  the folder, now: `claims` below keeps its name

import_module(f"{__name__}.claims")  # loaded first, it leaves the name to the function below

import_module(f"{__name__}.claims")  # loaded first, it leaves the name to the function below

PAPERS = ("p-ibisa", "m2ib", "nib", "adaib", "aha")
HOLDS, FAILS, OPEN, UNTESTABLE = (
    "holds",
    "does not hold",
    "not decided with this n",
    "cannot be tested here",
)
# Samples: five that all agree stay above 5 % in a sign test, although their bootstrap interval
# excludes 0 already.
ENOUGH = 6
CASE = ["dataset", "model", "modality", "sample"]


@cache
def reference() -> pd.DataFrame:
    """Every number the five papers print, one row each: paper, table, dataset, model, method,
    setting, metric, value, ..."""
    return read("reference.csv")


@cache
def claims() -> pd.DataFrame:
    """Every checkable claim of the five papers, by id: where it stands, its test, its decision in
    words and as a rule."""
    return read("claims.csv").set_index("id", drop=False)


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name(name), dtype={"table": str}, keep_default_na=False)


def published(paper: str, table: str) -> pd.DataFrame:
    """The rows of one table. Raises ValueError for a paper or table that is not in
    reference.csv."""
    if paper not in PAPERS:
        raise ValueError(f"unknown paper {paper!r}: one of {', '.join(PAPERS)}")
    rows = reference().query("paper == @paper")
    if table not in set(rows.table):
        raise ValueError(
            f"{paper} has no table {table!r}: one of {', '.join(sorted(set(rows.table)))}"
        )
    return rows.query("table == @table").reset_index(drop=True)


def compare(table: pd.DataFrame, paper: str, table_id: str) -> pd.DataFrame:
    """A published table and ours, one row per number: source, dataset, model, modality, method,
    metric, value, low, high, n.

    table  what `evaluate` returns, its methods and metrics named as in reference.csv; of ours only
           the published metrics and modalities are shown, as means with 95 % bootstrap intervals
    Where the table splits a data set, such as into queries and what they find, the part follows its
    name.
    Raises ValueError where no metric is in both.
    """
    theirs = published(paper, table_id).assign(
        source=f"{paper}, Table {table_id}", value=lambda t: t.value.astype(float)
    )
    theirs["method"] = (
        theirs.method + " " + theirs.setting.where(theirs.method == paper, "")
    ).str.strip()
    several = theirs.groupby("dataset").split.transform("nunique") > 1
    theirs["dataset"] += (", " + theirs.split).where(several, "")
    ours = summarise(table).rename(columns={"mean": "value"}).assign(source="here")
    common = set(theirs.metric) & set(ours.metric)
    if not common:
        raise ValueError(
            f"{paper}'s Table {table_id} prints {sorted(set(theirs.metric))}, ours has"
            f" {sorted(set(ours.metric))}"
        )
    both = pd.concat([theirs, ours])
    both["n"] = both.n.astype("Int64")
    both = both[both.metric.isin(common) & both.modality.isin(set(theirs.modality))]
    columns = [
        "metric",
        "modality",
        "source",
        "dataset",
        "model",
        "method",
        "value",
        "low",
        "high",
        "n",
    ]
    return both.sort_values(["metric", "modality"], kind="stable")[columns].reset_index(drop=True)


@dataclass(frozen=True)
class Verdict:
    """claim: its row in claims.csv; outcome: HOLDS, FAILS, OPEN or UNTESTABLE; why: one sentence;
    evidence: one row per comparison."""

    claim: pd.Series
    outcome: str
    why: str
    evidence: pd.DataFrame


def decide(claim: str, good: bool, bad: bool, why: str, evidence=(), *, n: int = ENOUGH) -> Verdict:
    """HOLDS where `good`; FAILS where `bad`, which is that an interval lies on the other side; OPEN
    between the two, and where fewer than ENOUGH samples speak. Leave n out where nothing is
    sampled.

    evidence  a table, or its rows as dicts
    """
    outcome = OPEN if n < ENOUGH else HOLDS if good else FAILS if bad else OPEN
    return Verdict(claims().loc[claim], outcome, why, pd.DataFrame(evidence))


def verdict(claim: str, table: pd.DataFrame | None = None) -> Verdict:
    """Decide a claim by its rule in claims.csv: each comparison's 95 % paired bootstrap interval
    must lie where it says.

    A rule is comparisons joined by ";", each to hold on every data set and model of the table, all
    samples paired:
        image conf-drop: p-ibisa < rise, m2ib     the interval of p-ibisa minus each lies below 0;
                                                  "image" may be left out
        conf-incr: p-ibisa > rise by 12           ... above 12
        mask-contrast: p-ibisa > 0                a number in place of a method
        morf: p-ibisa = ibisa within 0.03         the interval lies within -0.03..0.03
    The claim holds where all do, it does not where one interval lies on the other side, and is not
    decided otherwise.
    table  what `evaluate` returns, or None for a claim that claims.csv calls untestable here
    Raises ValueError for an unknown claim, one without a rule, and a table that lacks what the rule
    names.
    """
    if claim not in claims().index:
        raise ValueError(f"unknown claim {claim!r}: one of {', '.join(claims().id[:3])}, ...")
    row = claims().loc[claim]
    if table is None:
        if not row.embedded.startswith("no"):
            raise ValueError(f"{claim} can be tested here: give the table that its rule needs")
        return Verdict(row, UNTESTABLE, row.embedded.removeprefix("no: "), pd.DataFrame())
    if not row.rule:
        raise ValueError(f"{claim} has no rule in claims.csv: {row.decision}")
    lines = [
        line for clause in row.rule.split(";") for line in comparisons(claim, clause.strip(), table)
    ]
    held, against, few = (
        sum(v) for v in zip(*((e["holds"], e["opposite"], e["n"] < ENOUGH) for e in lines))
    )
    why = f"{held} of {len(lines)} comparisons as the rule says, {against} on the other side"
    return decide(
        claim,
        held == len(lines),
        against > 0,
        why + f", {few} with n below {ENOUGH}" * (few > 0),
        lines,
    )


CLAUSE = re.compile(r"(?:(image|text) )?([\w-]+): (\S+) ([<>=]) (.+?)(?: (?:by|within) ([\d.]+))?")


def comparisons(claim: str, clause: str, table: pd.DataFrame) -> list[dict]:
    parsed = CLAUSE.fullmatch(clause)
    if not parsed:
        raise ValueError(f"{claim}: cannot read the rule {clause!r}")
    modality, metric, left, op, rights, margin = parsed.groups()
    rows = table[(table.metric == metric) & (table.modality == modality if modality else True)]
    lines = []
    for right in rights.split(", "):
        number = re.fullmatch(r"-?[\d.]+", right)
        needed = {left} if number else {left, right}
        if missing := needed - set(rows.method):
            raise ValueError(f"{claim}: the table has no {metric} of {', '.join(sorted(missing))}")
        for (dataset, model, kind), group in rows.groupby(
            ["dataset", "model", "modality"], sort=False
        ):
            wide = (
                group[group.method.isin(needed)]
                .pivot(index="sample", columns="method", values="value")
                .dropna()
            )
            difference = wide[left] - (float(right) if number else wide[right])
            mean, low, high = mean_interval(difference)
            m = float(margin or 0)
            enough = len(wide) >= ENOUGH
            holds = enough and {"<": high < -m, ">": low > m, "=": -m < low and high < m}[op]
            opposite = enough and {"<": low > -m, ">": high < m, "=": low > m or high < -m}[op]
            lines.append(
                dict(
                    dataset=dataset,
                    model=model,
                    modality=kind,
                    metric=metric,
                    left=left,
                    op=op,
                    right=right,
                    margin=m,
                    n=len(wide),
                    difference=mean,
                    low=low,
                    high=high,
                    holds=bool(holds),
                    opposite=bool(opposite),
                )
            )
    return lines
