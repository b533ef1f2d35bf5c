"""Tables: the published numbers beside ours, means with intervals as text."""

import pandas as pd

from ..evaluate import estimate_rows, possible, summarise
from ..stats import choices, estimate, mean_interval
from .sources import published


def interval_text(values, digits: int = 2, *, clusters=None) -> str:
    """ "0.59 [0.43, 0.73]": mean and 95 % interval of per-sample values."""
    return said(*mean_interval(values, clusters=clusters), digits=digits)


def said(mean: float, low: float, high: float, *, digits: int = 2) -> str:
    """A mean and its interval as text; the mean alone where there is no interval."""
    alone = low != low
    return f"{mean:.{digits}f}" + ("" if alone else f" [{low:.{digits}f}, {high:.{digits}f}]")


def intervals(values: dict, *, label: str = "method", mean: str = "mean") -> pd.DataFrame:
    """One line for each entry of label -> per-sample values: the label, their mean, the low and
    high end of its 95 % interval, and n. `label` and `mean` name these columns."""
    lines = [(name, *mean_interval(v), len(v)) for name, v in values.items()]
    return pd.DataFrame(lines, columns=(label, mean, "low", "high", "n"))


def wide(
    table: pd.DataFrame, index: list[str], *, digits: int = 2, runs: str | None = None
) -> pd.DataFrame:
    """Rows of `score` or `evaluate` as a table to read: a column for each metric, mean and interval
    as text, and n; where several samples share a picture, the number of pictures, which the
    intervals count.

    index  columns that name a line, such as ["dataset", "method"]; lines keep the table's order
    runs   column that names the run a value comes from: the standard deviation of the runs' means
           is added, as papers print it
    """
    lines, pictures = [], []
    among = {m: possible(m, part.value) for m, part in table.groupby("metric", sort=False)}
    for key, part in table.groupby(index, sort=False):
        values = {m: part[part.metric == m].dropna(subset="value") for m in among}
        found = {m: estimate_rows(v, among[m]) if len(v) else None for m, v in values.items()}
        cells = {m: cell(found[m], values[m], digits, runs) for m in among}
        lines.append(dict(zip(index, key)) | {"n": max(map(len, values.values()))} | cells)
        pictures.append(max(e.n for e in found.values() if e) if any(found.values()) else 0)
    made = pd.DataFrame(lines)
    if (made.n != pictures).any():
        made.insert(len(index) + 1, "pictures", pictures)
    return made


def cell(found, rows: pd.DataFrame, digits: int, runs: str | None) -> str:
    """One cell of `wide`: empty where there are no values."""
    if found is None:
        return ""
    means = rows.groupby(runs).value.mean() if runs else ()
    spread = f" ± {means.std():.{digits}f}" if len(means) > 1 else ""
    return said(*found.ends, digits=digits) + spread


def lead(values: pd.DataFrame, *, lower_is_better: bool = False) -> tuple[str, float, float, float]:
    """The column with the best mean, and its lead over the next best: the paired difference with
    its 95 % interval.

    values  one row a sample, a column for each method; of equal means the first counts as better
    """
    means = values.mean().round(9)  # sums of equal values may differ in the last digit
    means = means.sort_values(ascending=lower_is_better, kind="stable")
    best, following = means.index[:2]
    yes = choices(values.to_numpy().ravel())
    among = (-yes[-1], 0.0, yes[-1]) if yes else ()
    return best, *estimate(values[best] - values[following], among=among).ends


def printed(rows: pd.DataFrame, *, label: str = "method", sep: str = " / ") -> pd.Series:
    """Published rows (`published(...)`, narrowed to one metric and side) as text by label: the data
    sets' numbers in the order of the paper's table, with ± where the paper has it."""
    spread = ["" if s in ("", None) else f" ± {s}" for s in rows["std"]]
    cells = rows.assign(cell=rows.value.astype(str) + spread)
    return cells.groupby(label, sort=False).cell.agg(sep.join)


def compare(table: pd.DataFrame, paper: str, table_id: str) -> pd.DataFrame:
    """A published table and ours, one row per number: source, dataset, model, modality, method,
    metric, value, low, high, n.

    table  what `evaluate` returns, its methods and metrics named as in reference.csv; of ours only
           the published metrics and modalities are shown, as means with 95 % intervals
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
        *("metric", "modality", "source", "dataset", "model", "method"),
        *("value", "low", "high", "n"),
    ]
    return both.sort_values(["metric", "modality"], kind="stable")[columns].reset_index(drop=True)


def beside(table: pd.DataFrame, paper: str, number: str, *, digits: int = 2) -> pd.DataFrame:
    """A published table and below it ours, one line for each source, data set, model and method, a
    column for each metric that both have; `compare` as a table to read.

    table   rows of `score` or `evaluate`, methods and metrics named as in reference.csv
    """
    both = compare(table, paper, number)
    theirs = both.low.isna() & both.n.isna()
    both["text"] = [
        f"{v:g}" if printed else said(v, low, high, digits=digits)
        for v, low, high, printed in zip(both.value, both.low, both.high, theirs)
    ]
    both["n"] = [str(n) if pd.notna(n) else "" for n in both.n]
    keys = ["source", "dataset", "model", "modality", "method", "n"]
    text = both.pivot(index=keys, columns="metric", values="text").fillna("")
    return text.reindex(pd.MultiIndex.from_frame(both[keys].drop_duplicates())).reset_index()
