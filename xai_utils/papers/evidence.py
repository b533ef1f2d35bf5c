"""From evidence to verdicts: which study a claim reads, and what it takes of its rows."""

from collections.abc import Callable

import pandas as pd

from .. import studies
from .statistics import Verdict


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


def from_evidence(function: Callable, profile: str) -> Verdict:
    """A claim's verdict from the evidence of a profile. Raises EvidenceMissing where a study has
    none or not yet all, and ValueError for a claim that reads no study."""
    names, given = getattr(function, "reads", ((), None))
    if not names:
        raise ValueError(f"{function.__name__} reads no study")
    tables: list[pd.DataFrame] = [whole(name, profile) for name in names]
    return function(*tables) if given is None else function(**given(*tables))


def whole(name: str, profile: str) -> pd.DataFrame:
    """The rows of a study, none of whose parts is missing."""
    evidence = studies.load(name, profile)
    names = [part.name for part in evidence.study.parts(profile)]
    if missing := [part for part in names if part not in evidence.made]:
        raise studies.EvidenceMissing(f"{name} lacks {', '.join(missing)} for profile {profile}")
    return evidence.rows
