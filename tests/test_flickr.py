import json

import pytest
from painted import check_drawing, check_one_fails, number, picture, told, write

from xai_utils.data import DataMissing, SampleError, load_dataset

NAMES = [f"10{k:02d}_a{k}.jpg" for k in range(12)]
SPLITS = {"train": NAMES[:6], "dev": NAMES[6:9], "test": NAMES[9:]}


def said(k: int, j: int) -> str:
    return f"a thing {k} , told {j} ."


def tokens(end: str = "\n") -> str:
    return "".join(
        f"{name}#{j}\t{said(k, j)}{end}" for k, name in enumerate(NAMES) for j in range(5)
    )


@pytest.fixture
def flickr8k(tmp_path):
    home = tmp_path / "flickr8k"
    for k, name in enumerate(NAMES):
        write(home / "Flickr8k_Dataset" / name, picture(k))
    write(home / "Flickr8k_text/Flickr8k.token.txt", tokens())
    for split, names in SPLITS.items():
        list_of = home / f"Flickr8k_text/Flickr_8k.{split}Images.txt"
        write(list_of, "".join(f"{name}\n" for name in names))
    pairs = [
        (9, 9, 0, "4\t4\t3"),
        (9, 3, 2, "1\t2\t1"),
        (10, 10, 4, "4\t4\t4"),
        (4, 5, 1, "1\t1\t2"),
    ]
    write(
        home / "Flickr8k_text/ExpertAnnotations.txt",
        "".join(f"{NAMES[a]}\t{NAMES[b]}#{j}\t{grades}\n" for a, b, j, grades in pairs),
    )
    return tmp_path


def edit(
    root, old: str | bytes, new: str | bytes, file="flickr8k/Flickr8k_text/Flickr8k.token.txt"
):
    path = root / file
    old, new = (x.encode() if isinstance(x, str) else x for x in (old, new))
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize("split", [*SPLITS, "all"])
def test_flickr8k_has_its_official_splits(split, flickr8k):
    dataset = load_dataset("flickr8k", split=split, root=flickr8k)
    names = SPLITS.get(split, NAMES)
    assert told(dataset) == {
        name: (NAMES.index(name), said(NAMES.index(name), 0)) for name in names
    }
    for sample in dataset:
        assert sample.captions == tuple(said(number(sample), j) for j in range(5))
        assert sample.matched and sample.grade is None and sample.label is None
        assert sample.things == () and sample.source is None


def test_flickr8k_is_drawn_and_pickled(flickr8k):
    check_drawing("flickr8k", flickr8k)


@pytest.mark.parametrize("folder", ["Flickr8k_Dataset", "Flicker8k_Dataset"])
def test_both_spellings_of_the_pictures_folder(folder, flickr8k):
    home = flickr8k / "flickr8k"
    (home / "Flickr8k_Dataset").rename(home / folder)
    assert number(load_dataset("flickr8k", root=home)[0]) == 9


def test_windows_line_ends_and_blank_lines_change_nothing(flickr8k):
    text = flickr8k / "flickr8k/Flickr8k_text"
    before = [told(load_dataset("flickr8k", split=s, root=flickr8k)) for s in ("test", "expert")]
    for file in text.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n \r\n")
    after = [told(load_dataset("flickr8k", split=s, root=flickr8k)) for s in ("test", "expert")]
    assert before == after


def test_a_caption_may_hold_tabs_and_number_signs(flickr8k):
    odd = "a sign\tsays #1 ,\tnot 9#2 ."
    edit(flickr8k, said(9, 0), odd)
    assert load_dataset("flickr8k", root=flickr8k)[0].caption == odd


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{NAMES[9]}#1\t{said(9, 1)}\n", ""),  # the line is missing
        (f"{NAMES[9]}#1\t", f"{NAMES[9]}#1 "),  # its tab is
        (f"{NAMES[9]}#1\t", f"{NAMES[9]}#\t"),  # its number is
        (f"{NAMES[9]}#1\t", f"{NAMES[9]}#one\t"),  # or is none
        (f"{NAMES[9]}#1\t", "\t"),
        (said(9, 1), " "),  # its caption is
        (f"{NAMES[9]}#1\t", f"{NAMES[9]}.1#1\t"),  # as one picture of the real file is written
    ],
)
def test_of_a_damaged_line_no_other_caption_takes_the_number(old, new, flickr8k):
    edit(flickr8k, old, new)
    every = load_dataset("flickr8k", root=flickr8k, captions="all")
    own = {s.id: s.caption for s in every if number(s) == 9}
    assert own == {f"{NAMES[9]}#{j}": said(9, j) for j in (0, 2, 3, 4)}
    assert len(every) == 14
    assert len(load_dataset("flickr8k", root=flickr8k)[0].captions) == 4
    judged = load_dataset("flickr8k", root=flickr8k, split="expert")
    assert [s.caption for s in judged] == [said(9, 0), said(3, 2), said(10, 4), said(5, 1)]


