"""The data sets of the studies, each from a few words, so that a study can say what it uses."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import torch
from torch import Tensor

from ..cases import cases
from ..data import Sample, confident, load_dataset, mismatched, recognised, showing
from ..data.stamps import table
from ..models import load_model
from ..types import ImageEncoder
from .base import in_words

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
    return first_named(scenes(model, n, 2, top, seed))


def first_named(samples: Sequence[Sample]) -> list[Sample]:
    return [replace(s, things=s.things[:1], caption=s.things[0].caption) for s in samples]


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


def one_of_two(name: str, n: int) -> list[Sample]:
    """`of_two_things` with the first of the two as the only thing and caption."""
    return first_named(of_two_things(name, n))


def joined(n: int, *parts: Callable[[], Sequence[Sample]]) -> list[Sample]:
    """The first n of some sets, one after another."""
    return [sample for part in parts for sample in part()][:n]


@cache
def prompted(model: str, n: int, top: int = TOP, seed: int = 0) -> list[Sample]:
    """n scenes of one thing, captioned "a photo of" it, as zero-shot classification names a class:
    captions long enough for a map of their words."""
    found = scenes(model, n, 1, top, seed)
    return [replace(s, caption=f"a photo of {s.caption}") for s in found]


def swapped(samples: Callable[[], Sequence[Sample]], seed: int = 0) -> list[Sample]:
    """The pictures of a set, each with the caption of another."""
    return kept(("swapped", in_words(samples), seed), lambda: mismatched(samples(), seed))


def with_swapped(samples: Callable[[], Sequence[Sample]], seed: int = 0) -> list[Sample]:
    """A set, and behind it the same pictures, each with the caption of another."""
    return [*samples(), *swapped(samples, seed)]


@torch.no_grad()
def embedded(model: str, samples: Callable[[], Sequence[Sample]]) -> tuple[Tensor, Tensor]:
    """The embeddings of the pictures and of the captions of a set, (n, D) each."""

    def make() -> tuple[Tensor, Tensor]:
        found = cases(model, samples())
        return found.embeddings, found.targets

    return kept(("embedded", model, in_words(samples)), make)


KEPT: dict = {}


def kept(key: tuple, make: Callable):
    """What `make` gives, made once for a key. `cache` would not do for sets that are given as
    partials: a worker gets another one with each unit, and equal partials are not the same."""
    if key not in KEPT:
        KEPT[key] = make()
    return KEPT[key]


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
