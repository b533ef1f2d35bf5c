"""Scenes and copies: exact masks, areas, places, and the grounds that they stand on."""

import hashlib
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from xai_utils.data import DataMissing, grounds, lacks, load_dataset
from xai_utils.data import composed as composing
from xai_utils.data.scenes import COVERED
from xai_utils.data.stamps import SIDE, SPLITS, table


@pytest.fixture(scope="module")
def natural(stamps):
    """Datasets on the grounds, by the arguments of load_dataset."""
    if missing := lacks("scenes"):
        pytest.skip(missing)
    return lambda name="scenes", **options: load_dataset(name, **options)


def digest(sample) -> str:
    found = hashlib.sha256(np.asarray(sample.image).tobytes() + sample.caption.encode())
    for thing in sample.things:
        found.update(np.packbits(thing.mask).tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("objects", [1, 2, 3, 4])
def test_things_have_their_share_of_the_picture_and_are_hardly_hidden(natural, split, objects):
    files = {}
    for row in table():
        files.setdefault(row["caption"], []).append(row["file"])
    for sample in natural(split=split, seed=5, objects=objects, n=6):
        assert sample.image.size == (SIDE, SIDE)
        assert len({thing.caption for thing in sample.things}) == objects
        masks = np.stack([thing.mask for thing in sample.things])
        assert masks.sum(0).max() == 1  # what is nearer hides what is farther
        for thing in sample.things:
            left, top, right, bottom = thing.box
            assert 0.08 <= thing.mask.mean() <= 0.3
            assert not thing.mask[bottom:].any()
            whole = [alone(file, thing.box) for file in files[thing.caption]]
            assert any(
                not (thing.mask & ~mask).any() and thing.mask.sum() >= (1 - COVERED) * mask.sum()
                for mask in whole
            )


def alone(file, box) -> np.ndarray:
    """The mask of a whole stamp in its box, from its alpha channel alone."""
    left, top, right, bottom = box
    with Image.open(file) as stamp:
        alpha = stamp.getchannel("A").resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = np.asarray(alpha.filter(ImageFilter.BoxBlur(0.4))) >= 128
    return mask


def test_masks_are_where_the_picture_differs_from_its_ground(natural, monkeypatch):
    monkeypatch.setattr(
        composing, "ground", lambda rng: (Image.new("RGB", (SIDE, SIDE), "lime"), 60)
    )
    monkeypatch.setattr(composing, "ADAPT", 0)
    for sample in natural(seed=2, objects=2, n=5):
        pixels = np.asarray(sample.image).astype(int)
        there = np.any([thing.mask for thing in sample.things], axis=0)
        green = (pixels[..., 0] < 6) & (pixels[..., 2] < 6)  # lime, more or less in the shadow
        assert (green & there).sum() < 0.02 * there.sum()
        assert (~green & ~there).sum() < 0.15 * there.sum()  # the soft edges
        shaded = green & (pixels[..., 1] < 240)
        assert shaded.sum() > 50


def test_scenes_follow_from_split_seed_and_number(natural):
    some = natural(seed=1, n=6)
    assert [digest(s) for s in some] == [digest(s) for s in natural(seed=1, n=1000)[:6]]
    assert digest(some[3]) == digest(natural(seed=1)[3])  # whatever was drawn before
    assert len({len(s.things) for s in natural(seed=1, n=12)}) > 1
    others = natural(seed=2)[0], natural(seed=1, split="train")[0]
    assert digest(some[0]) not in [digest(s) for s in others]
    assert all(thing.caption in s.caption for s in some for thing in s.things)


def test_novel_scenes_show_other_things(natural):
    shown = {
        split: {t.caption for s in natural(split=split, n=20) for t in s.things}
        for split in ("train", "test", "novel")
    }
    assert not shown["novel"] & (shown["train"] | shown["test"])


@pytest.mark.slow
@pytest.mark.parametrize("objects", [None, 4])
def test_copies_do_not_overlap_and_are_placed_alike(natural, objects):
    for i in range(4):
        first = [natural("copies", split=split, seed=3, objects=objects)[i] for split in SPLITS]
        for sample in first:
            assert len(sample.things) == (objects or 2 + i % 2)
            assert {thing.caption for thing in sample.things} == {sample.caption}
            assert np.sum([thing.mask for thing in sample.things], axis=0).max() == 1
            assert all(0.08 <= thing.mask.mean() <= 0.3 for thing in sample.things)
    again = natural("copies", seed=3, objects=objects, n=2)
    assert [digest(s) for s in again] == [
        digest(s) for s in natural("copies", seed=3, objects=objects, n=4)[:2]
    ]


def test_copies_of_one_seed_stand_on_the_same_ground_in_all_splits(natural, monkeypatch):
    drawn = []

    def noted(rng):
        drawn.append(np.asarray(grounds.ground(rng)[0]))
        return grounds.ground(rng)

    monkeypatch.setattr(composing, "ground", noted)
    for i in range(5):
        drawn.clear()
        for split in SPLITS:
            assert natural("copies", split=split, seed=4)[i].things
        assert all(np.array_equal(other, drawn[0]) for other in drawn)


def test_stamps_named_by_id_are_taken_though_they_are_thin(natural):
    thin = [row for row in table() if composing.largest_area(row, 4) < 0.08 and not row["novel"]]
    ids = [row["id"] for row in thin[:6]]
    captions = {row["caption"] for row in thin[:6]}
    for sample in (*natural(stamps=ids, objects=4, n=2), *natural("copies", stamps=ids, n=2)):
        assert {thing.caption for thing in sample.things} <= captions
        for left, top, right, bottom in (thing.box for thing in sample.things):
            assert max(right - left, bottom - top) <= composing.LONGEST[2] * SIDE + 1


def test_copies_that_lack_room_become_smaller(natural):
    (crane,) = (row["id"] for row in table() if row["caption"] == "a crowned crane")
    shown = natural("copies", split="novel", stamps=[crane], objects=4)[0]
    assert len(shown.things) == 4
    assert np.sum([thing.mask for thing in shown.things], axis=0).max() == 1
    assert all(thing.mask.mean() < 0.08 for thing in shown.things)


@pytest.fixture
def no_grounds(stamps, tmp_path, monkeypatch):
    """No prepared grounds and no way to fetch them, and an empty folder; the stamps are there."""

    def elsewhere(name, build):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        build(folder)
        return folder

    monkeypatch.setattr(sys.modules["xai_utils.data.grounds"], "prepared", elsewhere)
    for variable in ("XAI_WALLPAPERS", "XAI_TEMPLATES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "empty").mkdir()
    grounds.read_parts.cache_clear()
    yield tmp_path
    grounds.read_parts.cache_clear()


@pytest.mark.parametrize("name", ["scenes", "copies"])
def test_without_grounds_scenes_say_what_to_do(no_grounds, monkeypatch, name):
    wanted = "no apt-get here to fetch lomiri.*photos and stamps work without.*XAI_WALLPAPERS"
    with pytest.raises(DataMissing, match=wanted):
        load_dataset(name)
    assert "XAI_WALLPAPERS" in lacks(name)
    assert lacks("stamps") == ""
    monkeypatch.setenv("XAI_WALLPAPERS", str(no_grounds / "empty"))
    assert "to fetch tuxpaint-data" in lacks(name)
    monkeypatch.setenv("XAI_TEMPLATES", str(no_grounds / "empty"))
    assert "XAI_WALLPAPERS must name the unpacked lomiri" in lacks(name)
    monkeypatch.setenv("XAI_TEMPLATES", str(no_grounds / "nothing"))
    assert "neither a folder nor a .deb file" in lacks(name)


def test_grounds_are_made_from_folders_that_the_variables_name(no_grounds, monkeypatch):
    for _, file, _, _ in grounds.PARTS.values():
        Image.new("RGB", (800, 640), (40, 60, 50)).save(no_grounds / "empty" / f"{file}.jpg")
    for variable in ("XAI_WALLPAPERS", "XAI_TEMPLATES"):
        monkeypatch.setenv(variable, str(no_grounds / "empty"))
    found = grounds.parts()
    assert len(found) == len(grounds.PARTS) >= 10
    assert all(min(image.size) == grounds.SHORT for image, _ in found)
    assert abs(np.asarray(found[0][0]).mean() - grounds.LIGHT) < 8  # it was dark
    image, floor = grounds.ground(np.random.default_rng(0))
    assert image.size == (SIDE, SIDE)
    assert 0 <= floor < 0.65 * SIDE
