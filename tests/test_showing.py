from functools import partial

import pytest
from PIL import Image

from xai_utils.data import Dataset, Sample, SampleError, Thing, showing
from xai_utils.data.showing import in_sight

WIDE = 80, 40  # an encoder of 32 x 32 sees the 40 x 40 in the middle
SMALL, LARGE = Thing("a cat", (30, 10, 40, 20)), Thing("a dog", (40, 0, 60, 40))
TINY, AWAY = Thing("a fly", (50, 20, 51, 21)), Thing("a bus", (0, 0, 15, 40))


def sample(id: str, *things: Thing) -> Sample:
    return Sample(id, Image.new("RGB", WIDE), "a street", things)


SAMPLES = [
    sample("none"),
    sample("one", AWAY, SMALL),
    sample("two", TINY, SMALL, AWAY, LARGE),
    sample("damaged"),
    sample("three", LARGE, SMALL, Thing("a cup", (25, 25, 30, 35))),
    sample("not asked for"),
]


def read(asked: list[str], i: int) -> Sample:
    asked.append(SAMPLES[i].id)
    if SAMPLES[i].id == "damaged":
        raise SampleError("damaged cannot be read")
    return SAMPLES[i]


def test_a_picture_counts_by_the_things_that_the_encoder_sees():
    assert [t.caption for t in in_sight(SAMPLES[2], (32, 32)).things] == ["a cat", "a dog"]
    assert in_sight(SAMPLES[0], (32, 32)).things == ()


def test_showing_takes_the_first_pictures_and_their_largest_things():
    asked: list[str] = []
    dataset = Dataset("streets", len(SAMPLES), partial(read, asked))
    with pytest.warns(UserWarning, match="left out: damaged"):
        found = showing(dataset, 2, things=2, size=(32, 32))
    assert [(s.id, s.caption) for s in found] == [
        ("two", "a cat and a dog"),
        ("three", "a dog and a cat"),
    ]
    assert [len(s.things) for s in found] == [2, 2]
    assert asked == ["none", "one", "two", "damaged", "three"]
    with pytest.warns(UserWarning, match="left out: damaged"):
        alone = showing(dataset, 9, things=1, size=(32, 32))
    assert [(s.id, s.caption) for s in alone] == [("one", "a cat")]
    assert showing(SAMPLES, 9, things=4, size=(32, 32)) == []


def test_bad_counts_are_named():
    with pytest.raises(ValueError, match="things must be"):
        showing(SAMPLES, 1, things=0, size=(32, 32))
    with pytest.raises(ValueError, match="n must be"):
        showing(SAMPLES, 0, things=1, size=(32, 32))
