"""What all data sets of others share: where they lie, what is said of a missing one, which samples
are drawn, and what a damaged sample costs."""

import pickle
from pathlib import Path

import pytest
from PIL import Image

import xai_utils as xu
from tools.data_page import FILE, page
from xai_utils.data import DATASETS, SOURCES, DataMissing, SampleError, lacks, load_dataset
from xai_utils.data.distributed import Row, below, drawn, lines
from xai_utils.methods import random_map

AWAY = ["../a.jpg", "b/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg", "", " ", "a\0.jpg"]
NAMES = ("flag.jpg", "dune.jpg", "bird.jpg", "door.jpg")


@pytest.fixture
def encoder(small):
    return xu.wrap(small, image_size=32)


@pytest.fixture
def flickr(tmp_path):
    """Flickr8k's layout with four pictures, five captions each, all of them in the test split."""
    home = tmp_path / "flickr8k"
    pictures, text = home / "Flickr8k_Dataset", home / "Flickr8k_text"
    pictures.mkdir(parents=True)
    text.mkdir()
    for k, name in enumerate(NAMES):
        Image.new("RGB", (40 + k, 30), (60 * k, 90, 200 - 50 * k)).save(pictures / name)
    captions = [f"{name}#{k}\ta {name[:4]} , told {k}\n" for name in NAMES for k in range(5)]
    (text / "Flickr8k.token.txt").write_text("".join(captions))
    (text / "Flickr_8k.testImages.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return tmp_path


def test_a_set_is_found_by_its_own_folder_its_parent_and_xai_data(flickr, monkeypatch):
    by_parent = load_dataset("flickr8k", root=flickr)
    by_folder = load_dataset("flickr8k", root=str(flickr / "flickr8k"))
    monkeypatch.setenv("XAI_DATA", str(flickr))
    by_variable = load_dataset("flickr8k")
    for dataset in (by_parent, by_folder, by_variable):
        assert dataset.name == "flickr8k/test"
        assert [s.id for s in dataset] == list(NAMES)
    assert lacks("flickr8k") == lacks("flickr8k", flickr) == ""
    assert lacks("photos") == ""


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_missing_set_says_what_was_looked_for_and_where_it_is_had(name, tmp_path, monkeypatch):
    source = SOURCES[name]
    monkeypatch.delenv("XAI_DATA", raising=False)
    with pytest.raises(DataMissing, match=f"XAI_DATA is not set.*XAI_DATA/{name}"):
        load_dataset(name)
    monkeypatch.setenv("XAI_DATA", str(tmp_path))
    for split in source.splits:
        with pytest.raises(DataMissing) as missing:
            load_dataset(name, split=split)
        said = str(missing.value)
        assert said.startswith(f"{source.title}: looked in {tmp_path / name} (there is no such")
        assert source.where in said and source.terms in said
    assert lacks(f"{name}/{source.splits[-1]}") == said
    assert lacks(name).startswith(source.title)
    (tmp_path / name).mkdir()
    with pytest.raises(DataMissing, match=f"looked in {tmp_path / name} for "):
        load_dataset(name)


def test_a_relative_xai_data_counts_from_the_working_folder(flickr, monkeypatch):
    monkeypatch.chdir(flickr.parent)
    monkeypatch.setenv("XAI_DATA", flickr.name)
    dataset = load_dataset("flickr8k")
    monkeypatch.chdir("/")
    assert dataset[0].id == "flag.jpg"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (dict(name="flickr9k"), "name must be one of photos, .*flickr8k"),
        (dict(name="flickr8k", split="novel"), "split must be one of test, train, dev"),
        (dict(name="flickr8k/novel"), "split must be one of test, train, dev"),
        (dict(name="flickr8k/dev", split="test"), "split is 'test', and the name says 'dev'"),
        (dict(name="flickr8k", n=0), "n must be"),
        (dict(name="flickr8k", n=2.5), "n must be"),
        (dict(name="flickr8k", seed=-1), "seed must be"),
        (dict(name="flickr8k", objects=2), "flickr8k takes no objects"),
        (dict(name="flickr8k", captions="last"), 'captions must be "first", "seeded" or "all"'),
        (dict(name="photos", captions="all"), "photos takes no captions"),
        (dict(name="photos", root="."), "photos takes no root"),
    ],
)
def test_a_wrong_argument_is_named(args, message, flickr, monkeypatch):
    monkeypatch.setenv("XAI_DATA", str(flickr))
    with pytest.raises(ValueError, match=message):
        load_dataset(**args)


@pytest.mark.parametrize("root", [3, b"x", None.__class__])
def test_a_root_that_is_no_path_is_refused(root):
    with pytest.raises((TypeError, ValueError), match="root"):
        load_dataset("flickr8k", root=root)


def test_fewer_samples_are_the_beginning_of_more_and_follow_from_the_seed(flickr):
    every = [s.id for s in load_dataset("flickr8k", root=flickr)]
    some = [[s.id for s in load_dataset("flickr8k", root=flickr, n=n, seed=3)] for n in (1, 3, 9)]
    assert every == list(NAMES)
    assert some[2][:1] == some[0] and some[2][:3] == some[1]
    assert sorted(some[2]) == sorted(every)
    orders = {tuple(drawn(4, 4, seed)) for seed in range(9)}
    assert len(orders) > 4
    assert drawn(5, None, 7) == [0, 1, 2, 3, 4]


