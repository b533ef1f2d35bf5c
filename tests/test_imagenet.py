"""ImageNet's reader, for each layout in which the validation set lies about."""

import os
import shutil

import numpy as np
import pytest
import timm
from PIL import Image
from scipy.io import savemat

from xai_utils.data import DataMissing, SampleError, lacks, load_dataset

SORTED = timm.data.ImageNetInfo().label_names()
OWN = [0, 5, 997, 41, 41, 134, 517, 999, 0, 880, 837, 987]  # the classes of pictures 1..12
CAPTIONS = {
    0: "a photo of a tench",
    5: "a photo of an electric ray",
    134: "a photo of a crane",
    517: "a photo of a crane",
    880: "a photo of a unicycle",
    837: "a photo of a sunglasses",
    987: "a photo of a corn",
    999: "a photo of a toilet tissue",
}
IDS = np.random.default_rng(0).permutation(1000) + 1  # the devkit's id of each class


def name(k: int) -> str:
    return f"ILSVRC2012_val_{k:08d}"


def picture(k: int) -> Image.Image:
    values = np.random.default_rng(k).integers(0, 256, (30 + k, 40, 3), np.uint8)
    return Image.fromarray(values)


def write(folder) -> None:
    """Flat, with a CMYK picture, a grey one and a PNG named .JPEG, as the real set has them."""
    folder.mkdir(parents=True)
    for k in range(1, 13):
        image = picture(k)
        mode = {3: "CMYK", 4: "L"}.get(k, "RGB")
        image.convert(mode).save(folder / f"{name(k)}.JPEG", "PNG" if k == 5 else "JPEG")


def shown(folder, k: int) -> np.ndarray:
    return np.array(Image.open(folder / f"{name(k)}.JPEG").convert("RGB"))


