"""MS-CXR and ROCO."""

import csv
import io
import json

import pytest
from painted import check_drawing, check_one_fails, failing, number, picture, told, write

from xai_utils.data import DataMissing, SampleError, load_dataset

DICOMS = [f"{k:08x}-0000aaaa-0000bbbb-0000cccc-{k:08x}" for k in range(12)]
PATHS = [f"files/p10/p1000{k:04d}/s5000{k:04d}/{dicom}.jpg" for k, dicom in enumerate(DICOMS)]
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
COLUMNS = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height".split(",")


def phrase(k: int) -> str:
    return f"patchy, left lower lobe opacity no {k}"


def boxes() -> list[dict]:
    """Twelve pictures with a phrase each. The phrase of the third names two places, which lie apart
    in the file; the fifth has a second phrase."""
    found = [box(k, (k + 1, 2, 10, 20)) for k in range(12)]
    found.insert(6, box(3, (20, 4, 5, 6)))
    found.append(box(5, (0, 0, 45, 30), "Enlarged heart", "Cardiomegaly"))
    return found


def box(k: int, xywh: tuple, text: str | None = None, category: str = "Pneumonia") -> dict:
    values = (DICOMS[k], category, text or phrase(k), PATHS[k], *xywh, 40 + k, 30)
    return dict(zip(COLUMNS, values)) | {"split": SPLITS[k]}


def as_csv(found: list[dict], columns=(*COLUMNS, "split")) -> str:
    file = io.StringIO()
    table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(found)
    return file.getvalue()


def as_json(found: list[dict], splits: bool = True) -> str:
    names = ["Pneumonia", "Cardiomegaly"]
    images = [
        dict(id=k + 7, file_name=f"{d}.jpg", width=40 + k, height=30, path=PATHS[k], num_rois=1)
        for k, d in enumerate(DICOMS)
    ]
    annotations = [
        {
            "id": i,
            "image_id": DICOMS.index(one["dicom_id"]) + 7,
            "category_id": names.index(one["category_name"]) + 1,
            "label_text": one["label_text"],
            "bbox": [one[name] for name in "xywh"],
            "width": one["image_width"],
            "height": one["image_height"],
        }
        | ({"split": one["split"]} if splits else {})
        for i, one in enumerate(found)
    ]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(names)]
    return json.dumps(dict(images=images, annotations=annotations, categories=categories))


FILES = {
    "MS_CXR_Local_Alignment_v1.1.0.csv": lambda found: as_csv(found),
    "MS_CXR_Local_Alignment_v1.1.0.json": lambda found: as_json(found),
    "MS_CXR_Local_Alignment_v1.0.0.csv": lambda found: as_csv(found, COLUMNS),
    "MS_CXR_Local_Alignment_v1.0.0.json": lambda found: as_json(found, splits=False),
}
CSV, JSON = [*FILES][:2]


@pytest.fixture
def ms_cxr(tmp_path):
    for k, path in enumerate(PATHS):
        write(tmp_path / "ms-cxr" / path, picture(k, mode="L"))
    return tmp_path


@pytest.mark.parametrize("file", FILES)
def test_ms_cxr_in_every_field(file, ms_cxr):
    write(ms_cxr / "ms-cxr" / file, FILES[file](boxes()))
    dataset = load_dataset("ms-cxr", root=ms_cxr)
    assert dataset.name == "ms-cxr/all"
    every = {f"{DICOMS[k]}#0": (k, phrase(k)) for k in range(12)}
    every[f"{DICOMS[5]}#1"] = (5, "Enlarged heart")
    assert told(dataset) == every
    for sample in dataset:
        k = number(sample)
        (thing,) = sample.things
        assert sample.image.mode == "RGB" and sample.source == DICOMS[k]
        assert thing.caption == sample.caption and sample.captions == ()
        assert sample.label is None and sample.matched and sample.judgements == ()
        if sample.caption == phrase(k):
            first = (k + 1, 2, k + 11, 22)
            assert thing.boxes == ((first, (20, 4, 25, 10)) if k == 3 else (first,))
            assert thing.box == ((4, 2, 25, 22) if k == 3 else first)
    assert dataset[12].things[0].box == (0, 0, 45, 30)
    mask = dataset[3].masks((30, 43))[0]
    assert mask.sum() == 10 * 20 + 5 * 6 and mask[4:10, 20:25].all() and not mask[:, 15:20].any()


@pytest.mark.parametrize("file", [CSV, JSON])
def test_ms_cxr_has_splits_since_its_second_version(file, ms_cxr):
    write(ms_cxr / "ms-cxr" / file, FILES[file](boxes()))
    for split in ("train", "val", "test"):
        own = [k for k in range(12) if SPLITS[k] == split]
        dataset = load_dataset("ms-cxr", split=split, root=ms_cxr)
        assert [s.id for s in dataset][: len(own)] == [f"{DICOMS[k]}#0" for k in own]
        assert len(dataset) == len(own) + (split == "train")