def test_a_name_that_no_picture_has_is_no_sample(flickr8k):
    """The real file has five captions of 2258277193_586949ec62.jpg.1, which is no picture."""
    edit(flickr8k, f"{NAMES[9]}#0", f"{NAMES[9]}.1#0")
    every = load_dataset("flickr8k", root=flickr8k, split="all")
    assert len(every) == 12
    assert every[9].id == NAMES[9] and every[9].caption == said(9, 1)


def test_the_first_the_seeded_and_all_captions(flickr8k):
    seeded = {
        load_dataset("flickr8k", root=flickr8k, captions="seeded", seed=s)[1].caption
        for s in range(60)
    }
    assert seeded == {said(10, j) for j in range(5)}
    every = load_dataset("flickr8k", root=flickr8k, captions="all", n=7, seed=1)
    more = load_dataset("flickr8k", root=flickr8k, captions="all", n=15, seed=1)
    assert [*told(more).items()][:7] == [*told(every).items()]
    assert {(s.id, s.caption) for s in more} == {
        (f"{NAMES[k]}#{j}", said(k, j)) for k in (9, 10, 11) for j in range(5)
    }
    assert all(s.source == NAMES[number(s)] and len(s.captions) == 5 for s in more)


def test_experts_judge_pairs(flickr8k):
    """The judgements of "Framing image description as a ranking task" go from 1 to 4."""
    dataset = load_dataset("flickr8k", split="expert", root=flickr8k)
    own, other, third, fourth = dataset
    assert own.id == f"{NAMES[9]}~{NAMES[9]}#0" and other.id == f"{NAMES[9]}~{NAMES[3]}#2"
    assert [number(s) for s in dataset] == [9, 9, 10, 4]
    assert [s.caption for s in dataset] == [said(9, 0), said(3, 2), said(10, 4), said(5, 1)]
    assert [s.matched for s in dataset] == [True, False, True, False]
    assert own.judgements == (4, 4, 3) and other.grade == pytest.approx(4 / 3)
    assert [s.source for s in dataset] == [NAMES[9], NAMES[9], NAMES[10], NAMES[4]]
    assert other.captions == tuple(said(9, j) for j in range(5))
    again = load_dataset("flickr8k", split="expert", root=flickr8k, n=4, seed=2)
    assert told(again) == told(dataset)


EXPERT = "flickr8k/Flickr8k_text/ExpertAnnotations.txt"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"{NAMES[3]}#2", f"{NAMES[3]}#7", "caption of .* is empty"),
        (f"{NAMES[3]}#2", f"{NAMES[3]}", "caption of .* is empty"),
        (f"{NAMES[3]}#2", "nobody.jpg#2", "caption of .* is empty"),
        ("1\t2\t1", "1\ttwo\t1", "could not convert"),
        ("1\t2\t1", "1\tnan\t1", "judgements of"),
        (f"{NAMES[9]}\t{NAMES[3]}", f"../{NAMES[9]}\t{NAMES[3]}", "is no path below"),
        (f"{NAMES[9]}\t{NAMES[3]}#2\t1\t2\t1", NAMES[9], "caption of .* is empty"),
    ],
)
def test_a_damaged_judgement_costs_its_pair(old, new, message, flickr8k):
    edit(flickr8k, old, new, EXPERT)
    check_one_fails(load_dataset("flickr8k", split="expert", root=flickr8k), 1, message)


def test_an_undecodable_caption_among_the_references_costs_the_pair(flickr8k):
    edit(flickr8k, said(4, 3).encode(), b"a caf\xe9 .")
    check_one_fails(load_dataset("flickr8k", split="expert", root=flickr8k), 3, "is not UTF-8")


