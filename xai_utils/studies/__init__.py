"""What is compared, declared as data, one file a paper, and the evidence computed of it."""

from ..checks import check_choice
from . import adaib, aha, head_to_head, m2ib, nib, p_ibisa
from .base import PROFILES, Judged, Measured, Study
from .evidence import Evidence, EvidenceMissing, agree, compute
from .evidence import load as load_of

MODULES = p_ibisa, m2ib, nib, adaib, aha, head_to_head
STUDIES = {study.name: study for module in MODULES for study in module.STUDIES}

__all__ = [
    "PROFILES",
    "STUDIES",
    "Evidence",
    "EvidenceMissing",
    "Judged",
    "Measured",
    "Study",
    "agree",
    "compute",
    "load",
]


def load(name: str, profile: str = "embedded") -> Evidence:
    """The evidence of a study, by its name. Raises ValueError for an unknown study and
    EvidenceMissing where it has not been computed for the profile."""
    check_choice("name", name, tuple(STUDIES))
    return load_of(STUDIES[name], profile)
