"""RefCOCOg in the UMD split (Nagaraja, Morariu and Davis 2016): sentences that tell one object of a
COCO picture from the others.

refcocog/refs(umd).p                the references, a pickle of lists, dicts, strings and numbers
refcocog/instances.json             outlines and boxes, as COCO has them
refcocog/images/train2014/*.jpg     COCO's pictures of 2014; or train2014, or coco/train2014
refcocog/data/val-00000-of-00003.parquet, ...    or, in place of all that, the shards of the hub's
                                    lmms-lab/RefCOCOg for "val" and "test"

A sample is one reference: its captions are the sentences, its one thing is the object. The hub has
7,573 validation rows where the split has 2,573 references, so an id may come again, as "id~2". A
row holds one outline, and an object may have several: where the outline does not reach as far as
the box, the box alone counts.
"""

import io
import pickle
import re
from array import array
from collections import Counter
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from .coco import check_number, corners, place_of, size_of
from .distributed import Row, Source, drawn, stored, unturned
from .records import by_id, parsed, spans

PLACES = ("", "annotations/")
PICTURES = ("images/train2014", "train2014", "../coco/train2014", "images")
COLUMNS = ["question_id", "answer", "segmentation", "bbox", "iscrowd", "file_name"]
SHARD = re.compile(r".*-(\d{5})-of-(\d{5})\.parquet")


def find(folder: Path, split: str) -> dict[str, Path] | list[Path]:
    """The files of the pickle's layout, or the shards of the hub's."""
    refs = [f"{place}refs(umd).p" for place in PLACES]
    if split != "train" and not any((folder / name).exists() for name in refs):
        refs.append(f"data/{split}-*.parquet")
        if shards := sorted((folder / "data").glob(f"{split}-*.parquet")):
            return complete(shards, split)
    return {
        "refs": REFCOCOG.one_of(folder, *refs, split=split),
        "instances": REFCOCOG.one_of(folder, *(f"{place}instances.json" for place in PLACES)),
        "pictures": REFCOCOG.one_of(folder, *PICTURES),
    }


def complete(shards: list[Path], split: str) -> list[Path]:
    """All of the shards that their names tell of. Raises DataMissing for one that is not there."""
    matches = [SHARD.fullmatch(path.name) for path in shards]
    total = max((int(match[2]) for match in matches if match), default=0)
    names = {path.name for path in shards}
    for k in range(total):
        name = f"{split}-{k:05}-of-{total:05}.parquet"
        if name not in names:
            raise REFCOCOG.missing(f"looked in {shards[0].parent} for {name}")
    return shards


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    if isinstance(found, list):
        return read_shards(found, n, seed)
    refs = by_id({"refs": plain(found["refs"])}, "refs", found["refs"], "ref_id")
    own = [ref for ref in refs.values() if ref.get("split") == split]
    rest, places = spans(found["instances"], "annotations", "id")
    images = by_id(rest, "images", found["instances"])
    if twice := next((id for id, place in places.items() if len(place) > 2), None):
        raise ValueError(f"{found['instances']} is damaged: it has the annotation {twice} twice")
    return [
        referred(own[i], found["pictures"], images, found["instances"], places)
        for i in drawn(len(own), n, seed)
    ]


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and numbers. What a pickle could run it would have to name."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(
            f"it names {module}.{name}, and only lists, dicts, strings and numbers are read"
        )


def plain(path: Path):
    """A pickle of plain values, Python 2's too. Raises ValueError for any other; runs nothing."""
    try:
        with path.open("rb") as file:
            return PlainUnpickler(file, encoding="utf-8", errors="surrogateescape").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{path} is damaged or no pickle of plain values: {error}") from error


def referred(ref: dict, pictures: Path, images: dict, instances: Path, places: dict) -> Row:
    picture, annotation = (
        table.get(ref.get(key)) if type(ref.get(key)) is int else None
        for table, key in ((images, "image_id"), (places, "ann_id"))
    )
    return Row(
        id=str(ref["ref_id"]),
        folder=pictures,
        picture=partial(opened, pictures, picture),
        captions=texts(ref.get("sentences")),
        things=partial(thing_of, instances, annotation, ref, picture),
        source=str(ref.get("image_id")),
    )


def texts(sentences) -> tuple[str, ...]:
    """Those that have words; what is no string stays as an empty one, which is an error later."""
    sentences = sentences if isinstance(sentences, list) else []
    words = [s.get("sent") if isinstance(s, dict) else s for s in sentences]
    stripped = [s.strip() if isinstance(s, str) else None for s in words]
    return tuple(s or "" for s in stripped if s != "")


