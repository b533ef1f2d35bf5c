"""COCO (Lin et al. 2014): photographs with five captions each, and every instance of 80 categories
outlined.

coco/annotations/captions_val2017.json     pictures and their captions; the same for train2017,
coco/annotations/instances_val2017.json    val2014 and train2014; outlines and boxes
coco/val2017/*.jpg                         the pictures; images/val2017 is found as well

A text such as "a dog" names every dog of a picture, so a picture's instances of one category are
one thing, named "a dog": its boxes are theirs, its mask is the union of theirs, crowds included.
"""

import re
from array import array
from functools import partial
from pathlib import Path

from ..images import are_numbers
from ..outlines import codes, union
from .articles import with_article
from .distributed import Row, Source, drawn, stored
from .records import by_id, parsed, spans, whole

ALONE = ("broccoli", "scissors", "skis")  # names that take no article
YEARS = {"val": "val2017", "train": "train2017", "val2014": "val2014", "train2014": "train2014"}


def find(folder: Path, split: str) -> dict[str, Path]:
    year = YEARS[split]
    return {
        "captions": COCO.one_of(folder, f"annotations/captions_{year}.json", split=split),
        "instances": COCO.one_of(folder, f"annotations/instances_{year}.json", split=split),
        "pictures": COCO.one_of(folder, year, f"images/{year}", split=split),
    }


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    content = whole(found["captions"])
    pictures = by_id(content, "images", found["captions"])
    texts = captions_of(by_id(content, "annotations", found["captions"]), pictures, found)
    rest, places = spans(found["instances"], "annotations", "image_id")
    listed = by_id(rest, "images", found["instances"])
    names = names_of(rest, found["instances"])
    if strangers := places.keys() - listed.keys():
        raise ValueError(f"{found['instances']} has an instance in no picture: {min(strangers)}")
    ids = list(pictures)
    return [
        Row(
            id=str(one),
            folder=found["pictures"],
            picture=partial(opened, found["pictures"], pictures[one], listed.get(one)),
            captions=tuple(texts.get(one, ())),
            things=partial(
                things_of, found["instances"], places.get(one, array("q")), pictures[one], names
            ),
        )
        for one in (ids[i] for i in drawn(len(ids), n, seed))
    ]


def captions_of(annotations: dict, pictures: dict, found: dict) -> dict[int, list[str]]:
    """Picture -> its captions in the file's order. Raises ValueError for one of no picture."""
    texts: dict[int, list[str]] = {}
    for id, annotation in annotations.items():
        picture, text = annotation.get("image_id"), annotation.get("caption")
        if type(picture) is not int or picture not in pictures:
            raise ValueError(f"{found['captions']} has a caption of no picture: {id}")
        texts.setdefault(picture, []).append(text.strip() if isinstance(text, str) else "")
    return texts


def names_of(content: dict, path: Path) -> dict[int, str]:
    return {id: one.get("name") for id, one in by_id(content, "categories", path).items()}


def opened(folder: Path, picture: dict, other: dict | None):
    """The picture as its file has it. Raises ValueError where it is of another size than the
    annotations say, or where the two files of annotations disagree about it."""
    if other is None:
        raise ValueError("the file of instances does not list the picture")
    for key in ("file_name", "height", "width"):
        if picture.get(key) != other.get(key):
            raise ValueError(f"captions and instances disagree in {key} of the picture")
    check_number(picture)
    return stored(folder, picture.get("file_name"), size_of(picture))


def check_number(picture: dict) -> None:
    """Raises ValueError where the file is another picture's: COCO's names end with the id."""
    number = re.search(r"(\d{12})\.\w+$", str(picture.get("file_name")))
    if number and int(number[1]) != picture["id"]:
        raise ValueError(f"the file {picture['file_name']} is not the picture {picture['id']}")


def size_of(picture: dict) -> tuple[int, int]:
    return picture.get("height"), picture.get("width")


def things_of(path: Path, places: array, picture: dict, names: dict[int, str]) -> list[dict]:
    """The keywords of a `Thing` for each category, in the order of its first instance."""
    groups: dict[int, list[dict]] = {}
    for instance in parsed(path, places):
        if instance.get("image_id") != picture["id"]:
            raise ValueError(f"the instance {instance.get('id')} is of another picture: {path}")
        groups.setdefault(instance.get("category_id"), []).append(instance)
    ids = [instance.get("id") for group in groups.values() for instance in group]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two instances have the same id: {path}")
    found = []
    for category, instances in groups.items():
        if not isinstance(names.get(category), str):
            raise ValueError(f"the category {category!r} is unknown: {path}")
        place = place_of(instances, size_of(picture))
        if place["boxes"] or place["mask"].any():
            name = names[category]
            found.append(dict(caption=name if name in ALONE else with_article(name), **place))
    return found


def place_of(instances: list[dict], size: tuple[int, int]) -> dict:
    """Boxes and mask of what has several instances. One whose box has no width or no height has no
    box; its pixels count."""
    named = [(one, f"of the instance {one.get('id')}") for one in instances]
    boxes = [corners(one.get("bbox"), f"bbox {of}") for one, of in named]
    parts = [codes(one.get("segmentation"), size, f"segmentation {of}") for one, of in named]
    mask = union([code for part in parts for code in part])
    return dict(boxes=[box for box in boxes if box], mask=mask)


def corners(box, name: str) -> tuple[float, float, float, float] | None:
    """COCO's (left, top, width, height) as (left, top, right, bottom); None for an empty one."""
    if not isinstance(box, list) or not are_numbers(box, 4) or min(box[2:]) < 0:
        raise ValueError(f"{name} must be left, top, width, height, got {box!r:.80}")
    left, top, width, height = box
    return (left, top, left + width, top + height) if width and height else None


COCO = Source(
    "coco",
    "COCO",
    tuple(YEARS),
    "cocodataset.org, as val2017.zip, train2017.zip and annotations_trainval2017.zip",
    "annotations CC BY 4.0; pictures of Flickr users, each under the licence that the annotations"
    " name",
    find,
    read,
)
