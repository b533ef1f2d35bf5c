"""`load_dataset`: photos, stamps and scenes, made from what package registries carry, and the data
sets of the papers, read from XAI_DATA."""

from ..checks import check_choice, check_counts, check_seed
from . import grounds, photos, scenes, stamps
from .cc3m import CC3M
from .coco import COCO
from .debian import DataMissing
from .distributed import load
from .flickr8k import FLICKR8K
from .flickr30k import FLICKR30K
from .imagenet import IMAGENET
from .kinds import alike_and_apart, kind_of, of_kinds, seen
from .laion import LAION
from .ms_cxr import MS_CXR
from .pairs import graded_thirds, mismatched, thirds
from .planted import plant
from .recognised import confident, recognised
from .refcocog import REFCOCOG
from .roco import ROCO
from .rsicd import RSICD
from .samples import Dataset, Sample, SampleError, Thing, readable
from .showing import largest, showing
from .stamps import SPLITS

EMBEDDED = {
    "photos": photos.photos,
    "stamps": stamps.stamps,
    "scenes": scenes.scenes,
    "copies": scenes.copies,
}
SOURCES = {
    source.name: source
    for source in (
        *(FLICKR8K, FLICKR30K, COCO, REFCOCOG, IMAGENET),
        *(CC3M, LAION, MS_CXR, ROCO, RSICD),
    )
}
DATASETS = (*EMBEDDED, *SOURCES)

__all__ = [
    "DATASETS",
    "DataMissing",
    "Dataset",
    "Sample",
    "SampleError",
    "Thing",
    "alike_and_apart",
    "confident",
    "graded_thirds",
    "kind_of",
    "lacks",
    "largest",
    "load_dataset",
    "mismatched",
    "of_kinds",
    "plant",
    "readable",
    "recognised",
    "seen",
    "showing",
    "thirds",
]


def load_dataset(
    name: str,
    *,
    split: str | None = None,
    seed: int = 0,
    n: int | None = None,
    root=None,
    **options,
) -> Dataset:
    """Samples by name.

    name   the kit's own: "photos" (9, and 24 more of Debian's package opencv-doc where it can be
           had; test only), "stamps" (single things on grey), "scenes" (1 to 4 of them on a
           photograph), "copies" (one of them two or three times); or a data set of the papers:
           "flickr8k", ... (`DATASETS` has all, docs/papers.md what each must look like).
           "flickr8k/train" is short for its split "train"
    split  None: the set's first. Of the kit's own "test" and "train": the same stamps in different
           compositions; "novel": a fixed fifth of the stamps, which no training of the kit uses.
           Of others, as they are distributed
    seed   scenes and the places of stamps follow from it; of the papers' sets, which n are drawn
    n      how many at most; None: all (100 scenes or copies). Of a paper's set, fewer are the
           beginning of more
    root   the folder that holds the set's folder, or that folder itself; None: `XAI_DATA`
    scenes and copies also take `objects` (how many in each, None: mixed) and `stamps` (ids to draw
    from); the papers' sets take `captions`: "first", "seeded" or "all" of those of a picture.
    Raises ValueError or TypeError for an argument that is none of these; DataMissing where stamps,
    grounds or the files of a set cannot be had, with what was looked for, where it is distributed
    and its terms. A picture is opened when its sample is asked for; one that cannot be read raises
    SampleError then.
    """
    name, split = name_and_split(name, split)
    check_seed(seed)
    if n is not None:
        check_counts(n=n)
    n, seed = n if n is None else int(n), int(seed)
    if name in SOURCES:
        check_options(name, options, ("captions",))
        return load(SOURCES[name], split, n, seed, root, **options)
    check_choice("split", "test" if split is None else split, SPLITS)
    check_options(name, options, ("objects", "stamps") if name in ("scenes", "copies") else ())
    if root is not None:
        raise ValueError(f"{name} takes no root: it is the kit's own")
    return EMBEDDED[name](split or "test", seed, n, **options)


def name_and_split(name: str, split: str | None) -> tuple[str, str | None]:
    """("flickr8k", "train") of "flickr8k/train"; the split is None where none is named."""
    if not isinstance(name, str) or "/" not in name:
        check_choice("name", name, DATASETS)
        return name, split
    name, _, named = name.partition("/")
    check_choice("name", name, DATASETS)
    if split not in (None, named):
        raise ValueError(f"split is {split!r}, and the name says {named!r}: give one of them")
    return name, named


def check_options(name: str, options: dict, known: tuple[str, ...]) -> None:
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"{name} takes no {', '.join(unknown)}")


def lacks(name: str, root=None) -> str:
    """What `load_dataset(name, root=root)` misses, in one sentence with where it is distributed and
    under which terms; "" where its files are there. Nothing is read."""
    name, split = name_and_split(name, None)
    try:
        if name in SOURCES:
            source = SOURCES[name]
            source.find(source.folder(root), source.split(split))
        elif name != "photos":
            stamps.table()
            if name != "stamps":
                grounds.parts()
    except DataMissing as error:
        return str(error)
    return ""
