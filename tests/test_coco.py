"""COCO's reader, against pycocotools on the same files."""

import contextlib
import io
import json
import math
import pickle

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as code
from pycocotools.coco import COCO

from xai_utils.data import DataMissing, SampleError, lacks, load_dataset
from xai_utils.data.articles import with_article
from xai_utils.data.records import by_id, parsed, spans

CATEGORIES = {1: "person", 5: "airplane", 18: "dog", 47: "cup", 53: "apple", 87: "scissors"}
PHRASES = dict(person="a person", airplane="an airplane", dog="a dog", cup="a cup")
PHRASES |= dict(apple="an apple", scissors="scissors")
HEIGHT, WIDTH = 40, 60


def rectangle(left, top, width, height) -> list[float]:
    right, bottom = left + width, top + height
    return [left, top, right, top, right, bottom, left, bottom]


def counted(left, top, width, height) -> dict:
    """A crowd's uncompressed run-length code."""
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[top : top + height, left : left + width] = 1
    flat = mask.ravel("F")
    borders = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *borders, flat.size]).tolist()
    return {"counts": [0, *runs] if flat[0] else runs, "size": [HEIGHT, WIDTH]}


INSTANCES = [  # picture, category, box, segmentation, crowd
    (101, 18, [3.2, 4.7, 10.1, 9.9], [rectangle(3.2, 4.7, 10.1, 9.9)], 0),
    (101, 18, [30, 20, 12.5, 8], [rectangle(30, 20, 5, 8), rectangle(37.5, 20, 5, 8)], 0),
    (101, 1, [0, 0, 60, 40], [[0, 0, 60, 0, 30.5, 40]], 0),
    (102, 53, [5, 5, 20, 10], counted(5, 5, 20, 10), 1),
    (102, 53, [50.5, 30.5, 9.5, 9.5], [rectangle(50.5, 30.5, 9.5, 9.5)], 0),
    (103, 87, [10, 10, 8, 8], [rectangle(10, 10, 8, 8)], 0),
    (105, 47, [7.5, 9, 0.0, 6.3], [rectangle(7.5, 9, 0.0, 6.3)], 0),
    (105, 47, [20, 9, 6, 6.3], [rectangle(20, 9, 6, 6.3)], 0),
    (106, 5, [12, 3, 0, 9], [rectangle(12, 3, 9, 9)], 0),
    (107, 1, [1, 2, 3, 4], counted(1, 2, 3, 4), 1),
    (108, 47, [7.5, 9, 0, 0], [rectangle(7.5, 9, 0, 0)], 0),
]


def picture(id: int) -> Image.Image:
    values = np.random.default_rng(id).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(values)


def write(folder, split: str, ids) -> None:
    """Pictures, captions and instances as cocodataset.org has them."""
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images, captions, instances = [], [], []
    for id in ids:
        name = f"{id:012d}.jpg"
        exif = Image.Exif()
        if id == 103:
            exif[0x0112] = 6  # to be turned by a quarter
        image = picture(id).convert("L") if id == 104 else picture(id)
        image.save(folder / split / name, quality=95, exif=exif)
        images.append(dict(license=4, file_name=name, height=HEIGHT, width=WIDTH, id=id))
        texts = [f"Picture {id} with {{braces}} and a caf\u00e9, the {k}th. " for k in range(5)]
        captions += [dict(image_id=id, id=id * 10 + k, caption=t) for k, t in enumerate(texts)]
    for k, (id, category, box, place, crowd) in enumerate(INSTANCES):
        if id in ids:
            of = dict(iscrowd=crowd, image_id=id, bbox=box, category_id=category, id=900 + k)
            instances.append({"segmentation": place, "area": 1.5} | of)
    captions = captions[::2] + captions[1::2]  # the real file does not group them
    head = {"info": {"year": 2017}, "licenses": [], "images": images}
    names = [dict(supercategory="x", id=k, name=v) for k, v in CATEGORIES.items()]
    tail = dict(annotations=instances, categories=names)
    put(folder, f"captions_{split}", head | dict(annotations=captions))
    put(folder, f"instances_{split}", head | tail)


def put(folder, name: str, content) -> None:
    (folder / "annotations" / f"{name}.json").write_text(json.dumps(content))


def get(folder, name: str) -> dict:
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_DATA", str(tmp_path))
    write(tmp_path / "coco", "val2017", range(101, 113))
    write(tmp_path / "coco", "train2017", [7, 102])
    return tmp_path / "coco"


