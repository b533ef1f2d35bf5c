import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xai_utils.data import (
    DataMissing,
    Dataset,
    Sample,
    SampleError,
    Thing,
    confident,
    load_dataset,
    plant,
    readable,
    recognised,
    sounds,
)
from xai_utils.data import stamps as stamps_module
from xai_utils.data.cache import MANIFEST, prepared


def test_stamps_are_split_once_and_for_all(stamps):
    test, train, novel = (load_dataset("stamps", split=s) for s in ("test", "train", "novel"))
    ids = [s.id for s in test[:]]
    assert ids == [s.id for s in train[:]]
    new = [s for s in novel]
    assert not set(ids) & {s.id for s in new}
    assert not {s.things[0].caption for s in test} & {s.things[0].caption for s in new}
    assert 0.15 < len(new) / (len(new) + len(ids)) < 0.3
    assert "animals-mammals-equines-zebra" in ids + [s.id for s in new]
    zebra = next(s for s in [*test, *new] if s.id.endswith("zebra"))
    assert zebra.things[0].caption == "a zebra"
    assert zebra.label == 340
    assert not any("cartoon" in i or "symbols" in i for i in ids)
    assert any((np.array(a.image) != np.array(b.image)).any() for a, b in zip(test[:5], train[:5]))


def test_scenes_follow_from_their_seed_and_have_exact_masks(stamps):
    scenes = load_dataset("scenes", n=12)
    counts = set()
    for i in range(12):
        s, again = scenes[i], load_dataset("scenes", n=1000)[i]
        assert np.array_equal(np.array(s.image), np.array(again.image))
        assert s.image.size == (224, 224)
        counts.add(len(s.things))
        masks = s.masks((224, 224))
        assert masks.sum(0).max() <= 1  # what lies above hides what lies below
        assert all(m.sum() > 50 for m in masks)
        assert all(t.caption in s.caption for t in s.things)
    assert counts <= {1, 2, 3, 4}
    assert len(counts) > 1
    first = np.array(scenes[0].image)
    assert (first != np.array(load_dataset("scenes", seed=1, n=1)[0].image)).any()
    assert (first != np.array(load_dataset("scenes", split="train", n=1)[0].image)).any()


def test_copies_are_of_one_stamp_and_none_covers_another(stamps):
    copies = load_dataset("copies", n=4, seed=3)
    for i, s in enumerate(copies):
        again = load_dataset("copies", seed=3)[i]
        assert np.array_equal(np.array(s.image), np.array(again.image))
        assert len(s.things) == 2 + i % 2
        assert {t.caption for t in s.things} == {s.caption}
        assert np.stack([t.mask for t in s.things]).sum(0).max() == 1
    ids = [s.id for s in load_dataset("stamps")[40:42]]
    captions = {s.things[0].caption for s in load_dataset("stamps")[40:42]}
    few = load_dataset("copies", n=3, objects=4, stamps=ids)
    assert all(len(s.things) == 4 and s.caption in captions for s in few)
    with pytest.raises(ValueError, match="objects must be an integer from 2 to 4"):
        load_dataset("copies", objects=1)


def test_masks_are_where_the_stamp_is(stamps, conse):
    s = load_dataset("stamps")[3]
    differs = (np.abs(np.array(s.image).astype(int) - 128).max(-1) > 12) & (
        np.array(s.image) != 128
    ).any(-1)
    mask = s.masks((224, 224))[0].numpy()
    assert (differs & ~mask).sum() < 0.25 * mask.sum()  # the soft border of the alpha channel
    x = conse.image.transform(s.image)
    assert x.shape == (3, 224, 224)
    assert torch.allclose(
        x[:, 0, 0], x[:, -1, -1]
    )  # grey in the corners: nothing was cut or shifted


def test_novel_scenes_show_only_novel_stamps_and_ids_restrict(stamps):
    novel = {s.things[0].caption for s in load_dataset("stamps", split="novel")}
    assert {
        t.caption for s in load_dataset("scenes", split="novel", n=6) for t in s.things
    } <= novel
    ids = [s.id for s in load_dataset("stamps")[:3]]
    captions = {s.things[0].caption for s in load_dataset("stamps")}
    some = load_dataset(
        "scenes", n=4, objects=2, stamps=[s.id for s in load_dataset("stamps")[40:50]]
    )
    assert all(len(s.things) == 2 and {t.caption for t in s.things} <= captions for s in some)
    with pytest.raises(ValueError, match="stamps not in the split"):
        load_dataset("scenes", split="novel", stamps=ids)


