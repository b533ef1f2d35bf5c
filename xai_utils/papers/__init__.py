"""The published numbers beside ours, and the papers' claims with a verdict, one function each."""

from importlib import import_module

from . import claims as _  # noqa: F401  the folder, imported first: `claims` below keeps its name
from .sources import PAPERS, claims, published, reference
from .statistics import (
    ENOUGH,
    FAILS,
    HOLDS,
    OPEN,
    UNTESTABLE,
    Verdict,
    by_rule,
    compared,
    comparisons,
    decide,
    exact,
    judge,
    row_of,
)
from .tables import compare

__all__ = [
    "ENOUGH",
    "FAILS",
    "HOLDS",
    "OPEN",
    "PAPERS",
    "UNTESTABLE",
    "Verdict",
    "by_rule",
    "claims",
    "compare",
    "compared",
    "comparisons",
    "decide",
    "exact",
    "function_of",
    "judge",
    "published",
    "reference",
    "verdict",
]


def function_of(claim: str):
    """The function that decides a claim, claims/<paper>.py: evidence in, verdict out. Raises
    ValueError for an unknown claim."""
    row = row_of(claim)
    module = import_module(f"{__name__}.claims.{row.paper.replace('-', '_')}")
    return getattr(module, claim.replace("-", "_"))


def verdict(claim: str, *evidence, **named) -> Verdict:
    """Decide a claim by its own function, `function_of(claim)`, from the evidence that its
    docstring asks for; for most this is one table of `score` or `evaluate`.

    Raises ValueError for an unknown claim, and for evidence that lacks what the claim compares.
    """
    return function_of(claim)(*evidence, **named)