def official(folder, name: str) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(folder / "annotations" / f"{name}.json")


@pytest.mark.parametrize("split", ["val", "train"])
def test_every_field_is_what_pycocotools_reads(folder, split):
    captions = official(folder, f"captions_{split}2017")
    instances = official(folder, f"instances_{split}2017")
    dataset = load_dataset("coco", split=split)
    assert dataset.name == f"coco/{split}"
    assert [int(s.id) for s in dataset] == captions.getImgIds()
    for s in dataset:
        texts = [a["caption"].strip() for a in captions.imgToAnns[int(s.id)]]
        assert (s.caption, s.captions) == (texts[0], tuple(texts))
        assert len(texts) == 5
        file = folder / f"{split}2017" / captions.imgs[int(s.id)]["file_name"]
        assert np.array_equal(s.image, Image.open(file).convert("RGB"))
        assert (s.label, s.source, s.matched, s.judgements) == (None, None, True, ())
        groups = {}
        for a in instances.imgToAnns[int(s.id)]:
            groups.setdefault(CATEGORIES[a["category_id"]], []).append(a)
        shown = {k: v for k, v in groups.items() if s.id != "108"}
        assert [t.caption for t in s.things] == [PHRASES[name] for name in shown]
        for thing, anns in zip(s.things, shown.values()):
            mask = np.any([instances.annToMask(a) for a in anns], axis=0)
            assert np.array_equal(thing.mask, mask)
            boxes = [a["bbox"] for a in anns if min(a["bbox"][2:]) > 0]
            for (x, y, w, h), box in zip(boxes, thing.boxes):
                assert box == (
                    math.floor(x),
                    math.floor(y),
                    math.ceil(x + w),
                    math.ceil(y + h),
                )


def test_things_are_categories_with_all_their_instances(folder):
    s = {s.id: s for s in load_dataset("coco")}
    dogs, person = s["101"].things
    assert (dogs.caption, person.caption) == ("a dog", "a person")
    assert dogs.boxes == ((3, 4, 14, 15), (30, 20, 43, 28))
    assert dogs.box == (3, 4, 43, 28)
    assert dogs.mask[24, [32, 36, 40]].tolist() == [True, False, True]  # its two halves
    (apples,) = s["102"].things
    assert apples.caption == "an apple"
    assert apples.boxes == ((5, 5, 25, 15), (50, 30, 60, 40))
    assert apples.mask[:20].sum() == 200  # the crowd, pixel by pixel
    assert s["103"].image.size == (WIDTH, HEIGHT)
    assert s["103"].things[0].caption == "scissors"
    assert s["104"].things == ()
    assert s["105"].things[0].boxes == ((20, 9, 26, 16),)  # the other one has no width
    assert s["106"].things[0].boxes == ((12, 3, 21, 12),)  # no box, but pixels
    assert s["108"].things == ()  # neither


def test_names_take_the_article_that_they_sound_like():
    a = "a person,a unicycle,a European fire salamander,a hotdog,a one-piece,a hen"
    an = "an airplane,an hourglass,an umbrella,an orange,an elephant,an upright,an iPod"
    for phrase in f"{a},{an}".split(","):
        assert with_article(phrase.split(" ", 1)[1]) == phrase


def test_fewer_are_the_beginning_of_more(folder):
    five, nine = (load_dataset("coco", n=n, seed=3) for n in (5, 9))
    assert [s.id for s in five] == [s.id for s in nine[:5]]
    assert len({s.id for s in nine}) == 9
    assert [s.id for s in nine] != [s.id for s in load_dataset("coco", n=9, seed=4)]
    for s, same in zip(five, nine):
        assert np.array_equal(s.image, same.image)
        assert [t.box for t in s.things] == [t.box for t in same.things]


def test_a_picture_has_several_captions(folder):
    first = load_dataset("coco")
    seeded = load_dataset("coco", captions="seeded", seed=1)
    every = load_dataset("coco", captions="all")
    assert len(every) == 60
    assert [s.id for s in every[:6]] == ["101#0", "101#1", "101#2", "101#3", "101#4", "102#0"]
    assert [s.caption for s in every[:5]] == list(first[0].captions)
    assert every[4].source == "101"
    assert len({s.captions.index(s.caption) for s in seeded}) > 1
    assert [s.caption for s in seeded] == [
        s.caption for s in load_dataset("coco", captions="seeded", seed=1)
    ]