def test_recognised_stamps_are_the_ones_a_model_names(stamps, conse):
    known = recognised(conse, top=5)
    assert 60 < len(known) < len(stamps)
    assert set(recognised(conse, top=1)) <= set(known)
    texts, shown = (
        sorted({s.things[0].caption for s in [*stamps, *load_dataset("stamps", split="novel")]}),
        stamps[:12],
    )
    similar = (
        conse.encode_image(torch.stack([conse.image.transform(s.image) for s in shown]))
        @ conse.encode_text(texts).T
    )
    for s, row in zip(shown, similar):  # unit vectors
        assert (s.id in known) == (s.things[0].caption in [texts[k] for k in row.topk(5).indices])


def test_what_a_model_recognises_is_kept_for_that_model_only(stamps, conse, monkeypatch):
    known = recognised(conse)
    monkeypatch.setattr(sys.modules["xai_utils.data.recognised"], "ranks", lambda *_: 1 / 0)
    assert recognised(conse) == known
    whole = conse.image.whole
    other = replace(conse, image=replace(conse.image, parts=None, whole=lambda x: whole(x.flip(3))))
    with pytest.raises(ZeroDivisionError):  # another model, so it is asked
        recognised(other)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (dict(name="coco2014"), "name must be one of photos.*got 'coco2014'"),
        (dict(name=3), "name must be one of"),
        (dict(name="photos", split="val"), "split must be .train.*got 'val'"),
        (dict(name="photos", split="train"), "only the split"),
        (dict(name="photos", n=0), "n must be an integer"),
        (dict(name="photos", n=True), "n must be an integer"),
        (dict(name="photos", n=2.0), "n must be an integer"),
        (dict(name="scenes", seed=-1), "seed must be"),
        (dict(name="scenes", seed=2**32), "seed must be"),
        (dict(name="scenes", seed=True), "seed must be"),
        (dict(name="scenes", objects=5), "objects must be"),
        (dict(name="scenes", objects=2.0), "objects must be"),
        (dict(name="scenes", objects=True), "objects must be"),
        (dict(name="photos", objects=2), "photos takes no objects"),
        (dict(name="scenes", object=2), "scenes takes no object"),
        (dict(name="scenes", stamps=[3]), "stamps not in the split 'test': 3"),
        (dict(name="copies", stamps=[]), "stamps is an empty list"),
    ],
)
def test_bad_arguments(stamps, args, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(**args)


def test_ids_of_stamps_are_a_list(stamps):
    with pytest.raises(TypeError, match="stamps must be a list of ids, got 'zebra'"):
        load_dataset("scenes", stamps="zebra")


def test_numpy_integers_are_integers(stamps):
    some = load_dataset("scenes", n=np.int64(2), seed=np.uint32(3), objects=np.int8(2))
    same = load_dataset("scenes", n=2, seed=3, objects=2)
    assert [s.id for s in some] == [s.id for s in same]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(some, same))
    assert some[np.int64(1)].id == same[1].id


def test_out_of_range_is_an_index_error():
    with pytest.raises(IndexError, match="has 9 samples"):
        load_dataset("photos", n=9)[9]
    with pytest.raises(TypeError, match="index of photos must be an integer or a slice, got 1.0"):
        load_dataset("photos")[1.0]


