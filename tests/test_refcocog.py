"""RefCOCOg's reader, for the pickle of its authors and for the hub's shards."""

import contextlib
import io
import json
import os
import pickle

import numpy as np
import psutil
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from pycocotools.coco import COCO

from xai_utils.data import DataMissing, SampleError, lacks, load_dataset
from xai_utils.data.refcocog import plain

HEIGHT, WIDTH = 40, 60
REFS = [  # id, object, picture, split, sentences
    (0, 900, 11, "val", ["the dog on the left", "a small dog"]),
    (1, 901, 11, "val", ["the dog on the right"]),
    (2, 902, 12, "val", ["a crowd of people", "people, far away", "the people"]),
    (3, 903, 13, "val", ["a woman with a caf\u00e9 cr\u00e8me"]),
    (4, 904, 14, "test", ["the cup"]),
    (5, 905, 15, "test", ["the red cup", "the cup that is red"]),
    *((6 + k, 906 + k, 16 + k, "train", [f"person {k}"]) for k in range(6)),
]
PLACES = {
    900: ([3.2, 4.7, 10.1, 9.9], [[3.2, 4.7, 13.3, 4.7, 13.3, 14.6, 3.2, 14.6]]),
    901: ([30, 20, 12.5, 8], [[30, 20, 35, 20, 35, 28, 30, 28], [38, 20, 42.5, 28, 38, 28]]),
    902: ([5, 0, 20, 40], {"counts": [200, 800, 1400], "size": [40, 60]}),
}
ANYWHERE = ([20.1, 9.9, 5.1, 19.9], [[20.1, 9.9, 25.2, 9.9, 22.5, 29.8]])


def picture(id: int) -> Image.Image:
    values = np.random.default_rng(id).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(values)


def jpeg(id: int, **options) -> bytes:
    file = io.BytesIO()
    picture(id).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def references() -> list[dict]:
    sentence = dict(tokens=["a"], sent_id=1)
    return [
        dict(
            sent_ids=[1],
            file_name=f"COCO_train2014_{image:012d}_{ann}.jpg",  # no file has this name
            ann_id=ann,
            ref_id=id,
            image_id=image,
            split=split,
            category_id=ann % 3,
            sentences=[sentence | dict(raw=s.title(), sent=s) for s in sentences],
        )
        for id, ann, image, split, sentences in REFS
    ]


def instances() -> dict:
    images = sorted({image for _, _, image, _, _ in REFS})
    annotations = []
    for _, ann, image, _, _ in REFS:
        box, place = PLACES.get(ann, ANYWHERE)
        of = dict(iscrowd=0, image_id=image, bbox=box, category_id=ann % 3, id=ann)
        annotations.append({"segmentation": place, "area": 9.5} | of)
    return dict(
        info={},
        images=[
            dict(file_name=f"COCO_train2014_{i:012d}.jpg", height=HEIGHT, width=WIDTH, id=i)
            for i in images
        ],
        annotations=annotations,
        categories=[dict(id=k, name="x") for k in range(3)],
    )


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_DATA", str(tmp_path))
    (tmp_path / "refcocog").mkdir()
    return tmp_path / "refcocog"


@pytest.fixture
def folder(root):
    pictures = root / "images" / "train2014"
    pictures.mkdir(parents=True)
    for image in instances()["images"]:
        exif = Image.Exif()
        if image["id"] == 14:
            exif[0x0112] = 8  # to be turned by a quarter
        (pictures / image["file_name"]).write_bytes(jpeg(image["id"], exif=exif))
    (root / "instances.json").write_text(json.dumps(instances()))
    (root / "refs(umd).p").write_bytes(pickle.dumps(references(), 2))
    return root


