"""LAION-400M (Schuhmann et al. 2021): pictures of the web with their alternative texts.

laion/00000.tar, 00001.tar, ...      img2dataset's shards: 000000012.jpg, .txt and .json; the .json,
                                     .parquet and _stats.json beside them are not read

AdaIB's are the first 1,242, with about 31 million pairs. Of n samples, headers and captions of ten
shards are read, which the seed draws, and of more only where these ten hold too few.
"""

from pathlib import Path

from .distributed import Row, Source
from .shards_of_pairs import sampled


def find(folder: Path, split: str) -> list[Path]:
    return LAION.some_of(folder, "*.tar")


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    return sampled(find(folder, split), n, seed)


LAION = Source(
    "laion",
    "LAION-400M",
    ("train",),
    "LAION (laion.ai/blog/laion-400-open-dataset) as links and texts, of which img2dataset"
    " (github.com/rom1504/img2dataset) makes shards",
    "links and texts under CC BY 4.0, each picture under the rights of its owner",
    find,
    read,
)
