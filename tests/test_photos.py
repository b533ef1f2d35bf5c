import gzip
import itertools
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from xai_utils.data import lacks, load_dataset
from xai_utils.data import photos as photos_module
from xai_utils.data.photos import PACKAGE, SHIPPED, photos, table
from xai_utils.outlines import filled

ALWAYS = [
    *("chelsea", "coffee", "astronaut", "motorcycle", "rocket"),
    *("cameraman", "china", "flower", "admiral"),
]
THINGS = [
    pytest.param(row, thing, id=f"{row['id']}-{thing['caption']}")
    for row in table()
    for thing in row["things"]
]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def package(empty_cache, monkeypatch):
    """A folder like the unpacked package, with grey pictures of the right sizes."""
    folder = empty_cache / "doc" / PACKAGE
    for row in table()[SHIPPED:]:
        file = folder / row["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", row["size"], "grey").save(file)
    monkeypatch.setenv("XAI_OPENCV", str(empty_cache / "doc"))
    return folder


def test_the_first_nine_stay_first_and_the_others_keep_their_order():
    ids = [row["id"] for row in table()]
    assert ids[:SHIPPED] == ALWAYS
    assert len(ids) == len(set(ids)) == 33
    assert ids[SHIPPED:12] == ["dog", "squirrel", "robin"]
    assert [s.id for s in load_dataset("photos", n=5)] == ids[:5]


def test_photos_have_captions_and_places_inside_the_picture():
    for s in load_dataset("photos"):
        assert s.image.mode == "RGB"
        assert s.caption
        assert s.label is None or 0 <= s.label < 1000
        for t in s.things:
            left, top, right, bottom = t.box
            assert 0 <= left < right <= s.image.width
            assert 0 <= top < bottom <= s.image.height
        masks = s.masks((224, 224))
        assert masks.shape == (len(s.things), 224, 224)
        assert (masks.float().mean((1, 2)) > 0.01).all()  # the middle that an encoder sees
        assert s.picture((224, 224)).size == (224, 224)


@pytest.mark.parametrize(("row", "thing"), THINGS)
def test_an_outline_lies_in_its_picture_and_does_not_cross_itself(row, thing):
    size = row.get("size") or load_dataset("photos", n=SHIPPED)[ALWAYS.index(row["id"])].image.size
    for polygon in thing["polygons"]:
        points = np.array(polygon).reshape(-1, 2)  # (n, 2)
        assert (points >= 0).all()
        assert (points <= size).all()
        sides = list(zip(points, np.roll(points, -1, 0)))
        assert not any(crossing(*a, *b) for a, b in itertools.combinations(sides, 2))
    share = filled(thing["polygons"], tuple(size[::-1])).mean()
    assert 0.01 <= share <= 0.95


def crossing(a, b, c, d) -> bool:
    """Whether the line from a to b and that from c to d meet in a point that is an end of none."""

    def side(p, q, r):
        return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def test_lines_that_cross():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]])
    assert crossing(square[0], square[2], square[1], square[3])
    assert not crossing(square[0], square[1], square[1], square[2])
    assert not crossing(square[0], square[1], square[2], square[3])


def test_nobody_looks_for_the_package_who_asks_for_nine(monkeypatch):
    def refuse(*_):
        raise AssertionError("the package was looked for")

    monkeypatch.setattr(photos_module, "prepared", refuse)
    assert [s.id for s in load_dataset("photos", n=9)] == ALWAYS
    every = load_dataset("photos")
    assert every[np.int64(8)].id == "admiral"
    assert [s.id for s in every[:9]] == ALWAYS
    assert [s.id for s in every[7:2:-2]] == ALWAYS[7:2:-2]
    assert [s.id for s in every[2:5]] == ALWAYS[2:5]
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="index of photos must be an integer or a slice"):
            every[wrong]
    assert lacks("photos") == ""
    with pytest.raises(AssertionError, match="looked for"):
        every[:10]