@pytest.mark.parametrize("split", ["val", "test", "train"])
def test_every_field_is_what_the_files_say(folder, split):
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(folder / "instances.json")
    dataset = load_dataset("refcocog", split=split)
    own = [ref for ref in REFS if ref[3] == split]
    assert [s.id for s in dataset] == [str(ref[0]) for ref in own]
    for s, (_, ann, image, _, sentences) in zip(dataset, own):
        assert s.caption == sentences[0]
        assert s.captions == (tuple(sentences) if len(sentences) > 1 else ())
        assert s.source == str(image)
        assert (s.label, s.matched, s.judgements) == (None, True, ())
        assert np.array_equal(s.image, Image.open(io.BytesIO(jpeg(image))))
        (thing,) = s.things
        assert thing.caption == sentences[0]
        assert np.array_equal(thing.mask, official.annToMask(official.anns[ann]))
    assert load_dataset("refcocog").name == "refcocog/val"


def test_boxes_are_rounded_outward(folder):
    boxes = [s.things[0].box for s in load_dataset("refcocog")]
    assert boxes == [(3, 4, 14, 15), (30, 20, 43, 28), (5, 0, 25, 40), (20, 9, 26, 30)]


def test_fewer_are_the_beginning_of_more(folder):
    three, six = (load_dataset("refcocog", split="train", n=n, seed=2) for n in (3, 6))
    assert [s.id for s in three] == [s.id for s in six[:3]]
    assert sorted(s.id for s in six) == ["10", "11", "6", "7", "8", "9"]
    assert [s.id for s in six] != [s.id for s in load_dataset("refcocog", split="train")]


def test_the_thing_is_called_what_the_sample_is(folder):
    every = load_dataset("refcocog", captions="all")
    assert [s.id for s in every] == ["0#0", "0#1", "1", "2#0", "2#1", "2#2", "3"]
    assert all(s.things[0].caption == s.caption for s in every)
    assert every[1].caption == "a small dog"
    assert every[1].source == "11"
    seeded = [load_dataset("refcocog", captions="seeded", seed=k)[2].caption for k in range(9)]
    assert len(set(seeded)) > 1
    assert set(seeded) <= set(REFS[2][4])


def test_other_places_of_the_files(folder):
    first = load_dataset("refcocog")[0]
    (folder / "annotations").mkdir()
    for name in ("refs(umd).p", "instances.json"):
        (folder / name).rename(folder / "annotations" / name)
    (folder.parent / "coco").mkdir()
    (folder / "images" / "train2014").rename(folder.parent / "coco" / "train2014")
    (folder / "images").rmdir()
    assert np.array_equal(load_dataset("refcocog")[0].image, first.image)


@pytest.mark.parametrize("file", ["refs(umd).p", "instances.json", "images"])
def test_what_is_missing_is_named(folder, file):
    assert lacks("refcocog") == ""
    (folder / file).rename(folder / "elsewhere")
    with pytest.raises(DataMissing) as error:
        load_dataset("refcocog")
    for part in (f"looked in {folder}", file, "github.com/lichengunc/refer", "licence"):
        assert part in str(error.value)


# --- pickles


PYTHON_2 = b"""(lp0
(dp1
S'sent'
p2
Vcaf\\u00e9
p3
sS'raw'
p4
S'caf\\xc3\\xa9'
p5
sS'ann_id'
p6
L49L
sS'score'
p7
F1.5
sS'ids'
p8
(I1
I2
tp9
sS'none'
p10
NsS'yes'
p11
I01
sa."""


def test_pickles_of_python_2_are_read(tmp_path):
    (tmp_path / "a.p").write_bytes(PYTHON_2)
    one = dict(
        sent="caf\u00e9", raw="caf\u00e9", ann_id=49, score=1.5, ids=(1, 2), none=None, yes=True
    )
    assert plain(tmp_path / "a.p") == [one]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/never-made-by-a-pickle",)


def global_by(opcodes: bytes) -> bytes:
    return b"(lp0\n" + opcodes + b"a."


