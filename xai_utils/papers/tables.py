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


def wide(table: pd.DataFrame, index: list[str], *, digits: int = 2) -> pd.DataFrame:
    """Rows of `score` or `evaluate` as a table to read: a column for each metric, mean and interval
    as text, and n.

    index  columns that name a line, such as ["dataset", "method"]; lines keep the table's order
    """
    lines, metrics = [], list(dict.fromkeys(table.metric))
    for key, part in table.groupby(index, sort=False):
        values = {m: part[part.metric == m].value.dropna() for m in metrics}
        cells = {m: interval_text(v, digits) if len(v) else "" for m, v in values.items()}
        lines.append(dict(zip(index, key)) | {"n": max(map(len, values.values()))} | cells)
    return pd.DataFrame(lines)


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
