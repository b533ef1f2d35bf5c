"""From evidence to verdicts: which study a claim reads, and what it takes of its rows."""

from collections.abc import Callable

import pandas as pd

from .. import studies
from ..studies import EvidenceMissing
from .statistics import Verdict, or_equal


def reads(*names: str, given: Callable | None = None):
    """Mark a claim's function with the studies that it is decided from.

    names  of studies; their rows are the function's arguments, one table each
    given  (table, ...) -> dict of the function's arguments, where it takes others
    """

    def marked(function: Callable) -> Callable:
        function.reads = names, given
        return function

    return marked


def parts(*names: str) -> Callable:
    """For `reads`: only these parts of the study, as the function's `table`."""
    return lambda rows: dict(table=rows[rows.part.isin(names)])


def whole(name: str, profile: str) -> pd.DataFrame:
    """The rows of a study of which no part is missing."""
    evidence = studies.load(name, profile)
    if missing := evidence.missing():
        raise EvidenceMissing(f"the evidence of {name} lacks {', '.join(missing)}")
    return evidence.rows


def from_evidence(function: Callable, profile: str) -> Verdict:
    """A claim's verdict from the evidence of a profile. Raises EvidenceMissing where a study has
    none or lacks a part, and ValueError for a claim that reads no study."""
    names, given = getattr(function, "reads", ((), None))
    if not names:
        raise ValueError(f"{function.__name__} reads no study")
    tables: list[pd.DataFrame] = [whole(name, profile) for name in names]
    return or_equal(function(*tables) if given is None else function(**given(*tables)))