def test_the_first_version_has_no_splits(ms_cxr):
    write(ms_cxr / "ms-cxr/MS_CXR_Local_Alignment_v1.0.0.csv", as_csv(boxes(), COLUMNS))
    assert len(load_dataset("ms-cxr", root=ms_cxr)) == 13
    with pytest.raises(DataMissing, match="v1.1.0.csv or .*v1.1.0.json for the split 'test'.*Phys"):
        load_dataset("ms-cxr", split="test", root=ms_cxr)


def test_ms_cxr_is_drawn_and_pickled(ms_cxr):
    write(ms_cxr / "ms-cxr" / CSV, as_csv(boxes()))
    check_drawing("ms-cxr", ms_cxr)


@pytest.mark.parametrize("folder", ["files", "images", "."])
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_pictures_in_one_folder(folder, kind, tmp_path):
    home = tmp_path / "ms-cxr"
    write(home / CSV, as_csv(boxes()))
    for k, dicom in enumerate(DICOMS):
        data = picture(k, "jpeg" if kind == "jpg" else "png", "L")
        write(home / folder / f"{dicom}.{kind}", data)
    assert [number(s) for s in load_dataset("ms-cxr", root=tmp_path)] == [*range(12), 5]


@pytest.mark.parametrize("file", [CSV, JSON])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(w=0), "left < right"),
        (dict(x=-9, w=5), "outside the picture"),
        (dict(x=80), "outside the picture"),
        (dict(y=float("nan")), "finite"),
        (dict(label_text=" "), "is empty"),
    ],
)
def test_a_damaged_box_costs_its_phrase(change, message, file, ms_cxr):
    found = boxes()
    found[1] |= change
    write(ms_cxr / "ms-cxr" / file, FILES[file](found))
    check_one_fails(load_dataset("ms-cxr", root=ms_cxr), 1, message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no picture"),
        (b"", "cannot be read"),
        (b"<html>", "cannot be read"),
        (picture(1, mode="L")[:-99], "cannot be read"),
        (picture(2, mode="L"), r"boxes are for \(41, 30\) pixels, the picture has \(42, 30\)"),
    ],
)
def test_a_damaged_x_ray_costs_its_phrases(data, message, ms_cxr):
    write(ms_cxr / "ms-cxr" / CSV, as_csv(boxes()))
    path = ms_cxr / "ms-cxr" / PATHS[1]
    path.unlink()
    if data is not None:
        write(path, data)
    check_one_fails(load_dataset("ms-cxr", root=ms_cxr), 1, message)


@pytest.mark.parametrize("path", ["../{}.jpg", "/data/{}.jpg", "C:\\x/{}.jpg", "a/../../{}.jpg"])
def test_a_path_that_leaves_the_folder_costs_its_phrase(path, ms_cxr):
    found = boxes()
    found[1]["path"] = path.format(DICOMS[1])
    write(ms_cxr / "ms-cxr" / CSV, as_csv(found))
    check_one_fails(load_dataset("ms-cxr", root=ms_cxr), 1, "is no path below")


def test_a_phrase_of_another_encoding_costs_itself(ms_cxr):
    text = as_csv(boxes()).encode().replace(b'opacity no 1"', b'opacit\xe9"')
    write(ms_cxr / "ms-cxr" / CSV, text)
    check_one_fails(load_dataset("ms-cxr", root=ms_cxr), 1, "is not UTF-8")


def lines(change) -> str:
    found = as_csv(boxes()).splitlines(True)
    change(found)
    return "".join(found)


BROKEN = {
    "another picture's path": lambda f: f.__setitem__(2, f[2].replace(PATHS[1], PATHS[2])),
    "no number": lambda f: f.__setitem__(2, f[2].replace(",10,20,", ",ten,20,")),
    "cut": lambda f: f.__setitem__(-1, f[-1][:90]),
    "an open quote": lambda f: f.__setitem__(2, f[2].replace('no 1"', "no 1")),
    "no such column": lambda f: f.__setitem__(0, f[0].replace("label_text", "label")),
    "empty": lambda f: f.clear(),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_table_is_one_error_with_its_name(kind, ms_cxr):
    write(ms_cxr / "ms-cxr" / CSV, lines(BROKEN[kind]))
    with pytest.raises(ValueError, match=CSV) as error:
        load_dataset("ms-cxr", root=ms_cxr)
    assert not isinstance(error.value, (SampleError, DataMissing))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"image_id": 8,', '"image_id": 99,'),
        ('"bbox": [2, 2, 10, 20]', '"bbox": [2, 2, 10]'),
        ('"bbox": [2, 2, 10, 20]', '"bbox": [2, 2, 10, "tall"]'),
        ('"annotations"', '"annotation"'),
        ("]}", ""),
    ],
)
def test_broken_json_is_one_error_with_its_name(old, new, ms_cxr):
    text = as_json(boxes())
    assert old in text
    write(ms_cxr / "ms-cxr" / JSON, text.replace(old, new))
    with pytest.raises(ValueError, match=JSON) as error:
        load_dataset("ms-cxr", root=ms_cxr)
    assert not isinstance(error.value, (SampleError, DataMissing))