def fill(folder: Path):
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_cache_is_noticed_and_rebuilt(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    builds = []

    def build(folder):
        builds.append(1)
        fill(folder)

    folder = prepared("thing-1", build)
    prepared("thing-1", build)
    assert len(builds) == 1
    if damage == "truncate":
        (folder / "b.txt").write_text("tw")
    elif damage == "delete":
        (folder / "a.txt").unlink()
    else:
        (folder / MANIFEST).write_text(json.dumps({})[:1])
    prepared("thing-1", build)
    assert len(builds) == 2
    assert (folder / "b.txt").read_text() == "two"


@pytest.mark.slow
def test_a_build_that_is_killed_leaves_nothing_behind_that_counts(tmp_path, monkeypatch):
    code = """
import os, signal, xai_utils.data.cache as c
def build(folder):
    (folder / "a.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
c.prepared("thing-1", build)
"""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not (tmp_path / "thing-1").exists()
    left = [p.name for p in tmp_path.glob("*.part-*")]
    assert len(left) == 1
    own = ["thing-1.part-mine", "thing-10.part-00000000", "thing-1.part-00000000"]
    for name in own:  # not of a build of thing-1, by name or by what they hold
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    (tmp_path / "thing-1.part-abcdefgh").mkdir()  # as builds once named theirs
    (tmp_path / "thing-1.part-abcdefgh" / "whole").mkdir()
    living = tmp_path / f"thing-1.part-{os.getpid()}-abcdefgh"
    living.mkdir()
    assert (prepared("thing-1", fill) / "a.txt").read_text() == "one"
    found = sorted(p.name for p in tmp_path.iterdir())
    assert found == sorted([*own, living.name, "thing-1", "thing-1.lock"])
    assert all((tmp_path / name / "notes.txt").read_text() == "mine" for name in own)


@pytest.mark.slow
def test_two_builds_at_once_are_one_build(tmp_path, monkeypatch):
    code = """
import time, xai_utils.data.cache as c
def build(folder):
    print("building", flush=True)
    time.sleep(1)
    (folder / "a.txt").write_text("theirs")
c.prepared("thing-1", build)
"""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "building\n"
    assert (prepared("thing-1", fill) / "a.txt").read_text() == "theirs"
    assert other.wait() == 0


def test_nothing_of_somebody_else_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    (tmp_path / "thing-2").mkdir()
    (tmp_path / "thing-2" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="thing-2 was not built by this kit.*move it away"):
        prepared("thing-2", fill)
    folder = prepared("thing-1", fill)
    (folder / "mine.txt").write_text("mine")
    assert prepared("thing-1", None) == folder  # it is no damage
    (folder / "a.txt").unlink()
    with pytest.raises(ValueError, match="damaged.*because mine.txt in it is not the kit's"):
        prepared("thing-1", fill)
    for name in ("thing-1", "thing-2"):
        assert (tmp_path / name / "mine.txt").read_text() == "mine"


def test_an_intact_cache_on_a_disk_that_cannot_be_written_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    folder = prepared("thing-1", fill)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    real = os.open

    def open_to_read(path, flags, *args, **kwargs):
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return refuse() if writes else real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_to_read)  # of lock and temporary files
    for name in ("mkdir", "rename", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    assert prepared("thing-1", fill) == folder
    with pytest.raises(ValueError, match="cannot write to the cache folder .*Read-only file"):
        prepared("thing-2", fill)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match="cannot write to the cache folder .*set XAI_CACHE"):
        prepared("thing-1", fill)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    stamps_module.read_table.cache_clear()
    yield tmp_path
    stamps_module.read_table.cache_clear()


