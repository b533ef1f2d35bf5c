"""Where a thing is: boxes, several of them, outlines and COCO's run-length code."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import xai_utils as xu
from xai_utils.data import largest
from xai_utils.outlines import decoded, run_lengths

PICTURE = Image.new("RGB", (40, 30), "white")
TRIANGLE = [4.0, 4.0, 30.5, 6.0, 12.0, 25.0]
SQUARE = [20.0, 10.0, 28.0, 10.0, 28.0, 18.0, 20.0, 18.0]


def placed(**place):
    return xu.Sample("s", PICTURE, "c", (xu.Thing("a thing", **place),)).things[0]


def test_one_phrase_in_several_places_has_all_their_pixels():
    thing = placed(boxes=[(2, 3, 10, 9), (30.5, 20, 60, 28)])
    assert thing.box == (2, 3, 40, 28)
    assert thing.boxes == ((2, 3, 10, 9), (30, 20, 40, 28))
    sample = xu.Sample("s", PICTURE, "c", (thing,))
    wanted = np.zeros((30, 40), bool)
    wanted[3:9, 2:10] = wanted[20:28, 30:40] = True
    assert (sample.masks((30, 40))[0].numpy() == wanted).all()
    assert placed(box=(2, 3, 10, 9)).boxes == ((2, 3, 10, 9),)


def test_outlines_are_filled_as_pycocotools_fills_them():
    thing = placed(polygons=[TRIANGLE, SQUARE])
    both = coco.frPyObjects([TRIANGLE, SQUARE], 30, 40)
    assert (thing.mask == coco.decode(coco.merge(both)).astype(bool)).all()
    assert thing.box == (4, 4, 31, 25)
    assert thing.mask.sum() > 100
    exact = np.zeros((30, 40), bool)
    assert not placed(polygons=[TRIANGLE], mask=exact, box=(0, 0, 9, 9)).mask.any()


def test_run_length_codes_are_decoded_as_pycocotools_decodes_them():
    rng = np.random.default_rng(0)
    for k in range(60):
        height, width = rng.integers(1, 70, 2)
        mask = rng.random((height, width)) < rng.random()
        if k % 3 == 0:
            mask = np.zeros((300, 400), bool)
            mask[rng.integers(0, 100) : 200, 30 : rng.integers(40, 400)] = True
        code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        counts = run_lengths(code["counts"]).tolist()
        assert sum(counts) == mask.size
        for form in (code["counts"], code["counts"].decode(), counts):
            assert (decoded(dict(size=code["size"], counts=form), "mask") == mask).all()


def test_a_mask_alone_says_its_box():
    mask = np.zeros((30, 40), bool)
    mask[5:9, 7:20] = True
    assert placed(mask=mask).box == (7, 5, 20, 9)
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert placed(mask=code).box == (7, 5, 20, 9)
    assert (placed(mask=code).mask == mask).all()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (dict(), "box of 'a thing' is missing"),
        (dict(boxes=[]), "box of 'a thing' is missing"),
        (dict(boxes=[(0, 0, 5)]), "boxes of 'a thing' must be four finite"),
        (dict(boxes=[(0, 0, 5, 5), (3, 3, 3, 9)]), "boxes of 'a thing' must be .* left < right"),
        (dict(boxes=[(0, 0, 5, 5), (50, 0, 60, 5)]), "boxes of 'a thing' in 's' .* lies outside"),
        (dict(boxes=5), "boxes of 'a thing' must be a list"),
        (dict(boxes="0055"), "boxes of 'a thing' must be a list"),
        (dict(polygons=[[1, 2, 3, 4]]), "polygons of 'a thing' must each be .* three points"),
        (dict(polygons=[[1, 2, 3, 4, 5]]), "polygons of 'a thing' must each be"),
        (dict(polygons=[[1, 2, 3, 4, 5, 6, 7]]), "polygons of 'a thing' must each be"),
        (dict(polygons=TRIANGLE), "polygons of 'a thing' must each be"),
        (dict(polygons=[[*SQUARE[:7], np.nan]]), "polygons of 'a thing' must hold finite"),
        (dict(polygons=[[*SQUARE[:7], "a"]]), "polygons of 'a thing' must hold finite"),
        (dict(polygons={"counts": []}), "polygons of 'a thing' must be a list"),
        (dict(mask=np.zeros((30, 40), bool)), "mask of 'a thing' is empty, and there is no box"),
        (dict(mask=dict(size=[30, 40])), 'mask of \'a thing\' must have "size" and "counts"'),
        (dict(mask=dict(size=[30, 40], counts=b"")), "no runs that fill 30 x 40"),
        (dict(mask=dict(size=[30, 40], counts="abc")), "no runs that fill 30 x 40"),
        (dict(mask=dict(size=[30, 40], counts=[1, 2])), "no runs that fill 30 x 40"),
        (dict(mask=dict(size=[30, 40], counts=[-5, 1205])), "no runs that fill 30 x 40"),
        (dict(mask=dict(size=[30, 40], counts=[600.5, 599.5])), "counts of mask"),
        (dict(mask=dict(size=[30, 40], counts=7)), "counts of mask"),
        (dict(mask=dict(size=[30], counts=[30])), "size of mask of 'a thing' must be"),
        (dict(mask=dict(size=[40, 30], counts=[200, 1000])), "must have the picture's shape"),
    ],
)
def test_a_place_that_is_none_is_refused(place, message):
    with pytest.raises((ValueError, TypeError), match=message):
        placed(**place)


def test_captions_and_judgements_belong_to_a_sample():
    sample = xu.Sample("s", PICTURE, "one", captions=["one", "two"], judgements=[1, 2, np.int64(4)])
    assert sample.captions == ("one", "two")
    assert sample.judgements == (1.0, 2.0, 4.0)
    assert sample.grade == pytest.approx(7 / 3)
    assert xu.Sample("s", PICTURE, "one").grade is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(captions="one"), "captions of 's' must be a list"),
        (dict(captions=["one", " "]), "captions of 's' is empty"),
        (dict(captions=["one", 2]), "captions of 's' must be a string"),
        (dict(judgements=3), "judgements of 's' must be a list"),
        (dict(judgements=["3"]), "judgements of 's' must be"),
        (dict(judgements=[np.nan]), "judgements of 's' must be"),
    ],
)
def test_captions_and_judgements_that_are_none_are_refused(fields, message):
    with pytest.raises((ValueError, TypeError), match=message):
        xu.Sample("s", PICTURE, "one", **fields)


def test_the_largest_things_of_a_sample_stay_in_their_order():
    sides = {"c": 5, "a": 2, "b": 8}
    things = [xu.Thing(name, (9, 9, 9 + side, 9 + side)) for name, side in sides.items()]
    things += [xu.Thing("beside the central square", (0, 0, 5, 30))]
    sample = xu.Sample("s", PICTURE, "all of them", things)
    assert [thing.caption for thing in largest(sample, 2).things] == ["c", "b"]
    assert [thing.caption for thing in largest(sample, 1).things] == ["b"]
    assert largest(sample, 4) is sample
    with pytest.raises(ValueError, match="k must be"):
        largest(sample, 0)
