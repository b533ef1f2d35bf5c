"""RSICD (Lu, Wang, Zheng and Li 2018): satellite and aerial pictures with five captions each.

rsicd/RSICD_images/*.jpg
rsicd/dataset_rsicd.json     captions and splits (its archive calls the folder annotations_rsicd)
"""

from pathlib import Path

from .distributed import Row, Source, drawn, numbered
from .karpathy import described


def find(folder: Path, split: str) -> tuple[Path, Path]:
    pictures = RSICD.one_of(folder, "RSICD_images")
    file = "dataset_rsicd.json"
    return pictures, RSICD.one_of(folder, file, f"annotations_rsicd/{file}")


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    pictures, file = find(folder, split)
    own = [(name, captions) for of, name, captions in described(file) if of == split]
    return [
        Row(name, pictures, name, **numbered(captions))
        for name, captions in (own[i] for i in drawn(len(own), n, seed))
    ]


RSICD = Source(
    "rsicd",
    "RSICD",
    ("test", "train", "val"),
    "its authors (github.com/201528014227051/RSICD_optimal), as RSICD_images.zip and"
    " dataset_rsicd.json",
    "pictures of Google Earth, Baidu Map, MapABC and Tianditu, for research only",
    find,
    read,
)
