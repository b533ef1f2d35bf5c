"""Photographs that scikit-image, scikit-learn and Matplotlib ship, with captions and boxes of our
own."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from .samples import Dataset, Sample, Thing

# package, file, caption, ImageNet class, (what, (left, top, right, bottom)) ...
PHOTOS = {
    "chelsea": (
        "skimage",
        "data/chelsea.png",
        "a close-up of a tabby cat",
        282,
        ("a cat", (5, 0, 400, 299)),
    ),
    "coffee": (
        "skimage",
        "data/coffee.png",
        "a cup of espresso on a red saucer with a spoon",
        967,
        ("a cup of coffee", (165, 10, 420, 310)),
        ("a spoon", (325, 60, 430, 335)),
    ),
    "astronaut": (
        "skimage",
        "data/astronaut.png",
        "an astronaut in an orange suit before a model of a space shuttle",
        None,
        ("a smiling woman", (155, 10, 305, 195)),
        ("a space shuttle", (355, 0, 460, 275)),
        ("a black helmet", (290, 345, 505, 511)),
    ),
    "motorcycle": (
        "skimage",
        "data/motorcycle_left.png",
        "a red motorcycle parked in a garage",
        670,
        ("a motorcycle", (115, 75, 690, 455)),
    ),
    "rocket": (
        "skimage",
        "data/rocket.jpg",
        "a rocket on its launch pad at night",
        657,
        ("a rocket", (300, 125, 340, 410)),
    ),
    "cameraman": (
        "skimage",
        "data/camera.png",
        "a man in a black coat behind a camera on a tripod",
        872,
        ("a man", (0, 60, 275, 511)),
        ("a camera on a tripod", (225, 135, 410, 511)),
    ),
    "china": (
        "sklearn",
        "datasets/images/china.jpg",
        "a Chinese pagoda above a lake",
        None,
        ("a pagoda", (65, 30, 370, 385)),
        ("trees", (375, 135, 639, 426)),
    ),
    "flower": (
        "sklearn",
        "datasets/images/flower.jpg",
        "an orange dahlia in front of green leaves",
        None,
        ("an orange flower", (170, 85, 445, 360)),
    ),
    "admiral": (
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "an admiral in uniform before a flag",
        652,
        ("a woman with glasses", (155, 100, 380, 430)),
        ("a naval cap", (165, 15, 375, 160)),
    ),
}


def photos(split: str, seed: int, n: int | None) -> Dataset:
    if split != "test":
        raise ValueError(f'photos has only the split "test", got {split!r}')
    names = list(PHOTOS)[:n]
    return Dataset("photos", len(names), partial(photo, names))


def photo(names: list[str], i: int) -> Sample:
    package, file, caption, label, *things = PHOTOS[names[i]]
    image = Path(find_spec(package).submodule_search_locations[0]) / file
    return Sample(names[i], image, caption, tuple(Thing(what, box) for what, box in things), label)