@pytest.mark.parametrize(
    "data",
    [
        *(pickle.dumps([Evil()], protocol) for protocol in range(6)),
        pickle.dumps([np.arange(3)]),
        pickle.dumps([np.int64(3)]),
        pickle.dumps([{1, 2}], 2),
        pickle.dumps([print]),
        pickle.dumps([pickle.Unpickler]),
        global_by(b"(S'true'\nios\nsystem\n"),  # INST
        global_by(b"(cos\nsystem\nS'true'\no"),  # OBJ
        global_by(b"Pmy persistent object\n"),
        global_by(b"\x82\x01"),  # EXT1
        pickle.dumps(references())[:-40],
        b"",
        b"no pickle",
        b"\x80\x09.",
    ],
)
def test_a_pickle_of_anything_else_runs_nothing(folder, data):
    (folder / "refs(umd).p").write_bytes(data)
    with pytest.raises(ValueError, match=r"refs\(umd\)\.p is damaged or no pickle of plain values"):
        load_dataset("refcocog")
    assert not os.path.exists("/tmp/never-made-by-a-pickle")


# --- damage


def changed(change):
    def damage(folder):
        refs = references()
        refs = change(refs) or refs
        (folder / "refs(umd).p").write_bytes(pickle.dumps(refs, 2))

    return damage


def first(**values):
    return changed(lambda refs: refs[0].update(values))


def annotated(change):
    def damage(folder):
        content = instances()
        change(content)
        (folder / "instances.json").write_text(json.dumps(content))

    return damage


def swap_files(content):
    one, two = content["images"][:2]
    one["file_name"], two["file_name"] = two["file_name"], one["file_name"]


def cut(name: str):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("instances.json"), r"instances\.json is damaged"),
        (changed(lambda refs: dict(enumerate(refs))), '"refs" must list objects'),
        (changed(lambda refs: [*refs, 3]), '"refs" must list objects'),
        (changed(lambda refs: [*refs, refs[0]]), "the id 0 twice"),
        (first(ref_id="a"), 'an integer "ref_id"'),
        (annotated(lambda c: c["annotations"].append(c["annotations"][0])), "annotation 900 twice"),
        (annotated(lambda c: c["images"].append(c["images"][0])), "the id 11 twice"),
        (annotated(lambda c: c.pop("images")), '"images" must list'),
        (changed(lambda refs: [ref for ref in refs if ref["split"] != "val"]), "no samples"),
    ],
)
def test_a_damaged_file_is_one_clear_error(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_dataset("refcocog")


JPEG_11 = "images/train2014/COCO_train2014_000000000011.jpg"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut(JPEG_11), "truncated"),
        (lambda f: (f / JPEG_11).unlink(), "there is no picture"),
        (lambda f: picture(1).resize((9, 9)).save(f / JPEG_11), "it is 9 x 9 pixels"),
        (annotated(lambda c: c["images"][0].update(file_name="/etc/x.jpg")), "no path below"),
        (annotated(lambda c: c["images"].pop(0)), "not among the images"),
        (annotated(swap_files), "000000000012.jpg is not the picture 11"),
        (first(image_id=99), "not among the images"),
        (first(image_id=[]), "not among the images"),
        (first(image_id=12), "another image_id, 11"),
        (first(ann_id=99), "annotation 99 is not in"),
        (first(ann_id=902), "another image_id, 12"),
        (first(category_id=7), "another category_id"),
        (first(sentences=[]), "is empty"),
        (first(sentences="a dog"), "caption of '0' is empty"),
        (first(sentences=None), "is empty"),
        (first(sentences=[dict(sent=" ")]), "is empty"),
        (first(sentences=[dict(sent=5)]), "is empty"),
        (first(sentences=[dict(sent="caf\udce9")]), "not UTF-8"),
        (annotated(lambda c: c["annotations"][0].update(bbox=None)), "bbox of the instance 900"),
        (annotated(lambda c: c["annotations"][0].update(segmentation=[])), "is empty"),
        (
            annotated(lambda c: c["annotations"][2]["segmentation"].update(counts=[1, 2])),
            "no runs that fill",
        ),
    ],
)
def test_a_damaged_sample_fails_alone(folder, damage, message):
    whole = load_dataset("refcocog")[:]
    damage(folder)
    check_others(load_dataset("refcocog"), whole, message)


