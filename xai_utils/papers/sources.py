"""What the five papers print and claim: reference.csv and claims.csv."""

from functools import cache
from pathlib import Path

import pandas as pd

PAPERS = ("p-ibisa", "m2ib", "nib", "adaib", "aha")


@cache
def reference() -> pd.DataFrame:
    """Every number the five papers print, one row each: paper, table, dataset, model, method,
    setting, metric, value, ..."""
    return read("reference.csv")


@cache
def claims() -> pd.DataFrame:
    """Every checkable claim of the five papers, by id: where it stands, its test, its decision in
    words; `author` says where a claim is a reviewer's or this kit's question. What decides is in
    claims/<paper>.py, one function a claim."""
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
