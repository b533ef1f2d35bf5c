"""The data sets of the studies, each from a few words, so that a study can say what it uses."""

from dataclasses import replace
from functools import cache

from ..data import Sample, load_dataset, recognised, showing
from ..models import load_model

TOP = 5  # scenes show only stamps whose own caption a model ranks this high among all


@cache
def scenes(
    model: str, n: int, objects: int | None = 1, top: int = TOP, seed: int = 0
) -> list[Sample]:
    """n scenes of so many things each, None: one to four, all of which the model knows by name."""
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
def copies(model: str, n: int, top: int = TOP, seed: int = 0) -> list[Sample]:
    """n pictures of one thing two or three times, which the model knows by name."""
    known = recognised(load_model(model), top=top)
    return list(load_dataset("copies", n=n, seed=seed, stamps=known))


@cache
def domain(n: int, seed: int = 0, stamps: int = 12) -> list[Sample]:
    """n scenes of two things out of a few that no training of the kit has seen."""
    few = [s.id for s in load_dataset("stamps", split="novel", n=stamps)]
    return list(load_dataset("scenes/novel", n=n, seed=seed, objects=2, stamps=few))
