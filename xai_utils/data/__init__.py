"""`load_dataset`: photos, stamps and scenes, made from what package registries carry."""

from ..checks import check_choice, check_counts, check_seed
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
    n      how many at most; None: all photos or stamps, 100 scenes or copies
    scenes and copies also take `objects` (how many in each, None: mixed) and `stamps` (ids to draw
    from)
    Raises ValueError or TypeError for an argument that is none of these, DataMissing where stamps
    cannot be had; photos always work.
    """
    check_choice("name", name, DATASETS)
    check_choice("split", split, SPLITS)
    check_seed(seed)
    if n is not None:
        check_counts(n=n)
    known = ("objects", "stamps") if name in ("scenes", "copies") else ()
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"{name} takes no {', '.join(unknown)}")
    return DATASETS[name](split, int(seed), n if n is None else int(n), **options)
