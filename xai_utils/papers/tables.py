"""Tables: the published numbers beside ours, means with intervals as text."""

import pandas as pd

from ..stats import mean_interval


def interval_text(values, digits: int = 2) -> str:
    """ "0.59 [0.43, 0.73]": mean and 95 % bootstrap interval of per-sample values."""
    return said(*mean_interval(values), digits=digits)


def said(mean: float, low: float, high: float, *, digits: int = 2) -> str:
    """A mean and its interval as text; the mean alone where there is no interval."""
    alone = low != low
    return f"{mean:.{digits}f}" + ("" if alone else f" [{low:.{digits}f}, {high:.{digits}f}]")


def intervals(values: dict, *, label: str = "method", mean: str = "mean") -> pd.DataFrame:
    """One line for each entry of label -> per-sample values: the label, their mean, the low and
    high end of its 95 % bootstrap interval, and n. `label` and `mean` name these columns."""
    lines = [(name, *mean_interval(v), len(v)) for name, v in values.items()]
    return pd.DataFrame(lines, columns=(label, mean, "low", "high", "n"))


def wide(
    table: pd.DataFrame, index: list[str], *, digits: int = 2, runs: str | None = None
) -> pd.DataFrame:
    """Rows of `score` or `evaluate` as a table to read: a column for each metric, mean and interval
    as text, and n.

    index  columns that name a line, such as ["dataset", "method"]; lines keep the table's order
    runs   column that names the run a value comes from: the standard deviation of the runs' means
           is added, as papers print it
    """
    lines, metrics = [], list(dict.fromkeys(table.metric))
    for key, part in table.groupby(index, sort=False):
        values = {m: part[part.metric == m].dropna(subset="value") for m in metrics}
        cells = {m: cell(v, digits, runs) for m, v in values.items()}
        lines.append(dict(zip(index, key)) | {"n": max(map(len, values.values()))} | cells)
    return pd.DataFrame(lines)


def cell(rows: pd.DataFrame, digits: int, runs: str | None) -> str:
    """One cell of `wide`: empty where there are no values."""
    if not len(rows):
        return ""
    means = rows.groupby(runs).value.mean() if runs else ()
    spread = f" ± {means.std():.{digits}f}" if len(means) > 1 else ""
    return interval_text(rows.value, digits) + spread


def lead(values: pd.DataFrame, *, lower_is_better: bool = False) -> tuple[str, float, float, float]:
    """The column with the best mean, and its lead over the next best: the paired difference with
    its 95 % bootstrap interval.

    values  one row a sample, a column for each method; of equal means the first counts as better
    """
    means = values.mean().round(9)  # sums of equal values may differ in the last digit
    means = means.sort_values(ascending=lower_is_better, kind="stable")
    best, following = means.index[:2]
    return best, *mean_interval(values[best] - values[following])


def printed(rows: pd.DataFrame, *, label: str = "method", sep: str = " / ") -> pd.Series:
    """Published rows (`published(...)`, narrowed to one metric and side) as text by label: the data
    sets' numbers in the order of the paper's table, with ± where the paper has it."""
    spread = ["" if s in ("", None) else f" ± {s}" for s in rows["std"]]
    cells = rows.assign(cell=rows.value.astype(str) + spread)
    return cells.groupby(label, sort=False).cell.agg(sep.join)


def beside(table: pd.DataFrame, paper: str, number: str, *, digits: int = 2) -> pd.DataFrame:
    """A published table and below it ours, one line for each source, data set, model and method, a
    column for each metric that both have; `compare` as a table to read.

    table   rows of `score` or `evaluate`, methods and metrics named as in reference.csv
    """
    from . import compare

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
