"""ImageNet (ILSVRC 2012): the validation pictures, each of one of 1,000 classes.

imagenet/val/n01440764/*.JPEG           one folder a class, which is named by its wnid, WordNet's
                                        id; or
imagenet/val/ILSVRC2012_val_00000001.JPEG, ...    as distributed, with labels from either
imagenet/ILSVRC2012_devkit_t12/data/    ILSVRC2012_validation_ground_truth.txt, whose k-th line has
                                        the devkit's id of picture k, and meta.mat, which has the
                                        wnid of each of those ids; or
imagenet/LOC_val_solution.csv           Kaggle's table of the pictures and their wnids

The pictures may also lie in ILSVRC/Data/CLS-LOC/val, as Kaggle has them, or in imagenet itself.
A label is the index of the class among the 1,000 wnids in order, as classifiers count them; the
devkit counts otherwise. The samples come in the order of their names, whatever the layout.
"""

import os
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import timm
from scipy.io import loadmat

from .articles import with_article
from .distributed import Row, Source, drawn, lines, unreadable

PICTURES = ("val", "ILSVRC/Data/CLS-LOC/val")
SUFFIXES = (".jpeg", ".jpg", ".png")
KAGGLE = ("LOC_val_solution.csv", "ILSVRC/LOC_val_solution.csv")
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
DEVKIT = (f"ILSVRC2012_devkit_t12/data/{TRUTH}", f"data/{TRUTH}", TRUTH)
NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})")
WNID = re.compile(r"n\d{8}")


@cache
def classes() -> dict[str, tuple[int, str]]:
    """wnid -> index and first name of its class."""
    info = timm.data.ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0] for i in range(1000)]
    return {wnid: (i, name) for i, (wnid, name) in enumerate(zip(info.label_names(), names))}


def find(folder: Path, split: str) -> dict[str, Path]:
    """The folder of the pictures, and what has the labels where it has no folders of classes."""
    inside = os.listdir(folder) if folder.is_dir() else []
    itself = any(WNID.fullmatch(name) or NUMBERED.match(name) for name in inside)
    pictures = folder if itself else IMAGENET.one_of(folder, *PICTURES)
    if any(map(WNID.fullmatch, folders(pictures))):
        return {"pictures": pictures}
    labels = IMAGENET.one_of(folder, *DEVKIT, *KAGGLE)
    if labels.name != TRUTH:
        return {"pictures": pictures, "solution": labels}
    meta = IMAGENET.one_of(labels.parent, "meta.mat")
    return {"pictures": pictures, "truth": labels, "meta": meta}


def folders(pictures: Path) -> list[str]:
    with os.scandir(pictures) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    files = files_of(found["pictures"], found["pictures"] == folder)
    if "solution" in found:
        wnids = solved(found["solution"])
    elif "truth" in found:
        wnids = numbered(found["truth"], found["meta"], files)
    else:
        wnids = {stem: file.split("/")[0] for stem, file in files.items()}
    stems = sorted(files)
    return [
        labelled(stems[i], found["pictures"], files[stems[i]], wnids.get(stems[i]))
        for i in drawn(len(stems), n, seed)
    ]


def files_of(pictures: Path, mixed: bool) -> dict[str, str]:
    """The pictures by the stems of their names; mixed: among other folders. Raises ValueError where
    a name comes twice or in no class's folder, and for a folder of no class."""
    own = [name for name in folders(pictures) if WNID.fullmatch(name) or not mixed]
    if unknown := [name for name in own if name not in classes()]:
        raise ValueError(f"{pictures} has the folder {unknown[0]}, the wnid of none of the classes")
    files: dict[str, str] = {}
    for name in ["", *own]:
        for file in os.listdir(pictures / name):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() not in SUFFIXES or file.startswith("."):
                continue
            if stem in files or own and not name:
                other = files.get(stem, "the folders of classes")
                raise ValueError(f"{pictures / name} has {file} beside {other}: which counts?")
            files[stem] = f"{name}/{file}" if name else file
    return files


def numbered(truth: Path, meta: Path, files: dict[str, str]) -> dict[str, str | None]:
    """Stem -> wnid by the devkit. Raises ValueError for fewer labels than pictures."""
    ids = [line.strip() for line in "\n".join(lines(truth)).strip().split("\n")]
    known = synsets(meta)
    numbers = {stem: int(match[1]) for stem in files if (match := NUMBERED.fullmatch(stem))}
    if (last := max(numbers.values(), default=0)) > len(ids):
        raise ValueError(f"{truth} has {len(ids)} labels, and there is a picture {last}: damaged?")
    return {
        stem: known.get(int(ids[k - 1])) if k and ids[k - 1].isdecimal() else None
        for stem, k in numbers.items()
    }


def synsets(meta: Path) -> dict[int, str]:
    """The devkit's id -> wnid."""
    try:
        table = np.atleast_1d(loadmat(meta, squeeze_me=True)["synsets"])
        found = {int(id): str(wnid) for id, wnid in zip(table["ILSVRC2012_ID"], table["WNID"])}
    except Exception as error:  # SciPy's many
        raise ValueError(f"{meta} is damaged or has no synsets: {error}") from error
    if not len(found) == len(set(found.values())) == len(table):
        raise ValueError(f"{meta} is damaged: it has an id or a wnid twice")
    return found


def solved(path: Path) -> dict[str, str | None]:
    """Stem -> wnid by Kaggle's table: a wnid and a box, a wnid and a box, ... of one picture, all
    of one class. Raises ValueError for a damaged table and a picture that comes twice."""
    head, *rows = (line.strip() for line in lines(path))
    if head != "ImageId,PredictionString":
        raise ValueError(f"{path} is damaged: its first line is {head!r:.60}")
    found: dict[str, str | None] = {}
    for row in filter(None, rows):
        stem, _, boxes = row.partition(",")
        if stem in found:
            raise ValueError(f"{path} is damaged: it has {stem} twice")
        wnids = {*boxes.split()[::5]}
        found[stem] = wnids.pop() if len(wnids) == 1 else None
    return found


def labelled(stem: str, folder: Path, file: str, wnid: str | None) -> Row:
    if wnid not in classes():
        said = f"it has no class: {wnid} is no wnid of one" if wnid else "it has no label"
        return Row(stem, folder, partial(unreadable, said), ("?",))
    label, name = classes()[wnid]
    return Row(stem, folder, file, (f"a photo of {with_article(name)}",), label=label)


IMAGENET = Source(
    "imagenet",
    "ImageNet",
    ("val",),
    "image-net.org after registration, as ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz,"
    " and by kaggle.com/c/imagenet-object-localization-challenge",
    "for research and education that are not commercial",
    find,
    read,
)