def test_without_apt_stamps_say_what_to_do_and_photos_work(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    monkeypatch.delenv("XAI_STAMPS", raising=False)
    with pytest.raises(DataMissing, match="no apt-get here.*photos work without.*XAI_STAMPS"):
        load_dataset("scenes")
    assert len(load_dataset("photos", n=9)[:]) == 9


@pytest.mark.parametrize("what", ["nothing", "truncated.deb", "empty folder"])
def test_a_bad_stamps_source_is_named(empty_cache, monkeypatch, what):
    target = empty_cache / what
    if what == "truncated.deb":
        target.write_bytes(
            b"!<arch>\ndebian-binary   1342943816  0     0     100644  4         `\n2.0\n"
        )
    elif what == "empty folder":
        target.mkdir()
    monkeypatch.setenv("XAI_STAMPS", str(target))
    wanted = {
        "nothing": "neither a folder nor",
        "truncated.deb": "damaged or cut short",
        "empty folder": "only 0 stamps",
    }
    with pytest.raises(DataMissing, match=wanted[what]):
        load_dataset("stamps")


@pytest.mark.parametrize(
    ("line", "caption"),
    [
        ("A frog.", "a frog"),
        ("A peacock (a male peafowl).", "a peacock"),
        ("An orange, also called round.", "an orange"),
        ("A “Fuji” apple.", "a Fuji apple"),
        ("Boom!!!", ""),
        ("", ""),
    ],
)
def test_captions(tmp_path, line, caption):
    (tmp_path / "x.txt").write_text(line + "\nmore", encoding="utf-8")
    assert stamps_module.read_caption(tmp_path / "x.png") == caption


def test_confident_takes_the_first_pictures_that_a_classifier_is_sure_of(classifier):
    photos = load_dataset("photos", n=9)
    some = confident(classifier, photos, 3, least=0.3)
    with torch.no_grad():
        sure = [
            s.id
            for s in photos
            if classifier.head(classifier(classifier.transform(s.image)[None])).softmax(1).max()
            >= 0.3
        ]
    assert [s.id for s in some] == sure[:3]
    assert confident(classifier, photos, 0, least=0.3) == []
    assert confident(classifier, photos[:2], 5, least=1.0) == []  # none of them

    def unread():
        yield photos[0]
        raise AssertionError("one picture was enough")

    assert [s.id for s in confident(classifier, unread(), 1, least=0.0)] == [photos[0].id]
    with pytest.raises(ValueError, match="no classifier head"):
        confident(replace(classifier, head=None), photos, 1, least=0.3)
    with pytest.raises(ValueError, match="n must be an integer of at least 0"):
        confident(classifier, photos, -1, least=0.3)


def test_a_sample_that_cannot_be_read_is_passed_over(classifier):
    photos = load_dataset("photos", n=3)

    def make(i):
        if i == 1:
            raise SampleError("number 1 is cut short")
        return photos[i]

    damaged, whole = Dataset("damaged", 3, make), [photos[0].id, photos[2].id]
    with pytest.warns(UserWarning, match="left out: number 1 is cut short"):
        assert [s.id for s in readable(damaged)] == whole
    with pytest.warns(UserWarning, match="number 1"):
        assert [s.id for s in confident(classifier, damaged, 2, least=0.0)] == whole
    assert next(readable(iter([3]))) == 3  # what is no Dataset holds samples already


def square(at: int, colour: str, exact: bool = True) -> Sample:
    """A square of 20 pixels on black, 100 x 80."""
    image, box = Image.new("RGB", (100, 80)), (at, at, at + 20, at + 20)
    image.paste(colour, box)
    mask = np.zeros((80, 100), bool)
    mask[at : at + 20, at : at + 20] = True
    return Sample(
        f"{colour} {at}",
        image,
        f"a {colour} square",
        (Thing(colour, box, mask if exact else None),),
    )


def test_a_planted_item_lies_in_the_freest_corner_and_its_mask_is_its_pixels():
    sample, item = square(8, "blue"), square(40, "red")
    planted = plant(sample, item, side=10)
    pixels = np.array(planted.image)
    assert [t.caption for t in planted.things] == ["red", "blue"]
    assert np.array_equal(planted.things[0].mask, (pixels == (255, 0, 0)).all(-1))
    assert planted.things[0].mask.sum() == 100
    assert np.array_equal(planted.things[1].mask, sample.things[0].mask)  # nothing of it is hidden
    assert planted.source == sample.id
    assert np.array(sample.image).max(0).max(0).tolist() == [0, 0, 255]  # as it was
    wide = plant(sample, item, side=72)  # hides a part of it in every corner
    assert not (wide.things[0].mask & wide.things[1].mask).any()
    assert 0 < wide.things[1].mask.sum() < 400
    with pytest.raises(ValueError, match="side must lie in 1..72"):
        plant(sample, item, side=73)
    for side in (0, 10.5, True):
        with pytest.raises(ValueError, match="side must be an integer of at least 1"):
            plant(sample, item, side=side)
    with pytest.raises(TypeError, match="item must be a Sample, got Image"):
        plant(sample, item.image)
    with pytest.raises(ValueError, match="exact mask"):
        plant(sample, square(40, "red", exact=False))


def test_clips_follow_from_their_seed_and_their_sounds_do_not_overlap():
    kinds = [[k] for k in range(sounds.KINDS)] + [[0, 11]]
    x, places = sounds.clips(kinds, seed=3)
    assert x.shape == (13, 3, 64, 128)
    assert places.shape == (13, 2, 64, 128)
    assert torch.equal(x[12:], sounds.clips(kinds[12:], seed=3, first=12)[0])
    assert not torch.equal(x[:1], sounds.clips(kinds[:1], seed=4)[0])
    assert places[:12, 0].flatten(1).any(1).all()
    assert not places[:12, 1].any()
    first, second = (p.any(0).nonzero().flatten() for p in places[12])
    assert first.max() < second.min() + 2  # one after the other
    assert x[12, 0][places[12, 0]].mean() > x[12, 0][~places[12].any(0)].mean() + 0.5


@pytest.mark.parametrize("kind", [0, 4, 8])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(kind):
    wave = np.pad(sounds.sound(kind, np.random.default_rng(0)), (0, sounds.LENGTH))
    band = int(sounds.mel_power([wave[: sounds.LENGTH]])[0].sum(1).argmax())
    hertz = torch.fft.rfftfreq(sounds.WINDOW, 1 / sounds.RATE)[sounds.mel_bands()[band].argmax()]
    assert 0.85 < hertz / sounds.PITCHES[kind // 4] < 1.15


def test_bad_sounds_are_named():
    with pytest.raises(ValueError, match="kind must be an integer from 0 to 11"):
        sounds.sound(12, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one or two sounds, got 3"):
        sounds.clip([1, 2, 3], np.random.default_rng(0))
