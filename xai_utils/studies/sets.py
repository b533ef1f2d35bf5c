"""The data sets of the studies, each from a few words, so that a study can say what it uses."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice

from ..data import Sample, confident, load_dataset, recognised, showing
from ..data.stamps import table
from ..models import load_model
from ..types import ImageEncoder

TOP = 5  # scenes show only stamps whose own caption a model ranks this high among all


@cache
def scenes(model: str, n: int, objects: int = 1, top: int = TOP, seed: int = 0) -> list[Sample]:
    """n scenes of so many things each, all of which the model knows by name."""
    known = recognised(load_model(model), top=top)
    return list(load_dataset("scenes", n=n, seed=seed, objects=objects, stamps=known))


def named(model: str, n: int, top: int = TOP, seed: int = 0) -> list[Sample]:
    """n scenes of two things, each with the first of them as its only thing and caption: what a
    text names, with another thing beside it."""
    found = scenes(model, n, 2, top, seed)
    return [replace(s, things=s.things[:1], caption=s.things[0].caption) for s in found]


@cache
def photographs(n: int) -> list[Sample]:
    """The first n of the kit's photographs, with their captions."""
    return list(load_dataset("photos", n=n))


@cache
def captioned(name: str, n: int, seed: int = 0) -> list[Sample]:
    """n pictures of a data set of the papers, with their captions."""
    return list(load_dataset(name, n=n, seed=seed))


@cache
def of_two_things(name: str, n: int, size: tuple[int, int] = (224, 224)) -> list[Sample]:
    """The first n pictures of a data set in which an encoder of `size` sees two things, the two
    largest."""
    return showing(load_dataset(name), n, things=2, size=size)


@cache
def classifier(name: str) -> ImageEncoder:
    """The image side of a model, on the CPU."""
    model = load_model(name, device="cpu")
    return getattr(model, "image", model)


def of_imagenet(n: int, objects: int, split: str = "test", seed: int = 0) -> Iterator[Sample]:
    """n scenes of so many things that are of ImageNet's classes; with one thing its class is the
    label."""
    label = {row["caption"]: row["label"] for row in table() if row["label"] is not None}
    known = [row["id"] for row in table() if row["caption"] in label and not row["novel"]]
    found = load_dataset("scenes", split=split, n=n, seed=seed, objects=objects, stamps=known)
    return (replace(sample, label=label.get(sample.caption)) for sample in found)


@cache
def sure(name: str, models: tuple[str, ...], n: int, least: float = 0.2) -> list[Sample]:
    """The first n pictures of a data set of which every one of the models is sure: its leading
    class, right or wrong, has a probability of at least `least`. Scenes show one thing."""
    encoders = [classifier(model) for model in models]
    found = (
        s for s in offered(name, n) if all(confident(e, [s], 1, least=least) for e in encoders)
    )
    return list(islice(found, n))


def offered(name: str, n: int) -> Iterable[Sample]:
    """What `sure` looks through."""
    if name == "scenes":
        return of_imagenet(100 + 3 * n, objects=1)
    return load_dataset(name)