def opened(folder: Path, picture: dict | None):
    if picture is None:
        raise ValueError("its picture is not among the images of instances.json")
    check_number(picture)
    return stored(folder, picture.get("file_name"), size_of(picture))


def thing_of(path: Path, place: array | None, ref: dict, picture: dict) -> list[dict]:
    """The keywords of the one `Thing`, whose caption is the sample's."""
    if place is None:
        raise ValueError(f"its annotation {ref.get('ann_id')} is not in {path}")
    (annotation,) = parsed(path, place)
    for key, value in (
        ("id", ref["ann_id"]),
        ("image_id", ref["image_id"]),
        ("category_id", ref.get("category_id")),
    ):
        if annotation.get(key) != value:
            raise ValueError(f"its annotation has another {key}, {annotation.get(key)}: {path}")
    return [place_of([annotation], size_of(picture))]


def read_shards(paths: list[Path], n: int | None, seed: int) -> list[Row]:
    """Rows of the hub's files. Pictures stay in them."""
    tables, where = [], []
    for path in paths:
        try:
            with parquet.ParquetFile(path) as file:
                file.schema_arrow.field("image")
                tables.append(file.read(columns=COLUMNS).select(COLUMNS))
                groups = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        except (pa.ArrowException, KeyError, OSError) as error:
            raise ValueError(f"{path} is damaged or lacks a column: {error}") from error
        where += [(path, g, k) for g, rows in enumerate(groups) for k in range(rows)]
    table = pa.concat_tables(tables)
    names = unique([str(name) for name in table["question_id"].to_pylist()])
    picks = drawn(len(where), n, seed)
    rows = table.take(picks).to_pylist()
    return [sharded(names[i], *where[i], row) for i, row in zip(picks, rows)]


def unique(names: list[str]) -> list[str]:
    """Each name once: "a", "b", "a~2"."""
    times, found = Counter(), []
    for name in names:
        times[name] += 1
        found.append(name if times[name] == 1 else f"{name}~{times[name]}")
    return found


def sharded(name: str, path: Path, group: int, index: int, row: dict) -> Row:
    file = str(row["file_name"])
    return Row(
        id=name,
        folder=path,
        picture=partial(embedded, path, group, index),
        captions=texts(row["answer"]),
        things=partial(outlined, row["bbox"], row["segmentation"], row["iscrowd"]),
        source=re.sub(r"(?<=\d{12})_\d+(?=\.\w+$)", "", file),  # the object's number
    )


def embedded(path: Path, group: int, index: int):
    picture = pictures_of(path, path.stat().st_mtime_ns, group)[index].as_py()
    if not picture or not picture["bytes"]:
        raise ValueError("it has no picture")
    return unturned(io.BytesIO(picture["bytes"]), "its picture")


@lru_cache(maxsize=1)
def pictures_of(path: Path, changed: int, group: int) -> pa.ChunkedArray:
    """The pictures' bytes of one row group; the last one asked for is kept."""
    try:
        with parquet.ParquetFile(path) as file:
            return file.read_row_group(group, columns=["image.bytes"]).column("image")
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def outlined(box: list, outline: list | None, crowd: int) -> list[dict]:
    """The keywords of the one `Thing`. Single precision has blurred the numbers' two decimals."""
    box = corners([round(v, 3) for v in box or []], "bbox")
    outline = [round(v, 3) for v in outline or []]
    thing = dict(boxes=[box] if box else [])
    if outline and not crowd and reaches(outline, box):
        thing["polygons"] = [outline]
    return [thing]


def reaches(outline: list[float], box: tuple | None) -> bool:
    """Whether the outline reaches as far as the box, to a pixel."""
    x, y = outline[0::2], outline[1::2]
    extent = (min(x), min(y), max(x), max(y)) if len(outline) > 1 else ()
    return box is None or all(abs(a - b) <= 1 for a, b in zip(extent, box))


REFCOCOG = Source(
    "refcocog",
    "RefCOCOg",
    ("val", "test", "train"),
    "github.com/lichengunc/refer, as refcocog.zip, with train2014.zip of cocodataset.org, or by"
    " huggingface.co/datasets/lmms-lab/RefCOCOg",
    "annotations Apache 2.0 and CC BY 4.0; pictures of Flickr users, each under its own licence",
    find,
    read,
)