def test_phrases_without_pictures_are_missing(tmp_path):
    write(tmp_path / "ms-cxr" / CSV, as_csv(boxes()))
    with pytest.raises(DataMissing, match="for files or images.*mimic-cxr-jpg.*credentials"):
        load_dataset("ms-cxr", root=tmp_path)


IDS = [f"ROCO_{7 * k + 2:05d}" for k in range(12)]
FIGURES = [f"PMC{4000000 + k}_cro-000{k}-g01.jpg" for k in range(12)]


def figure_text(k: int) -> str:
    return f"Axial CT, arrow {k}: 3.1×3.7 cm"


def link_of(k: int) -> str:
    article, _, name = FIGURES[k].partition("_")
    where = f"wget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/{article}.tar.gz -P /to"
    return f"{IDS[k]}\t{where}\t{name}\n"


def roco_set(root, names, above="data/"):
    """Six figures for training, three to validate, three to test with; two of the other kind."""
    for split, own in {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}.items():
        home = root / f"roco/{above}{split}/radiology"
        write(home / "captions.txt", "".join(f"{IDS[k]}\t {figure_text(k)}\n" for k in own))
        write(home / "dlinks.txt", "".join(map(link_of, own)))
        for k in own:
            write(home / "images" / names[k], picture(k))
    write(root / f"roco/{above}test/non-radiology/captions.txt", "ROCO_00001\t A flow chart\n")
    write(root / f"roco/{above}test/non-radiology/images/ROCO_00001.jpg", picture(0))
    return root


@pytest.fixture
def roco(tmp_path):
    return roco_set(tmp_path, FIGURES)


@pytest.mark.parametrize("above", ["data/", "all_data/", ""])
@pytest.mark.parametrize("names", [FIGURES, [f"{id}.jpg" for id in IDS]], ids=["fetched", "by id"])
def test_roco_in_each_of_its_layouts(names, above, tmp_path):
    roco_set(tmp_path, names, above)
    if names is not FIGURES:
        for file in (tmp_path / "roco").rglob("dlinks.txt"):
            file.unlink()
    for split, own in {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}.items():
        dataset = load_dataset("roco", split=split, root=tmp_path)
        assert told(dataset) == {IDS[k]: (k, figure_text(k)) for k in own}
        for sample in dataset:
            assert sample.captions == () and sample.things == () and sample.source is None
    assert load_dataset("roco", root=tmp_path).name == "roco/test"


def test_roco_is_drawn_and_pickled(roco):
    check_drawing("roco", roco)


def test_windows_line_ends(roco):
    for file in (roco / "roco").rglob("*.txt"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert told(load_dataset("roco", root=roco)) == {
        IDS[k]: (k, figure_text(k)) for k in (9, 10, 11)
    }


CAPTIONS = "captions.txt"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (CAPTIONS, f"{IDS[10]}\t", f"{IDS[10]} ", "no caption behind a tab"),
        (CAPTIONS, f" {figure_text(10)}", "", "no caption behind a tab"),
        (CAPTIONS, f"{IDS[10]}\t", "\t", "no caption|is empty|there is no picture"),
        (CAPTIONS, IDS[10], "ROCO_99999", "there is no picture"),
        (CAPTIONS, IDS[10], "../x", "is no path below"),
        (CAPTIONS, IDS[10], "/etc/x", "is no path below"),
        ("dlinks.txt", "cro-00010", "../../x", "is no path below"),
        ("dlinks.txt", FIGURES[10].partition("_")[0], "PMC1", "there is no picture"),
        ("dlinks.txt", link_of(10), "", "there is no picture .*ROCO_00072.jpg"),
        ("dlinks.txt", "\tcro-00010-g01.jpg", "", "there is no picture"),
    ],
)
def test_a_damaged_line_costs_one_figure(file, old, new, message, roco):
    path = roco / "roco/data/test/radiology" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    dataset = load_dataset("roco", root=roco)
    check_one_fails(dataset, 1, message)
    assert [dataset[i].caption for i in (0, 2)] == [figure_text(9), figure_text(11)]


@pytest.mark.parametrize("data", [None, b"", b"GIF89a", picture(10)[:-150]])
def test_a_damaged_figure_costs_one_sample(data, roco):
    path = roco / "roco/data/test/radiology/images" / FIGURES[10]
    path.unlink()
    if data is not None:
        write(path, data)
    assert list(failing(load_dataset("roco", root=roco))) == [1]


def test_a_caption_of_another_encoding_costs_one_figure(roco):
    path = roco / "roco/data/test/radiology/captions.txt"
    path.write_bytes(path.read_bytes().replace("10: 3.1×".encode(), b"10: 3.1\xd7"))
    check_one_fails(load_dataset("roco", root=roco), 1, "is not UTF-8")


def test_captions_without_figures_are_missing(roco):
    images = roco / "roco/data/test/radiology/images"
    images.rename(images.with_name("kept"))
    with pytest.raises(DataMissing, match="for data/test/radiology/images for the split 'test'"):
        load_dataset("roco", root=roco)
    (roco / "roco/data/train/radiology/captions.txt").unlink()
    with pytest.raises(DataMissing, match="data/train/radiology/captions.txt or all_data/train"):
        load_dataset("roco", split="train", root=roco)
