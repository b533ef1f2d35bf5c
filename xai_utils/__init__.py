"""Visual attribution, reproduced: five papers, their baselines, their metrics, on models that need
no hub.

import xai_utils as xu
model = xu.load_model("conse-lite0")
"""

from .cases import Cases, cases
from .data import Dataset, Sample, Thing, load_dataset
from .evaluate import evaluate, summarise
from .models import load_model, wrap
from .scoring import explain, score
from .types import Attribution, DualEncoder, ImageEncoder, Parts, Split, TextEncoder

__all__ = [
    "Attribution",
    "Cases",
    "Dataset",
    "DualEncoder",
    "ImageEncoder",
    "Parts",
    "Sample",
    "Split",
    "TextEncoder",
    "Thing",
    "cases",
    "evaluate",
    "explain",
    "load_dataset",
    "load_model",
    "score",
    "show",
    "summarise",
    "wrap",
]


def __getattr__(name: str):
    if name == "show":  # not before it is asked for: drawing takes a while to import
        from .display import show

        return show
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
