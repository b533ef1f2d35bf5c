"""Pictures grouped by what they show."""

import numpy as np
import pytest
import torch
from PIL import Image

from xai_utils.data import Sample, Thing, load_dataset
from xai_utils.data.kinds import alike_and_apart, kind_of, of_kinds, seen


def picture(id: str, *things: tuple[str, int], label: int | None = None) -> Sample:
    """100 x 80 pixels; a thing is a name and the side of its square box."""
    boxes = [Thing(name, (0, 0, side, side)) for name, side in things]
    return Sample(id, Image.new("RGB", (100, 80)), "a picture", tuple(boxes), label)


def test_a_kind_is_the_label_or_the_largest_thing():
    assert kind_of(picture("a", ("a cat", 9), label=3)) == "3"
    assert kind_of(picture("a", ("a cat", 9), ("a dog", 20), ("a cup", 10))) == "a dog"
    assert kind_of(picture("a")) == ""


def test_kinds_are_those_that_are_complete_first():
    labels = [1, 2, 2, 3, 1, 1, 3]
    samples = [picture(f"{i}", label=k) for i, k in enumerate(labels)]
    asked = iter([picture("nothing"), *samples[:5], None])  # None would be an error
    assert [s.id for s in of_kinds(asked, 2, 2)] == ["1", "2", "0", "4"]
    assert [s.id for s in of_kinds(samples, 3, 2)] == ["1", "2", "0", "4", "3", "6"]
    with pytest.raises(ValueError, match="dataset has 1 kinds with 3 pictures, kinds is 2"):
        of_kinds(samples, 2, 3)
    with pytest.raises(ValueError, match="kinds must be"):
        of_kinds(samples, 0, 3)


def test_pairs_share_one_thing_and_differ_in_another():
    cat, dog, cup = ("a cat", 9), ("a dog", 9), ("a cup", 9)
    samples = [
        picture("0", cat, dog),
        picture("1", cat),  # has nothing that 0 lacks
        picture("2", dog, cat),  # nor has this
        picture("3", cup),  # shares nothing
        picture("4", cat, cup),
        picture("5", cup, dog),
    ]
    assert [s.id for s in alike_and_apart(samples, 1)] == ["0", "4"]
    assert [s.id for s in alike_and_apart(samples, 2)] == ["0", "4", "2", "5"]
    with pytest.raises(ValueError, match="dataset has 2 pairs .*, n is 3"):
        alike_and_apart(samples, 3)


def test_what_an_encoder_sees_of_a_sample():
    pixels = np.zeros((80, 100, 3), np.uint8)
    pixels[:, 50:] = 255
    mask = np.zeros((80, 100), bool)
    mask[:, 50:] = True
    things = Thing("light", mask=mask), Thing("an edge", (0, 0, 5, 80))  # cut off by the square
    whole = Sample("a", Image.fromarray(pixels), "half of it is light", things)
    cut = seen(whole, (40, 40))
    assert cut.image.size == (40, 40)
    assert [t.caption for t in cut.things] == ["light"]
    assert torch.equal(cut.masks((40, 40))[0], whole.masks((40, 40))[0])
    assert [t.caption for t in seen(whole, (40, 40), least=0.49).things] == ["light"]
    assert seen(whole, (40, 40), least=0.5).things == ()  # it is half of what is seen
    with pytest.raises(ValueError, match="least must be"):
        seen(whole, (40, 40), least=2)
    assert cut.masks((40, 40))[0, :, 20:].all() and not cut.masks((40, 40))[0, :, :20].any()


def test_a_scene_is_seen_as_it_is(stamps):
    scene = load_dataset("scenes", n=1, objects=2)[0]
    same = seen(scene, (224, 224))
    assert same.image.tobytes() == scene.image.tobytes()
    assert [t.mask.tobytes() for t in same.things] == [t.mask.tobytes() for t in scene.things]