def test_other_years_and_a_folder_for_pictures_are_found(folder):
    write(folder, "val2014", [391])
    (folder / "images").mkdir()
    (folder / "val2014").rename(folder / "images" / "val2014")
    (s,) = load_dataset("coco", split="val2014")
    assert s.id == "391"
    assert load_dataset("coco", root=folder)[0].id == load_dataset("coco", root=folder.parent)[0].id


def test_it_can_be_pickled(folder):
    dataset = load_dataset("coco")
    again = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(again[0].things[0].mask, dataset[0].things[0].mask)


@pytest.mark.parametrize(
    "file", ["annotations/captions_val2017.json", "annotations/instances_val2017.json", "val2017"]
)
def test_what_is_missing_is_named(folder, file):
    assert lacks("coco") == ""
    (folder / file).rename(folder / "elsewhere")
    with pytest.raises(DataMissing, match=f"looked in .*coco for {file}.*cocodataset.org.*CC BY"):
        load_dataset("coco")
    assert file in lacks("coco")


def changed(name: str, change):
    def damage(folder):
        content = get(folder, name)
        change(content)
        put(folder, name, content)

    return damage


def captions(change):
    return changed("captions_val2017", change)


def instances(change):
    return changed("instances_val2017", change)


def cut(name: str):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    return damage


def recoded(name: str, encoding: str):
    def damage(folder):
        path = folder / "annotations" / name
        text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
        path.write_text(text, encoding)

    return damage


def first_instance(**values):
    return instances(lambda c: c["annotations"][0].update(values))


def both(change):
    def damage(folder):
        for name in ("captions_val2017", "instances_val2017"):
            changed(name, change)(folder)

    return damage


def swap_files(content):
    one, two = content["images"][:2]
    one["file_name"], two["file_name"] = two["file_name"], one["file_name"]


FAR = [0, 0, 1e9, 0, 1e9, 1e9]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("annotations/captions_val2017.json"), "captions_val2017.json is damaged"),
        (cut("annotations/instances_val2017.json"), "instances_val2017.json is damaged"),
        (recoded("captions_val2017.json", "utf-16"), "captions_val2017.json is damaged"),
        (recoded("instances_val2017.json", "utf-16"), "instances_val2017.json is damaged"),
        (lambda f: put(f, "captions_val2017", []), "must hold an object, not list"),
        (lambda f: put(f, "instances_val2017", {"images": []}), "damaged: .*no list"),
        (captions(lambda c: c.pop("images")), '"images" must list objects'),
        (captions(lambda c: c["images"].append(c["images"][0])), "the id 101 twice"),
        (captions(lambda c: c["annotations"].append(c["annotations"][3])), "the id .* twice"),
        (captions(lambda c: c["annotations"][0].update(image_id=5)), "a caption of no picture"),
        (first_instance(image_id=5), "an instance in no picture: 5"),
        (instances(lambda c: c["annotations"][0].pop("image_id")), 'no object with "image_id"'),
        (instances(lambda c: c["annotations"].insert(0, 3)), "damaged"),
        (instances(lambda c: c.pop("categories")), '"categories" must list'),
    ],
)
def test_a_damaged_file_is_one_clear_error(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_dataset("coco")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("val2017/000000000101.jpg"), "truncated"),
        (lambda f: (f / "val2017/000000000101.jpg").write_bytes(b"no"), "cannot identify"),
        (lambda f: (f / "val2017/000000000101.jpg").unlink(), "there is no picture"),
        (
            lambda f: picture(1).rotate(90, expand=True).save(f / "val2017/000000000101.jpg"),
            "is 60",
        ),
        (both(lambda c: c["images"][0].update(file_name="../../a.jpg")), "no path below"),
        (both(lambda c: c["images"][0].update(file_name=None)), "cannot be read"),
        (both(lambda c: c["images"][0].update(height=41)), "40 x 60 pixels"),
        (both(lambda c: c["images"][0].pop("width")), "40 x 60 pixels"),
        (instances(swap_files), "disagree in file_name"),
        (both(swap_files), "000000000102.jpg is not the picture 101"),
        (instances(lambda c: c["images"].pop(3)), "does not list the picture"),
        (
            captions(
                lambda c: c.update(
                    annotations=[a for a in c["annotations"] if a["image_id"] != 101]
                )
            ),
            "is empty",
        ),
        (captions(lambda c: c["annotations"][0].update(caption=" ")), "is empty"),
        (captions(lambda c: c["annotations"][0].update(caption=None)), "is empty"),
        (recoded("captions_val2017.json", "latin-1"), "not UTF-8"),
        (first_instance(category_id=999), "category 999 is unknown"),
        (first_instance(category_id=None), "category None is unknown"),
        (first_instance(bbox=[3, 4, -1, 5]), "bbox of the instance 900 must be"),
        (first_instance(bbox=[3, 4, 1]), "bbox of the instance 900 must be"),
        (first_instance(bbox=[3, 4, float("nan"), 5]), "bbox of the instance 900 must be"),
        (first_instance(bbox=[300, 4, 10, 5]), "outside the picture"),
        (first_instance(segmentation=[[1, 2, 3, 4]]), "three points or more"),
        (first_instance(segmentation=[[1, 2, 3, 4, 5, "6"]]), "finite numbers"),
        (first_instance(segmentation=[FAR]), "far outside the picture"),
        (first_instance(segmentation=[]), "is empty"),
        (first_instance(segmentation=None), "must be a list of polygons"),
        (first_instance(segmentation=dict(size=[40, 60], counts=[5, 6])), "no runs that fill"),
        (first_instance(segmentation=dict(size=[4, 6], counts=[24])), "size of segmentation"),
        (first_instance(segmentation=dict(size=[40, 60], counts="kd0")), "no runs that fill"),
        (first_instance(id=901), "the same id"),
    ],
)
def test_a_damaged_sample_fails_alone(folder, damage, message):
    whole = load_dataset("coco")[:]
    damage(folder)
    dataset, failed = load_dataset("coco"), []
    for i, s in enumerate(whole):
        try:
            same = dataset[i]
        except SampleError as error:
            failed.append(str(error))
            assert s.id in str(error)
        else:
            assert (same.id, same.captions) == (s.id, s.captions)
            assert np.array_equal(same.image, s.image)
            assert [t.boxes for t in same.things] == [t.boxes for t in s.things]
            assert all(np.array_equal(t.mask, u.mask) for t, u in zip(same.things, s.things))
    assert failed
    assert any(message in error for error in failed) or pytest.fail("\n".join(failed))