def check_others(dataset, whole, message):
    failed = []
    for i, s in enumerate(whole):
        try:
            same = dataset[i]
        except SampleError as error:
            failed.append(str(error))
            assert repr(s.id) in str(error)
        else:
            assert (same.id, same.captions, same.source) == (s.id, s.captions, s.source)
            assert np.array_equal(same.image, s.image)
            assert same.things[0].boxes == s.things[0].boxes
            assert np.array_equal(same.things[0].mask, s.things[0].mask)
    assert failed
    assert any(message in error for error in failed), failed


# --- the hub's shards


SCHEMA = pa.schema(
    dict(
        question_id=pa.string(),
        image=pa.struct(dict(bytes=pa.binary(), path=pa.string())),
        question=pa.string(),
        answer=pa.list_(pa.string()),
        segmentation=pa.list_(pa.float32()),
        bbox=pa.list_(pa.float32()),
        iscrowd=pa.int8(),
        file_name=pa.string(),
    )
)


def rows(split: str) -> list[dict]:
    found = []
    for _, ann, image, own, sentences in REFS:
        if own == split:
            box, place = PLACES.get(ann, ANYWHERE)
            found.append(
                dict(
                    question_id=str(ann),
                    image=dict(bytes=jpeg(image), path=f"{image}.jpg"),
                    question="Please carefully observe the area",
                    answer=sentences,
                    segmentation=[0.0] * 8 if isinstance(place, dict) else place[0],
                    bbox=box,
                    iscrowd=int(isinstance(place, dict)),
                    file_name=f"COCO_train2014_{image:012d}_{ann}.jpg",
                )
            )
    return found


def shard(root, name: str, content: list[dict], **options):
    (root / "data").mkdir(exist_ok=True)
    table = pa.Table.from_pylist(content, SCHEMA)
    parquet.write_table(table, root / "data" / name, row_group_size=2, **options)


@pytest.fixture
def shards(root):
    val = rows("val") + rows("train")
    shard(root, "val-00000-of-00002.parquet", val[:5])
    shard(root, "val-00001-of-00002.parquet", val[5:])
    shard(root, "test-00000-of-00001.parquet", rows("test"))
    return root


def test_shards_hold_the_same_samples(shards):
    dataset = load_dataset("refcocog")
    assert len(dataset) == 10
    own = [ref for ref in REFS if ref[3] != "test"]
    for s, (_, ann, image, _, sentences) in zip(dataset, own):
        assert s.id == str(ann)
        assert s.caption == sentences[0]
        assert s.captions == (tuple(sentences) if len(sentences) > 1 else ())
        assert s.source == f"COCO_train2014_{image:012d}.jpg"
        assert np.array_equal(s.image, Image.open(io.BytesIO(jpeg(image))))
        assert s.things[0].caption == s.caption
    boxes = [s.things[0].box for s in dataset[:4]]
    assert boxes == [(3, 4, 14, 15), (30, 20, 43, 28), (5, 0, 25, 40), (20, 9, 26, 30)]
    masks = [s.things[0].mask for s in dataset[:4]]
    assert masks[0].sum() == 100
    assert masks[0][5:15, 3:13].all()
    assert masks[1] is None  # one of two parts
    assert masks[2] is None  # a crowd
    assert masks[3].any()
    assert [s.id for s in load_dataset("refcocog", split="test")] == ["904", "905"]