def devkit(folder, ids=None, wnids=None) -> None:
    """The devkit's two files; after the 1,000 classes come those above them."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = [IDS[c] for c in OWN] if ids is None else ids
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{i}\n" for i in truth))
    by_id = {int(i): w for i, w in zip(IDS, SORTED)} | {1001: "n00001740", 1002: "n00001930"}
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(float(i), by_id[i], "a, b", 0.0 if i < 1001 else 2.0) for i in sorted(by_id)]
    table = np.array(wnids(rows) if wnids else rows, dtype=fields)
    savemat(folder / "meta.mat", {"synsets": table[:, None]})


def kaggle(folder, change=lambda rows: rows) -> None:
    rows = [f"{name(k)},{SORTED[c]} 85 1 499 272 " for k, c in enumerate(OWN, 1)]
    rows[3] += f"{SORTED[OWN[3]]} 5 6 7 8 "
    rows = ["ImageId,PredictionString", *change(rows[::-1])]
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")


def by_class(pictures) -> None:
    for k, c in enumerate(OWN, 1):
        (pictures / SORTED[c]).mkdir(exist_ok=True)
        file = f"{name(k)}.JPEG"
        (pictures / file).rename(pictures / SORTED[c] / file)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_DATA", str(tmp_path))
    write(tmp_path / "imagenet" / "val")
    return tmp_path / "imagenet"


def with_devkit(root):
    devkit(root / "ILSVRC2012_devkit_t12" / "data")


def with_devkit_at_hand(root):
    devkit(root)


def with_kaggle(root):
    kaggle(root)
    (root / "ILSVRC/Data/CLS-LOC").mkdir(parents=True)
    (root / "val").rename(root / "ILSVRC/Data/CLS-LOC/val")


def with_folders(root):
    by_class(root / "val")
    (root / "val" / "valprep.sh").write_text("mkdir")


def without_val(root):
    devkit(root / "data")
    for file in os.listdir(root / "val"):
        (root / "val" / file).rename(root / file)
    (root / "val").rmdir()


def folders_without_val(root):
    with_folders(root)
    for file in os.listdir(root / "val"):
        (root / "val" / file).rename(root / file)
    (root / "val").rmdir()


LAYOUTS = [
    with_devkit,
    with_devkit_at_hand,
    with_kaggle,
    with_folders,
    without_val,
    folders_without_val,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_samples(root, layout):
    pictures = [shown(root / "val", k) for k in range(1, 13)]
    layout(root)
    dataset = load_dataset("imagenet")
    assert dataset.name == "imagenet/val"
    assert [s.id for s in dataset] == [name(k) for k in range(1, 13)]
    assert [s.label for s in dataset] == OWN
    for s, values in zip(dataset, pictures):
        assert np.array_equal(s.image, values)
        assert s.image.mode == "RGB"
        assert s.caption == CAPTIONS.get(s.label, s.caption)
        assert s.caption.startswith("a photo of ")
        assert (s.things, s.source, s.matched, s.captions) == ((), None, True, ())
    five, nine = (load_dataset("imagenet", n=n, seed=1) for n in (5, 9))
    assert [s.id for s in five] == [s.id for s in nine[:5]]
    drawn = np.random.default_rng(1).permutation(12)[:9]
    assert [(s.id, s.label) for s in nine] == [(name(k + 1), OWN[k]) for k in drawn]
    for choice in ("first", "seeded", "all"):
        assert [s.id for s in load_dataset("imagenet", captions=choice)] == [s.id for s in dataset]


def test_some_of_the_pictures_keep_their_labels(root):
    with_devkit(root)
    for k in (1, 2, 7, 12):
        (root / "val" / f"{name(k)}.JPEG").unlink()
    dataset = load_dataset("imagenet")
    assert [s.label for s in dataset] == [OWN[k - 1] for k in (3, 4, 5, 6, 8, 9, 10, 11)]


def remove(*files):
    def damage(root):
        for file in files:
            path = root / file
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


@pytest.mark.parametrize(
    ("layout", "damage", "file"),
    [
        (with_devkit, remove("val"), "val or ILSVRC/Data/CLS-LOC/val"),
        (with_devkit, remove("ILSVRC2012_devkit_t12"), "ground_truth.txt or .*LOC_val_solution"),
        (with_devkit, remove("ILSVRC2012_devkit_t12/data/meta.mat"), "meta.mat"),
        (with_kaggle, remove("LOC_val_solution.csv"), "LOC_val_solution.csv"),
    ],
)
def test_what_is_missing_is_named(root, layout, damage, file):
    layout(root)
    assert lacks("imagenet") == ""
    damage(root)
    with pytest.raises(
        DataMissing, match=f"looked in {root}.*for .*{file}.*image-net.org.*not com"
    ):
        load_dataset("imagenet")
    assert "image-net.org" in lacks("imagenet")


def cut(file: str, keep=0.6):
    def damage(root):
        path = root / file
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    return damage


def copy(file: str, to: str):
    return lambda root: shutil.copy(root / file, root / to)


def solution(change):
    return lambda root: kaggle(root, change)


TRUTH = "ILSVRC2012_validation_ground_truth.txt"
FIRST = f"val/{SORTED[0]}/{name(1)}.JPEG"


@pytest.mark.parametrize(
    ("layout", "damage", "message"),
    [
        (with_devkit_at_hand, cut("meta.mat"), r"meta\.mat is damaged"),
        (with_devkit_at_hand, cut("meta.mat", 0), r"meta\.mat is damaged"),
        (with_devkit_at_hand, lambda r: savemat(r / "meta.mat", {"x": 1}), "no synsets"),
        (with_devkit_at_hand, lambda r: devkit(r, wnids=lambda t: t + t[:1]), "wnid twice"),
        (with_devkit_at_hand, lambda r: devkit(r, [5] * 11), "has 11 labels, .* a picture 12"),
        (with_devkit_at_hand, cut(TRUTH, 0), "has 1 labels, .* a picture 12"),
        (with_devkit_at_hand, copy(f"val/{name(1)}.JPEG", f"val/{name(1)}.png"), "which counts"),
        (with_kaggle, solution(lambda rows: [*rows, rows[0]]), "twice"),
        (with_kaggle, cut("LOC_val_solution.csv", 0), "first line is ''"),
        (with_kaggle, lambda r: (r / "LOC_val_solution.csv").write_text("a,b\n"), "first line"),
        (with_folders, lambda r: (r / "val" / "n99999999").mkdir(), "n99999999, the wnid of none"),
        (with_folders, lambda r: (r / "val" / "cats").mkdir(), "cats, the wnid of none"),
        (with_devkit_at_hand, lambda r: (r / "val" / "cats").mkdir(), "cats, the wnid of none"),
        (with_folders, copy(FIRST, f"val/{SORTED[5]}/{name(1)}.JPEG"), "which counts"),
        (with_folders, copy(FIRST, "val/other.JPEG"), "beside the folders of classes"),
        (
            with_folders,
            lambda r: [
                shutil.rmtree(r / "val" / SORTED[c]) or (r / "val" / SORTED[c]).mkdir()
                for c in set(OWN)
            ],
            "no samples",
        ),
    ],
)
def test_a_damaged_file_is_one_clear_error(root, layout, damage, message):
    layout(root)
    damage(root)
    with pytest.raises(ValueError, match=message):
        load_dataset("imagenet")


def one_id(value):
    return lambda root: devkit(root, [value, *(IDS[c] for c in OWN[1:])])


def one_row(boxes):
    return solution(lambda rows: [*rows[:-1], f"{name(1)},{boxes}"])


@pytest.mark.parametrize(
    ("layout", "damage", "message"),
    [
        (with_devkit_at_hand, cut(f"val/{name(1)}.JPEG"), "truncated"),
        (with_devkit_at_hand, cut(f"val/{name(1)}.JPEG", 0), "cannot identify"),
        (with_devkit_at_hand, one_id(0), "no label"),
        (with_devkit_at_hand, one_id(1003), "no label"),
        (with_devkit_at_hand, one_id(1001), "n00001740 is no wnid of one"),
        (with_devkit_at_hand, one_id("x"), "no label"),
        (with_devkit_at_hand, one_id("-3"), "no label"),
        (with_devkit_at_hand, one_id("1.5"), "no label"),
        (with_kaggle, one_row("n99999999 1 2 3 4"), "n99999999 is no wnid of one"),
        (with_kaggle, one_row("n01440764 1 2 3 4 n01443537 1 2 3 4"), "no label"),
        (with_kaggle, one_row(""), "no label"),
        (with_kaggle, solution(lambda rows: rows[:-1]), "no label"),
        (with_folders, cut(FIRST), "truncated"),
    ],
)
def test_a_damaged_sample_fails_alone(root, layout, damage, message):
    layout(root)
    damage(root)
    dataset = load_dataset("imagenet")
    with pytest.raises(SampleError, match=f"'{name(1)}'.*{message}"):
        dataset[0]
    assert [s.label for s in dataset[1:]] == OWN[1:]


def test_pictures_of_other_names_have_no_label_in_the_devkit(root):
    with_devkit(root)
    picture(1).save(root / "val" / "A.JPEG")
    picture(1).save(root / "val" / f"{name(0)}.JPEG")
    dataset = load_dataset("imagenet")
    assert len(dataset) == 14
    for i in (0, 1):
        with pytest.raises(SampleError, match="no label"):
            dataset[i]
    assert [s.label for s in dataset[2:]] == OWN


def test_classes_are_in_the_order_of_their_wnids():
    assert sorted(SORTED) == SORTED
    assert len(set(SORTED)) == 1000