def test_compressed_codes_are_read_as_well(folder):
    mask = picture(5).convert("L").point(lambda v: v > 128, "1")
    packed = code.encode(np.asfortranarray(mask, np.uint8))
    first_instance(segmentation=packed | {"counts": packed["counts"].decode()})(folder)
    instances(lambda c: c["annotations"].__delitem__(slice(1, 3)))(folder)
    assert np.array_equal(load_dataset("coco")[0].things[0].mask, mask)


# --- long lists


@pytest.mark.parametrize("layout", [dict(), dict(indent=2), dict(separators=(",", ":"))])
def test_objects_of_a_list_are_found_without_parsing_it(tmp_path, layout):
    entries = [
        dict(id=1, of=3, text='a "}" and a \\', inner={"of": {"x": [1, {"y": "{"}]}}),
        dict(of=-4, id=2),
        dict(text="]", of=3, id=3, inner=[[{}]]),
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(dict(a=[{"id": 7}], long=entries, z=1), **layout))
    rest, found = spans(path, "long", "of")
    assert rest == dict(a=[{"id": 7}], long=[], z=1)
    assert {k: parsed(path, v) for k, v in found.items()} == {
        3: [entries[0], entries[2]],
        -4: [entries[1]],
    }
    assert by_id(rest, "a", path) == {7: {"id": 7}}
    path.write_text(json.dumps(dict(long=[], z=1), **layout))
    assert spans(path, "long", "of") == (dict(long=[], z=1), {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"long": 3}',
        '{"long": [1, 2]}',
        '{"long": [{"of": 1}',
        '{"long": [{"of": 1},]}',
        '{"long": [{"of": 1} {"of": 1}]}',
        '{"long": [{"of": 1.5}]}',
        '{"long": [{"of": "1"}]}',
        '{"long": [{"of": 1}]',
        '{"long": [{"of": 1}]} x',
        '{"inner": {"long": [{"of": 1}]}}',
        '["long", [{"of": 1}]]',
    ],
)
def test_a_damaged_list_is_an_error(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json is damaged"):
        spans(tmp_path / "a.json", "long", "of")
