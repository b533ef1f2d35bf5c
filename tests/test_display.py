import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import xai_utils as xu

MAP = torch.linspace(-1, 1, 64).view(1, 8, 8)
PICTURES = xu.Attribution(map=MAP, unit="cosine", signed=True)
WORDS = ["a", "зебра", "猫", "قط", "<b>", "end</w>"]
TEXTS = xu.Attribution(
    map=torch.tensor([[0.5, -1.0, 2.0, 0.0, 0.25, 0.1], [1.0, 0.5, *[float("nan")] * 4]]),
    unit="cosine",
    signed=True,
    tokens=[WORDS, ["two", "words"]],
)


def test_a_map_lies_over_its_picture_and_is_drawn_once():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    fig = xu.show(PICTURES, Image.new("RGB", (16, 16), "red"))
    drawn = [image for ax in fig.axes for image in ax.images]
    assert len(drawn) >= 3  # the picture, the picture again, the map
    assert plt.get_fignums() == before
    bar = next(ax for ax in fig.axes if ax.get_label() == "colour bar")
    assert bar.get_ylabel() == "cosine"


def test_every_map_has_its_picture_or_none():
    two = replace(PICTURES, map=MAP.repeat(2, 1, 1))
    pictures = [np.zeros((16, 16, 3), np.uint8), Image.new("RGB", (20, 20))]
    assert len(xu.show(two, pictures).axes) > len(xu.show(two).axes)
    with pytest.raises(ValueError, match="pictures must be 2, one a map, got 1"):
        xu.show(two, pictures[0])


def test_every_word_of_every_script_has_its_score_and_colour():
    page = xu.show(TEXTS).data
    said = re.findall(r">([^<>]+)<br><small>([^<]*)</small>", page)
    assert said[:4] == [("a", "0.5"), ("зебра", "-1"), ("猫", "2"), ("قط", "0")]
    assert said[4:] == [("&lt;b&gt;", "0.25"), ("end", "0.1"), ("two", "1"), ("words", "0.5")]
    colours = dict(zip([w for w, _ in said], re.findall(r"background: (#\w+)", page)))
    red, blue = (int(colours["猫"][i : i + 2], 16) for i in (1, 5))
    assert red > blue  # for the match, and strongest
    red, blue = (int(colours["зебра"][i : i + 2], 16) for i in (1, 5))
    assert red < blue  # against it
    assert page.count('dir="auto"') == 2 and "cosine" in page


def test_a_long_text_is_whole():
    many = [f"word{i}" for i in range(300)]
    page = xu.show(replace(TEXTS, map=torch.rand(1, 300), tokens=[many])).data
    assert all(f">{word}<" in page for word in many)


def test_scores_that_are_all_zero_have_a_scale():
    page = xu.show(replace(TEXTS, map=torch.zeros(1, 2), tokens=[["a", "b"]], signed=False)).data
    assert ">0<br>" not in page and "to" in page


@pytest.mark.parametrize(
    "given, error, message",
    [
        ((MAP,), TypeError, "attribution must be what a method returned, got Tensor"),
        ((TEXTS, Image.new("RGB", (9, 9))), ValueError, "pictures must be None"),
        ((PICTURES, "nothing.png"), (OSError, ValueError), "nothing.png"),
        ((replace(PICTURES, map=MAP * float("nan")),), ValueError, "NaN"),
    ],
)
def test_what_cannot_be_shown_is_said(given, error, message):
    with pytest.raises(error, match=message):
        xu.show(*given)


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'shown'"):
        xu.shown  # noqa: B018