def spoil(root, kind: str) -> None:
    path = root / "flickr8k/Flickr8k_Dataset" / NAMES[10]
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-150])
    elif kind == "a page":
        path.write_bytes(b"<html>404</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "gone":
        path.unlink()
    elif kind == "other encoding":
        edit(root, said(10, 2).encode(), b"\xe9t\xe9")
    elif kind == "no captions":
        for j in range(5):
            edit(root, said(10, j), "")
    else:
        edit(root, NAMES[10], kind, "flickr8k/Flickr8k_text/Flickr_8k.testImages.txt")


KINDS = ["cut", "a page", "empty", "gone", "other encoding", "no captions"]


@pytest.mark.parametrize("kind", [*KINDS, "../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "x/../../a.jpg"])
def test_damage_costs_one_sample(kind, flickr8k):
    spoil(flickr8k, kind)
    dataset = load_dataset("flickr8k", root=flickr8k)
    check_one_fails(dataset, 1, NAMES[10] if kind in KINDS else "is no path below|caption")
    assert [number(dataset[i]) for i in (0, 2)] == [9, 11]


@pytest.mark.parametrize(
    ("split", "file"),
    [
        ("dev", "Flickr8k_text/Flickr_8k.devImages.txt"),
        ("expert", "Flickr8k_text/ExpertAnnotations.txt"),
        ("all", "Flickr8k_text/Flickr8k.token.txt"),
    ],
)
def test_a_missing_file_is_named(split, file, flickr8k):
    (flickr8k / "flickr8k" / file).unlink()
    with pytest.raises(DataMissing, match=file):
        load_dataset("flickr8k", split=split, root=flickr8k)


def karpathy(**changes) -> str:
    """dataset_flickr30k.json with the splits of SPLITS, "dev" being "val"."""
    split_of = {name: "val" if s == "dev" else s for s, names in SPLITS.items() for name in names}
    images = [
        {
            "sentids": [5 * k + j for j in range(5)],
            "imgid": k,
            "sentences": [
                {"tokens": said(k, j).split(), "raw": said(k, j), "imgid": k, "sentid": 5 * k + j}
                for j in range(5)
            ],
            "split": split_of[name],
            "filename": name,
        }
        for k, name in enumerate(NAMES)
    ]
    images[10] |= changes
    return json.dumps({"images": images, "dataset": "flickr30k"})


def piped() -> str:
    lines = [f"{name}| {j}| {said(k, j)}" for k, name in enumerate(NAMES) for j in range(5)]
    return "\n".join(["image_name| comment_number| comment", *lines, ""])


@pytest.fixture
def flickr30k(tmp_path):
    for k, name in enumerate(NAMES):
        write(tmp_path / "flickr30k/flickr30k-images" / name, picture(k))
    write(tmp_path / "flickr30k/results_20130124.token", tokens())
    write(tmp_path / "flickr30k/dataset_flickr30k.json", karpathy())
    return tmp_path


@pytest.mark.parametrize("captions", ["token", "csv", "json"])
@pytest.mark.parametrize("lists", ["karpathy", "entities", "entities in their folder"])
def test_flickr30k_in_each_of_its_layouts(captions, lists, flickr30k):
    home = flickr30k / "flickr30k"
    if captions != "token":
        (home / "results_20130124.token").unlink()
    if captions == "csv":
        write(home / "results.csv", piped())
    if lists != "karpathy":
        if captions != "json":
            (home / "dataset_flickr30k.json").unlink()
        for split, names in SPLITS.items():
            folder = home / "flickr30k_entities" if "folder" in lists else home
            ids = "".join(name.removesuffix(".jpg") + "\n" for name in names)
            write(folder / f"{split.replace('dev', 'val')}.txt", ids)
    for split, names in [*SPLITS.items(), ("all", NAMES)]:
        dataset = load_dataset("flickr30k", split=split.replace("dev", "val"), root=flickr30k)
        numbers = [NAMES.index(name) for name in names]
        assert told(dataset) == {NAMES[k]: (k, said(k, 0)) for k in numbers}
        assert dataset[1].captions == tuple(said(numbers[1], j) for j in range(5))
    assert load_dataset("flickr30k", root=flickr30k).name == "flickr30k/test"


def test_flickr30k_is_drawn_and_pickled(flickr30k):
    check_drawing("flickr30k", flickr30k)


def test_the_archive_with_a_folder_in_a_folder_of_its_name(flickr30k):
    home = flickr30k / "flickr30k"
    (home / "results_20130124.token").unlink()
    write(home / "flickr30k_images/results.csv", piped())
    (home / "flickr30k-images").rename(home / "flickr30k_images/flickr30k_images")
    assert number(load_dataset("flickr30k", root=flickr30k)[2]) == 11
    inner = home / "flickr30k_images"
    (inner / "flickr30k_images").rename(home / "kept")
    (inner / "results.csv").rename(home / "results.csv")
    inner.rmdir()
    (home / "kept").rename(inner)
    assert number(load_dataset("flickr30k", root=flickr30k)[2]) == 11


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_damaged_line_of_results_csv_keeps_its_caption(end, flickr30k):
    home = flickr30k / "flickr30k"
    (home / "results_20130124.token").unlink()
    lines = piped().replace(f"{NAMES[9]}| 4| ", f"{NAMES[9]}| 4   ").replace("\n", end)
    lines = lines.replace(said(10, 2), 'two | three , 4| "five"')
    lines = lines.replace(f"{NAMES[11]}| 1| ", f"{NAMES[11]} 1 ")
    write(home / "results.csv", lines)
    every = {s.id: s.caption for s in load_dataset("flickr30k", root=flickr30k, captions="all")}
    assert every[f"{NAMES[9]}#4"] == said(9, 4)
    assert every[f"{NAMES[10]}#2"] == 'two | three , 4| "five"'
    assert {id for id in every if id.startswith(NAMES[11])} == {
        f"{NAMES[11]}#{j}" for j in (0, 2, 3, 4)
    }
    assert all(every[f"{NAMES[11]}#{j}"] == said(11, j) for j in (0, 2, 3, 4))
    assert len(every) == 14


def test_a_blank_sentence_leaves_the_others_their_numbers(flickr30k):
    home = flickr30k / "flickr30k"
    (home / "results_20130124.token").unlink()
    raw = [{"raw": text} for text in ("", said(10, 1), "  ", said(10, 3))]
    write(home / "dataset_flickr30k.json", karpathy(sentences=raw))
    every = load_dataset("flickr30k", root=flickr30k, captions="all")
    own = {s.id: s.caption for s in every if number(s) == 10}
    assert own == {f"{NAMES[10]}#{j}": said(10, j) for j in (1, 3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(filename="../" + NAMES[10]), "is no path below"),
        (dict(filename=7), "7"),
        (dict(filename=""), "is no path below|id"),
        (dict(sentences=[]), "is empty"),
        (dict(sentences=[{"raw": " "}]), "is empty"),
    ],
)
def test_a_damaged_entry_costs_one_sample(change, message, flickr30k):
    (flickr30k / "flickr30k/results_20130124.token").unlink()
    write(flickr30k / "flickr30k/dataset_flickr30k.json", karpathy(**change))
    check_one_fails(load_dataset("flickr30k", root=flickr30k), 1, message)


def test_a_caption_of_another_encoding_in_json_costs_one_sample(flickr30k):
    home = flickr30k / "flickr30k"
    (home / "results_20130124.token").unlink()
    spoilt = karpathy().encode().replace(b"a thing 10 , told 3", b"a th\xefng 10")
    write(home / "dataset_flickr30k.json", spoilt)
    check_one_fails(load_dataset("flickr30k", root=flickr30k), 1, "is not UTF-8")


@pytest.mark.parametrize(
    "text",
    ["", "{", karpathy()[:-40], "[]", '{"images": 3}', '{"images": [3]}', karpathy(sentences=["a"])]
    + ['{"images": [{"split": "test", "sentences": []}]}'],
)
def test_damaged_json_is_one_error_with_its_name(text, flickr30k):
    write(flickr30k / "flickr30k/dataset_flickr30k.json", text)
    with pytest.raises(ValueError, match="dataset_flickr30k.json") as error:
        load_dataset("flickr30k", root=flickr30k)
    assert not isinstance(error.value, SampleError)


def test_without_a_list_only_the_whole_set_can_be_had(flickr30k):
    (flickr30k / "flickr30k/dataset_flickr30k.json").unlink()
    assert len(load_dataset("flickr30k/all", root=flickr30k)) == 12
    with pytest.raises(
        DataMissing, match=r"dataset_flickr30k.json or val.txt or .* 'val'.*Illinois"
    ):
        load_dataset("flickr30k", split="val", root=flickr30k)
