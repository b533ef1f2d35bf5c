"""Conceptual Captions, the three million (Sharma, Ding, Goodman and Soricut 2018): pictures of the
web with their cleaned alternative texts. Of one split, the first of these that is there counts:

cc3m/train/*.tar                     shards of img2dataset or webdataset; or cc3m/*train*.tar; or
                                     cc3m/*.tar without "val" in their names. Of "validation":
                                     cc3m/validation/*.tar, cc3m/*val*.tar
cc3m/Train_GCC-training_output.csv   open_clip's table: a header with "filepath" and "title", parted
                                     by a tab; paths below cc3m/cc_data/ or cc3m/. Or train.csv
cc3m/Train_GCC-training.tsv          Google's table: caption, a tab, link, no header; the picture is
                                     cc3m/training/<CRC-32 of its link>, as the set's usual
                                     downloader, DownloadConceptualCaptions, names it

Names by row number are not read: they all shift, each to a wrong caption, with one line more at the
top of the table. M2IB, NIB and AdaIB draw 2,000 "random pairs" of 3.3 million, hence of "train";
of shards, they are drawn as for laion.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from .distributed import Row, Source, drawn, lines, unreadable
from .shards_of_pairs import sampled

SHARDS = {
    "train": ("train/*.tar", "training/*.tar", "*train*.tar", "*.tar"),
    "validation": ("validation/*.tar", "val/*.tar", "*val*.tar"),
}
GOOGLE = {
    "train": ("Train_GCC-training", "Train-GCC-training"),
    "validation": ("Validation_GCC-1.1.0-Validation",),
}
OPEN_CLIP = {"train": ("train.csv",), "validation": ("validation.csv", "val.csv")}
FOLDERS = {"train": "training", "validation": "validation"}  # of DownloadConceptualCaptions
OTHER = {"train": "val", "validation": "train"}  # never in the name of a split's shard


def find(folder: Path, split: str) -> list[Path]:
    """The shards of a split, or its one table."""
    tables = [f"{name}_output.csv" for name in GOOGLE[split]]
    tables += [*OPEN_CLIP[split], *(f"{name}.tsv" for name in GOOGLE[split])]
    found = CC3M.some_of(folder, *SHARDS[split], *tables, split=split, without=OTHER[split])
    if found[0].suffix == ".tsv":
        CC3M.one_of(folder, FOLDERS[split], split=split)
    return found


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    if found[0].suffix == ".tar":
        return sampled(found, n, seed)
    table = [line.rstrip("\r").split("\t") for line in lines(found[0]) if line.strip()]
    if found[0].suffix == ".csv":
        header, *told = table or [[]]
        if not {"filepath", "title"} <= set(header):
            raise ValueError(f'{found[0]} has no columns "filepath" and "title" parted by tabs')
        make = partial(of_open_clip, folder, header)
    else:
        told = table[1:] if table[:1] == [["caption", "url"]] else table
        make = partial(of_google, folder, FOLDERS[split], shared_names(told))
    return [make(i, told[i]) for i in drawn(len(told), n, seed)]


def of_open_clip(folder: Path, header: list[str], i: int, fields: list[str]) -> Row:
    if len(fields) != len(header):
        return damaged(folder, i, f"it has {len(fields)} columns, the header {len(header)}")
    path, title = (unquoted(fields[header.index(name)]) for name in ("filepath", "title"))
    return Row(f"row {i}", folder, (f"cc_data/{path}", path), (title.strip(),), source=path)


def of_google(folder: Path, home: str, shared: set[int], i: int, fields: list[str]) -> Row:
    if len(fields) != 2:
        return damaged(folder, i, f"it has {len(fields)} columns, not a caption and a link")
    caption, link = fields
    if (name := named(link)) in shared:
        return damaged(folder, i, f"another link has the same CRC-32, {name}")
    path = f"{home}/{name}"
    return Row(f"row {i}", folder, path, (caption.strip(),), source=path)


def damaged(folder: Path, i: int, why: str) -> Row:
    return Row(f"row {i}", folder, partial(unreadable, why), ())


def unquoted(field: str) -> str:
    """A field as csv has it in quotation marks, without them."""
    inner = field[1:-1]
    whole = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else field


def named(link: str) -> int:
    return crc32(link.strip().encode("utf-8", "surrogateescape"))


def shared_names(told: Sequence[list[str]]) -> set[int]:
    """The names of pictures for which two different links contend. Of three million links about
    2,500 share their CRC-32 with another one, whose picture may be the one that was kept."""
    links = [fields[-1] for fields in told]
    names = np.fromiter(map(named, links), np.uint32, len(links))
    values, counts = np.unique(names, return_counts=True)
    doubled, owner, shared = set(values[counts > 1].tolist()), {}, set()
    for name, link in zip(names.tolist(), links):
        if name in doubled and owner.setdefault(name, link) != link:
            shared.add(name)
    return shared


CC3M = Source(
    "cc3m",
    "Conceptual Captions 3M",
    ("train", "validation"),
    "Google (ai.google.com/research/ConceptualCaptions/download) as captions and links, of which"
    " img2dataset (github.com/rom1504/img2dataset) makes shards",
    "captions and links free for any purpose, Google to be named; each picture under the rights of"
    " its owner",
    find,
    read,
)
