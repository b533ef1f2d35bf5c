"""ROCO (Pelka, Koitka, Rückert, Nensa and Friedrich 2018): radiology figures of open-access
articles with their captions. Its figures that are none of radiology are left out.

roco/data/test/radiology/captions.txt    id, a tab, caption; the same for train and validation
roco/data/test/radiology/images/         ROCO_00001.jpg, or as the set's own scripts/fetch.py names
                                         it, PMC4608653_cro-0008-0385-g01.jpg; then there must be
roco/data/test/radiology/dlinks.txt      id, a tab, a command with the article's archive, a tab, its
                                         picture

A copy that goes round calls the folder all_data.
"""

import re
from functools import partial
from pathlib import Path

from .distributed import Row, Source, drawn, lines, unreadable

ARTICLE = re.compile(r"/([^/\s]+)\.tar\.gz")


def find(folder: Path, split: str) -> dict[str, Path]:
    homes = [f"{above}{split}/radiology" for above in ("data/", "all_data/", "")]
    captions = ROCO.one_of(folder, *(f"{home}/captions.txt" for home in homes), split=split)
    home = captions.parent.relative_to(folder)
    return {"captions": captions, "pictures": ROCO.one_of(folder, f"{home}/images", split=split)}


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    fetched = names_of(found["captions"].with_name("dlinks.txt"))
    told = [line.strip().split("\t", 1) for line in lines(found["captions"]) if line.strip()]
    return [row(found["pictures"], told[i], fetched) for i in drawn(len(told), n, seed)]


def row(pictures: Path, told: list[str], fetched: dict[str, str]) -> Row:
    id, *caption = (part.strip() for part in told)
    if not caption:
        return Row(id, pictures, partial(unreadable, "its line has no caption behind a tab"), ())
    names = (f"{id}.jpg", fetched[id]) if id in fetched else f"{id}.jpg"
    return Row(id, pictures, names, tuple(caption))


def names_of(path: Path) -> dict[str, str]:
    """Id -> the picture's name as scripts/fetch.py writes it."""
    names = {}
    for line in lines(path) if path.is_file() else ():
        id, _, rest = line.strip().partition("\t")
        command, _, picture = rest.rpartition("\t")
        if (article := ARTICLE.search(command)) and picture:
            names[id] = f"{article[1]}_{picture}"
    return names


ROCO = Source(
    "roco",
    "ROCO",
    ("test", "train", "validation"),
    "its authors (github.com/razorx89/roco-dataset), whose scripts/fetch.py fetches the pictures"
    " from PubMed Central",
    "each picture under the licence of its article, named in licences.txt",
    find,
    read,
)