@pytest.mark.parametrize("n", [None, 20])
@pytest.mark.parametrize("lacking", ["apt-get", "folder"])
def test_without_the_package_there_are_nine_and_one_warning(empty_cache, monkeypatch, n, lacking):
    if lacking == "apt-get":
        monkeypatch.delenv("XAI_OPENCV", raising=False)
        monkeypatch.setenv("PATH", str(empty_cache))
        wanted = (
            "no apt-get here to fetch opencv-doc: the first 9 photos work without; .*XAI_OPENCV"
        )
    else:
        monkeypatch.setenv("XAI_OPENCV", str(empty_cache / "nothing"))
        wanted = "XAI_OPENCV names .*nothing, which is neither a folder nor a .deb"
    few = load_dataset("photos", n=n)
    with pytest.warns(UserWarning, match=f"^9 photos instead of {n or 33}: .*{wanted}") as told:
        assert len(few) == 9
        assert [s.id for s in few] == [s.id for s in few[:]] == ALWAYS
        assert few[-1].id == "admiral"
        with pytest.raises(IndexError, match="photos has 9 samples, asked for 9"):
            few[9]
    assert len(told) == 1


def test_the_package_is_asked_for_once(empty_cache, monkeypatch):
    asked = []
    monkeypatch.setenv("XAI_OPENCV", str(empty_cache / "nothing"))
    real = photos_module.unpacked
    monkeypatch.setattr(photos_module, "unpacked", lambda *a: [asked.append(1), real(*a)][1])
    for _ in range(2):
        with pytest.warns(UserWarning, match="neither a folder"):
            assert len(load_dataset("photos")) == 9
    assert len(asked) == 1


def test_the_packages_pictures_are_kept_and_mended(package):
    with warnings.catch_warnings(action="error"):
        every = load_dataset("photos")
        assert repr(every) == "Dataset('photos', n=33)"
        assert [s.id for s in pickle.loads(pickle.dumps(every))] == [r["id"] for r in table()]
        assert len(photos("test", 0, 12)) == len(photos("test", 0, 50)[:12]) == 12
    kept = package.parents[1] / "cache/photos-1"
    assert len(list(kept.glob("*.*g"))) == 24
    (kept / "apple.jpg").write_bytes(b"cut short")
    (kept / "town.jpg").unlink()
    assert load_dataset("photos")[14].image.getpixel((0, 0)) == (128, 128, 128)
    assert load_dataset("photos")[-1].image.size == (640, 480)


def test_large_pictures_are_scaled_and_packed_ones_unpacked(package):
    Image.new("RGB", (1280, 960), "red").save(package / "examples/data/leuvenA.jpg")
    toys = package / "examples/data/rubberwhale1.png"
    toys.with_name(f"{toys.name}.gz").write_bytes(gzip.compress(toys.read_bytes()))
    toys.unlink()
    found = {s.id: s for s in load_dataset("photos")}
    assert found["street"].image.size == (640, 480)
    assert found["street"].image.getpixel((9, 9))[0] > 250
    assert found["toys"].image.size == (584, 388)


@pytest.mark.parametrize("what", ["missing", "another", "damaged"])
def test_what_is_wrong_with_a_package_is_said(package, what):
    apple = package / "examples/data/apple.jpg"
    apple.unlink()
    if what == "another":
        Image.new("RGB", (512, 500)).save(apple)
    elif what == "damaged":
        apple.write_bytes(b"no picture")
    wanted = {
        "missing": "no examples/data/apple.jpg under .*XAI_OPENCV must name the unpacked",
        "another": "apple.jpg is 512 x 500 pixels and not the picture whose outlines are known",
        "damaged": "apple.jpg.* cannot be read as a picture",
    }
    with pytest.warns(UserWarning, match=wanted[what]):
        assert len(load_dataset("photos")) == 9
