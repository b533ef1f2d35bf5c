"""The published numbers beside ours, and the papers' claims with a verdict, one function each."""

from importlib import import_module
from inspect import Signature, signature

from ..studies import EvidenceMissing
from . import claims as _  # noqa: F401  the folder, imported first: `claims` below keeps its name
from .evidence import from_evidence
from .sources import PAPERS, claims, published, reference
from .statistics import (
    ENOUGH,
    EQUAL,
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
    untestable,
)
from .tables import compare

__all__ = [
    "ENOUGH",
    "EQUAL",
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
    "judged",
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
    docstring asks for; for most this is one table of `score` or `evaluate`. Without evidence, the
    reason why a claim cannot be tested here.

    Raises ValueError for an unknown claim, for missing evidence, and for evidence that lacks what
    the claim compares.
    """
    function = function_of(claim)
    if not evidence and not named and row_of(claim).embedded.startswith("no: "):
        return untestable(claim)
    wanted = signature(function).replace(return_annotation=Signature.empty)
    try:
        wanted.bind(*evidence, **named)
    except TypeError as error:
        raise ValueError(f"{claim} is decided from {wanted}: {error}") from None
    return function(*evidence, **named)


def judged(profile: str = "embedded", only=None) -> dict[str, Verdict]:
    """Claim -> its verdict, of all claims that the profile has evidence for; `only` these."""
    found = {}
    for claim in claims().index if only is None else only:
        function = function_of(claim)
        if hasattr(function, "reads"):
            try:
                found[claim] = from_evidence(function, profile)
            except EvidenceMissing:
                continue
    return found
