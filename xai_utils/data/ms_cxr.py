"""MS-CXR (Boecking et al. 2022): phrases of radiology reports, each with the places in a chest
X-ray that radiologists marked for it.

ms-cxr/MS_CXR_Local_Alignment_v1.1.0.csv   one line a box; or the same as .json, in COCO's layout;
                                           v1.0.0 has the phrases without splits
ms-cxr/files/p10/p10000032/s.../....jpg    the pictures, as MIMIC-CXR-JPG has them; or all of them
                                           in one folder, files/, images/ or ms-cxr/ itself, as
                                           <dicom_id>.jpg or .png

A sample is a phrase in a picture: the phrase is its caption, and the one thing in it has a box for
each place. The pictures must have their own size, because the boxes are in their pixels.
"""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from ..images import rgb
from .distributed import Row, Source, drawn, first_there
from .records import whole

VERSIONS = ("1.1.0", "1.0.0")  # only the first has splits
KINDS = ("jpg", "png")
COLUMNS = ("dicom_id", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")


def find(folder: Path, split: str) -> Path:
    versions = VERSIONS if split == "all" else VERSIONS[:1]
    names = [f"MS_CXR_Local_Alignment_v{v}.{kind}" for v in versions for kind in ("csv", "json")]
    file = MS_CXR.one_of(folder, *names, split="" if split == "all" else split)
    if not any(folder.glob("*.[jp][pn]g")):
        MS_CXR.one_of(folder, "files", "images")
    return file


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    file = find(folder, split)
    phrases: dict[tuple[str, str], list[dict]] = {}
    for k, box in enumerate(of_csv(file) if file.suffix == ".csv" else of_json(file)):
        try:
            checked = place(box)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"box {k} of {file} is damaged: {error!r}") from error
        phrases.setdefault((checked["dicom_id"], checked["phrase"]), []).append(checked)
    rows, of_picture = [], {}
    for (dicom_id, phrase), places in phrases.items():
        k = of_picture[dicom_id] = of_picture.get(dicom_id, -1) + 1
        if split in ("all", places[0]["split"]):
            rows.append((f"{dicom_id}#{k}", phrase, places))
    return [row(folder, *rows[i]) for i in drawn(len(rows), n, seed)]


def of_csv(path: Path) -> Iterator[dict]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        table = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        yield from table


def of_json(path: Path) -> Iterator[dict]:
    """The boxes of COCO's layout by the names of the table's columns."""
    found = whole(path)
    try:
        pictures = {one["id"]: one for one in found["images"]}
        for box in found["annotations"]:
            picture = pictures[box["image_id"]]
            yield {
                "dicom_id": PurePosixPath(picture["file_name"]).stem,
                "path": picture["path"],
                "image_width": picture["width"],
                "image_height": picture["height"],
                "label_text": box["label_text"],
                "split": box.get("split", picture.get("split")),
                **dict(zip("xywh", box["bbox"], strict=True)),
            }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not in COCO's layout: {error!r}") from error


def place(box: dict) -> dict:
    """One box, its numbers read, its picture's two names compared."""
    x, y, w, h = (float(box[name]) for name in "xywh")
    dicom_id, path = box["dicom_id"].strip(), box["path"].strip()
    if PurePosixPath(path).stem != dicom_id:
        raise ValueError(f"its dicom_id is {dicom_id!r}, its path {path!r}")
    return {
        "dicom_id": dicom_id,
        "path": path,
        "phrase": box["label_text"].strip(),
        "box": (x, y, x + w, y + h),
        "size": (int(float(box["image_width"])), int(float(box["image_height"]))),
        "split": box.get("split"),
    }


def row(folder: Path, id: str, phrase: str, places: list[dict]) -> Row:
    dicom_id = places[0]["dicom_id"]
    flat = [f"{above}{dicom_id}.{kind}" for above in ("files/", "images/", "") for kind in KINDS]
    picture = partial(of_size, folder, (places[0]["path"], *flat), places[0]["size"])
    boxes = tuple(dict.fromkeys(place["box"] for place in places))
    thing = dict(caption=phrase, boxes=boxes)
    return Row(id, folder, picture, (phrase,), (thing,), source=dicom_id)


def of_size(folder: Path, names: tuple[str, ...], size: tuple[int, int]) -> Image.Image:
    """The first of these pictures that is there. Raises ValueError where it has another size
    (width, height) than the boxes are for."""
    image = rgb(first_there(folder, names))
    if image.size != size:
        raise ValueError(f"its boxes are for {size} pixels, the picture has {image.size}")
    return image


MS_CXR = Source(
    "ms-cxr",
    "MS-CXR",
    ("all", "test", "train", "val"),
    "PhysioNet (physionet.org/content/ms-cxr), its pictures with MIMIC-CXR-JPG"
    " (physionet.org/content/mimic-cxr-jpg)",
    "for users with credentials of PhysioNet, its training and its data use agreement signed",
    find,
    read,
)
