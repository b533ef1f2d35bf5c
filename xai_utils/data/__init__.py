"""`load_dataset`: photos, stamps and scenes, made from what package registries carry."""

from . import photos, scenes, stamps
from .debian import DataMissing
from .pairs import mismatched, thirds
from .planted import plant
from .recognised import confident, recognised
from .samples import Dataset, Sample, Thing
from .stamps import SPLITS

DATASETS = {
    "photos": photos.photos,
    "stamps": stamps.stamps,
    "scenes": scenes.scenes,
    "copies": scenes.copies,
}

__all__ = [
    "DATASETS",
    "DataMissing",
    "Dataset",
    "Sample",
    "Thing",
    "confident",
    "load_dataset",
    "mismatched",
    "plant",
    "recognised",
    "thirds",
]


def load_dataset(
    name: str, *, split: str = "test", seed: int = 0, n: int | None = None, **options
) -> Dataset:
    """Samples by name.

    name   "photos" (9, test only), "stamps" (single things on grey), "scenes" (1 to 4 of them on a
           texture), "copies" (one of them two or three times)
    split  "train" and "test": the same stamps in different compositions; "novel": a fixed fifth of
           the stamps, which no training of the kit uses
    seed   scenes and the places of stamps follow from it
    n      how many; None: all photos or stamps, 100 scenes or copies
    scenes and copies also take `objects` (how many in each, None: mixed) and `stamps` (ids to draw
    from)
    Raises DataMissing where stamps cannot be had; photos always work.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
    if n is not None and (not isinstance(n, int) or n < 1):
        raise ValueError(f"n must be an integer of at least 1, got {n!r}")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    if options and name not in ("scenes", "copies"):
        raise ValueError(f"{name} takes no {', '.join(options)}")
    return DATASETS[name](split, seed, n, **options)
