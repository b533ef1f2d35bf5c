import json

import pytest
from painted import check_drawing, check_one_fails, number, picture, told, write

from xai_utils.data import DataMissing, SampleError, load_dataset

NAMES = [f"{scene}_{k}.jpg" for k, scene in enumerate(["airport", "beach", "00", "viaduct"] * 3)]
SPLITS = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
FILE = "rsicd/dataset_rsicd.json"


def said(k: int, j: int) -> str:
    return f"many planes are parked near terminal {k} , told {j} ."


def entries() -> list[dict]:
    return [
        {
            "filename": name,
            "imgid": k,
            "sentences": [
                {"tokens": said(k, j).split(), "raw": said(k, j), "imgid": k, "sentid": 5 * k + j}
                for j in range(5)
            ],
            "split": SPLITS[k],
            "sentids": [5 * k + j for j in range(5)],
        }
        for k, name in enumerate(NAMES)
    ]


def described(images) -> str:
    return json.dumps({"images": images, "dataset": "rsicd"})


@pytest.fixture
def rsicd(tmp_path):
    for k, name in enumerate(NAMES):
        write(tmp_path / "rsicd/RSICD_images" / name, picture(k))
    write(tmp_path / FILE, described(entries()))
    return tmp_path


@pytest.mark.parametrize("folder", ["", "annotations_rsicd/"])
def test_rsicd_in_every_field(folder, rsicd):
    (rsicd / "rsicd/annotations_rsicd").mkdir()
    (rsicd / FILE).rename(rsicd / f"rsicd/{folder}dataset_rsicd.json")
    for split in ("train", "val", "test"):
        own = [k for k in range(12) if SPLITS[k] == split]
        dataset = load_dataset("rsicd", split=split, root=rsicd)
        assert told(dataset) == {NAMES[k]: (k, said(k, 0)) for k in own}
        for sample in dataset:
            assert sample.captions == tuple(said(number(sample), j) for j in range(5))
            assert sample.things == () and sample.source is None and sample.matched
            assert sample.label is None and sample.grade is None
    assert load_dataset("rsicd", root=rsicd).name == "rsicd/test"


def test_rsicd_is_drawn_and_pickled(rsicd):
    check_drawing("rsicd", rsicd)


def test_each_caption_and_the_seeded_one(rsicd):
    every = load_dataset("rsicd", captions="all", root=rsicd)
    assert told(every) == {
        f"{NAMES[k]}#{j}": (k, said(k, j)) for k in (9, 10, 11) for j in range(5)
    }
    for seed in range(5):
        for sample in load_dataset("rsicd", captions="seeded", seed=seed, root=rsicd):
            assert sample.caption in sample.captions and sample.source is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(filename="../a.jpg"), "is no path below"),
        (dict(filename="/data/a.jpg"), "is no path below"),
        (dict(filename="..\\a.jpg"), "is no path below"),
        (dict(filename="airport_99.jpg"), "there is no picture"),
        (dict(filename="a\0.jpg"), "is no path below"),
        (dict(filename=None), "None"),
        (dict(sentences=[]), "is empty"),
        (dict(sentences=[{"raw": ""}, {"raw": " "}]), "is empty"),
        (dict(sentences=[{"raw": "a \udce9"}]), "is not UTF-8"),
    ],
)
def test_a_damaged_entry_costs_one_sample(change, message, rsicd):
    images = entries()
    images[10] |= change
    text = json.dumps({"images": images}, ensure_ascii=False)
    (rsicd / FILE).write_bytes(text.encode(errors="surrogateescape"))
    check_one_fails(load_dataset("rsicd", root=rsicd), 1, message)


@pytest.mark.parametrize("data", [None, b"", b"II*\0", picture(10)[:-150]])
def test_a_damaged_picture_costs_one_sample(data, rsicd):
    path = rsicd / "rsicd/RSICD_images" / NAMES[10]
    path.unlink()
    if data is not None:
        write(path, data)
    check_one_fails(load_dataset("rsicd", root=rsicd), 1, NAMES[10].replace(".", r"\."))


@pytest.mark.parametrize(
    "text", ["", described(entries())[:-200], "3", '{"images": [{"filename": "a.jpg"}]}']
)
def test_damaged_json_is_one_error_with_its_name(text, rsicd):
    write(rsicd / FILE, text)
    with pytest.raises(ValueError, match="dataset_rsicd.json") as error:
        load_dataset("rsicd", root=rsicd)
    assert not isinstance(error.value, SampleError)


def test_a_missing_file_is_named(rsicd):
    (rsicd / FILE).unlink()
    with pytest.raises(
        DataMissing, match="dataset_rsicd.json or annotations_rsicd/.*RSICD_optimal"
    ):
        load_dataset("rsicd", root=rsicd)
    (rsicd / "rsicd/RSICD_images").rename(rsicd / "rsicd/images")
    with pytest.raises(DataMissing, match="for RSICD_images"):
        load_dataset("rsicd", root=rsicd)


def test_a_split_without_samples_is_an_error(rsicd):
    write(rsicd / FILE, described(entries()[:6]))
    with pytest.raises(ValueError, match="RSICD has no samples of the split 'test'"):
        load_dataset("rsicd", root=rsicd)