def test_the_choice_among_captions_is_named(flickr):
    first = load_dataset("flickr8k", root=flickr)[1]
    told = tuple(f"a dune , told {k}" for k in range(5))
    assert first.caption == told[0] and first.captions == told and first.source is None
    seeds = [load_dataset("flickr8k", root=flickr, captions="seeded", seed=s)[1] for s in range(12)]
    again = load_dataset("flickr8k", root=flickr, captions="seeded", seed=5)[1]
    assert again.caption == seeds[5].caption
    assert {s.caption for s in seeds} <= set(told) and len({s.caption for s in seeds}) > 2
    assert all(s.id == "dune.jpg" and s.captions == told for s in seeds)
    every = load_dataset("flickr8k", root=flickr, captions="all")
    assert len(every) == 20
    assert [s.caption for s in every[5:10]] == list(told)
    assert [s.id for s in every[5:7]] == ["dune.jpg#0", "dune.jpg#1"]
    assert {s.source for s in every[5:10]} == {"dune.jpg"}
    assert len(load_dataset("flickr8k", root=flickr, captions="all", n=7)) == 7


def test_pictures_are_opened_when_a_sample_is_asked_for(flickr, monkeypatch):
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda file, *a: opened.append(file) or real(file, *a))
    dataset = load_dataset("flickr8k", root=flickr)
    assert not opened
    assert dataset[2].image.size == (42, 30)
    assert [Path(file).name for file in opened] == ["bird.jpg"]
    assert pickle.loads(pickle.dumps(dataset))[3].caption == dataset[3].caption


def damage(flickr, kind):
    picture = flickr / "flickr8k/Flickr8k_Dataset/dune.jpg"
    if kind == "gone":
        picture.unlink()
    elif kind == "cut":
        picture.write_bytes(picture.read_bytes()[:300])
    elif kind == "empty":
        picture.write_bytes(b"")
    elif kind == "folder":
        picture.unlink()
        picture.mkdir()
    elif kind == "other encoding":
        file = flickr / "flickr8k/Flickr8k_text/Flickr8k.token.txt"
        file.write_bytes(file.read_bytes().replace(b"a dune , told 0", b"a d\xfcne , told 0"))
    elif kind == "no caption":
        file = flickr / "flickr8k/Flickr8k_text/Flickr8k.token.txt"
        kept = [line for line in file.read_text().splitlines(True) if "dune" not in line]
        file.write_text("".join(kept))


DAMAGE = ("gone", "cut", "empty", "folder", "other encoding", "no caption")


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_sample_costs_one_sample(kind, flickr, encoder, tmp_path):
    damage(flickr, kind)
    dataset = load_dataset("flickr8k", root=flickr)
    assert len(dataset) == 4
    with pytest.raises(SampleError, match="dune.jpg"):
        dataset[1]
    assert [dataset[i].id for i in (0, 2, 3)] == ["flag.jpg", "bird.jpg", "door.jpg"]
    with pytest.warns(UserWarning, match="1 of 4 samples of flickr8k/test are left out: .*dune"):
        cases = xu.cases(encoder, dataset, target="self")
    assert cases.clusters == ["flag.jpg", "bird.jpg", "door.jpg"]
    out, metrics = tmp_path / "out", {"mean": mean}
    table = xu.evaluate({"random": random_map}, encoder, dataset, metrics, out=out, target="self")
    assert (table.error != "").tolist() == [False, True, False, False]
    assert "dune.jpg" in table.error[1]


def mean(encoder, inputs, targets, map):
    """A metric that every map has."""
    return map.mean((1, 2))


def test_a_set_of_which_no_sample_can_be_read_is_an_error(flickr, encoder):
    for name in NAMES:
        (flickr / "flickr8k/Flickr8k_Dataset" / name).write_bytes(b"no picture")
    with pytest.raises(SampleError, match="4 of 4 samples"):
        xu.cases(encoder, load_dataset("flickr8k", root=flickr), target="self")


@pytest.mark.parametrize("name", AWAY)
def test_a_name_that_leaves_its_folder_is_never_opened(name, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg")
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(ValueError, match="is no path below"):
        below(folder, name)
    with pytest.raises(SampleError, match="is no path below"):
        Row("a", folder, name, ("a caption",)).sample()


def test_names_with_dots_and_folders_stay_below():
    assert below(Path("p"), "train/a..b.jpg") == Path("p/train/a..b.jpg")
    assert below(Path("p"), "./a.jpg") == Path("p/a.jpg")


def test_lines_know_byte_order_marks_and_keep_what_is_not_utf8(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_bytes("\ufeffa café\nb".encode() + b"\xe9\n")
    assert lines(file) == ["a café", "b\udce9", ""]
    row = Row("b", tmp_path, "b.jpg", (lines(file)[1],))
    with pytest.raises(SampleError, match="a caption of 'b' is not UTF-8"):
        row.sample()


def test_docs_show_every_set_as_its_reader_does():
    assert FILE.read_text(encoding="utf-8") == page(), "run python -m tools.data_page"


def test_every_source_is_described():
    assert set(SOURCES) <= set(DATASETS)
    for name, source in SOURCES.items():
        assert source.name == name and source.title and source.where and source.terms
        assert len(set(source.splits)) == len(source.splits) > 0
