"""Flickr30k (Young, Lai, Hodosh and Hockenmaier 2014): photographs with five captions each.

flickr30k/flickr30k-images/*.jpg         the pictures (a later archive calls the folder
                                         flickr30k_images, and holds another of that name)
flickr30k/results_20130124.token         picture#k, a tab, caption k; or
flickr30k/results.csv                    picture| k| caption, beside the pictures or above them
flickr30k/dataset_flickr30k.json         Karpathy's splits; it also holds captions, which count
                                         where neither of the files above is there; or
flickr30k/test.txt, train.txt, val.txt   those of Flickr30k Entities, one picture a line, without
                                         .jpg
"""

import re
from pathlib import Path

from .distributed import Row, Source, drawn, lines, numbered
from .flickr8k import captions_of
from .karpathy import described

PICTURES = "flickr30k-images", "flickr30k_images/flickr30k_images", "flickr30k_images"
CAPTIONS = "results_20130124.token", "results.csv", "flickr30k_images/results.csv"
KARPATHY = "dataset_flickr30k.json"
LINE = re.compile(r"([^|]+)\|\s*(\d+)(?:\s*\||\s)\s*(.*)")  # of one line the second "|" is missing


def find(folder: Path, split: str) -> dict[str, Path]:
    found = {
        "pictures": FLICKR30K.one_of(folder, *PICTURES),
        "captions": FLICKR30K.one_of(folder, *CAPTIONS, KARPATHY),
    }
    if split != "all":
        ids = f"{split}.txt"
        files = KARPATHY, ids, f"flickr30k_entities/{ids}"
        found["list"] = FLICKR30K.one_of(folder, *files, split=split)
    return found


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    captions = captions_in(found["captions"])
    names = list(captions) if split == "all" else names_in(found["list"], split)
    return [
        Row(name, found["pictures"], name, **numbered(captions.get(name, {})))
        for name in (names[i] for i in drawn(len(names), n, seed))
    ]


def captions_in(path: Path) -> dict[str, dict[int, str]]:
    """Picture -> number -> caption, of any of the three files."""
    if path.suffix == ".json":
        return {name: captions for _, name, captions in described(path)}
    if path.suffix == ".token":
        return captions_of(path)
    captions: dict[str, dict[int, str]] = {}
    for line in lines(path):
        if parts := LINE.fullmatch(line.rstrip("\r")):
            name, number, text = parts.groups()
            captions.setdefault(name.strip(), {})[int(number)] = text
    return captions


def names_in(path: Path, split: str) -> list[str]:
    if path.suffix == ".json":
        return [name for of, name, _ in described(path) if of == split]
    ids = [line.strip() for line in lines(path) if line.strip()]
    return [id if id.endswith(".jpg") else f"{id}.jpg" for id in ids]


FLICKR30K = Source(
    "flickr30k",
    "Flickr30k",
    ("test", "train", "val", "all"),
    "the University of Illinois on request (shannon.cs.illinois.edu/DenotationGraph), and its"
    " splits by Karpathy (cs.stanford.edu/people/karpathy/deepimagesent) or with Flickr30k Entities"
    " (github.com/BryanPlummer/flickr30k_entities)",
    "pictures of Flickr users, for non-commercial research and education only",
    find,
    read,
)