def test_shards_are_drawn_from_as_a_whole(shards):
    three, nine = (load_dataset("refcocog", n=n, seed=5) for n in (3, 9))
    assert [s.id for s in three] == [s.id for s in nine[:3]]
    assert len({s.id for s in nine}) == 9
    for s in nine:
        ref = next(ref for ref in REFS if str(ref[1]) == s.id)
        assert np.array_equal(s.image, Image.open(io.BytesIO(jpeg(ref[2]))))
    again = pickle.loads(pickle.dumps(nine))
    assert np.array_equal(again[7].image, nine[7].image)


def test_an_id_that_comes_again_has_a_name_of_its_own(root):
    shard(root, "test-00000-of-00001.parquet", rows("test") * 2)
    ids = [s.id for s in load_dataset("refcocog", split="test")]
    assert ids == ["904", "905", "904~2", "905~2"]


def test_a_missing_shard_is_named(shards):
    (shards / "data" / "val-00001-of-00002.parquet").unlink()
    with pytest.raises(DataMissing, match="for val-00001-of-00002.parquet.*huggingface.co"):
        load_dataset("refcocog")
    with pytest.raises(DataMissing, match=r"refs\(umd\)\.p"):
        load_dataset("refcocog", split="train")


def replaced(**values):
    def damage(root):
        content = rows("test")
        content[0].update(values)
        shard(root, "test-00000-of-00001.parquet", content)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replaced(image=dict(bytes=jpeg(14)[:900], path="")), "truncated"),
        (replaced(image=dict(bytes=b"no", path="")), "cannot identify"),
        (replaced(image=dict(bytes=None, path="x.jpg")), "it has no picture"),
        (replaced(image=None), "it has no picture"),
        (replaced(answer=[]), "is empty"),
        (replaced(answer=None), "is empty"),
        (replaced(answer=[None]), "is empty"),
        (replaced(bbox=[1, 2, 3]), "bbox must be"),
        (replaced(bbox=None), "bbox must be"),
        (replaced(bbox=[1, 2, float("nan"), 3]), "bbox must be"),
        (replaced(bbox=[100, 2, 3, 4]), "outside the picture"),
        (replaced(bbox=[0, 0, 1e9, 1e9], segmentation=[0, 0, 1e9, 0, 0, 1e9]), "far outside"),
        (replaced(segmentation=[20.1, 9.9, 25.2, 29.8]), "three points or more"),
    ],
)
def test_a_damaged_row_fails_alone(shards, damage, message):
    whole = load_dataset("refcocog", split="test")[:]
    damage(shards)
    check_others(load_dataset("refcocog", split="test"), whole, message)


@pytest.mark.parametrize("keep", [0, 100, -20])
def test_a_damaged_shard_is_one_clear_error(shards, keep):
    path = shards / "data" / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"test-00000-of-00001\.parquet is damaged"):
        load_dataset("refcocog", split="test")


def test_a_shard_without_a_column_is_one_clear_error(shards):
    path = shards / "data" / "test-00000-of-00001.parquet"
    for column in ("bbox", "image"):
        shard(shards, path.name, rows("test"))
        parquet.write_table(parquet.read_table(path).drop_columns([column]), path)
        with pytest.raises(ValueError, match="parquet is damaged or lacks a column.*" + column):
            load_dataset("refcocog", split="test")


def test_memory_does_not_grow_with_the_pictures(root):
    noise = np.random.default_rng(0).integers(0, 256, 600_000, np.uint8).tobytes()
    content = rows("test") * 50
    for row in content:
        row["image"] = dict(bytes=jpeg(1) + noise, path="")  # 60 MB in all
    shard(root, "test-00000-of-00001.parquet", content, compression="none")
    del content, row
    dataset = load_dataset("refcocog", split="test")
    for i in range(10):
        dataset[i]
    before = psutil.Process().memory_info().rss
    for i in range(len(dataset)):
        dataset[i]
    assert psutil.Process().memory_info().rss - before < 25e6
