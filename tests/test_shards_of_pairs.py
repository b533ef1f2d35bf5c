"""Conceptual Captions and LAION: pairs in tar shards, and tables beside pictures."""

import io
import random
import tarfile
import warnings
import zlib
from pathlib import Path

import pytest
from painted import check_drawing, check_one_fails, failing, number, picture, told, write

from xai_utils.data import DataMissing, SampleError, load_dataset, shards_of_pairs
from xai_utils.data.shards_of_pairs import members, pairs_of
from xai_utils.data.shards_of_pairs import number as number_in

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def said(k: int) -> str:
    return f"a thing {k} ."


def of_pair(k: int) -> list[tuple[str, bytes]]:
    """The members that img2dataset writes of the k-th pair."""
    key = f"{k:09d}"
    return [
        (f"{key}.jpg", picture(k)),
        (f"{key}.json", b'{"caption": "a caption of the json", "key": "%s"}' % key.encode()),
        (f"{key}.txt", said(k).encode()),
    ]


def shard(path: Path, files: list, layout: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of (name, bytes), or of (name, type, target) for a link. As webdataset writes them,
    each has a time in fractions of a second, which in pax takes a header of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=layout) as tar:
        for name, data, *target in files:
            info = tarfile.TarInfo(name)
            info.mtime, info.uname, info.mode = 1700000000.123, "bigdata", 0o444
            if target:
                info.type, info.linkname = data, target[0]
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def pairs(start: int, stop: int) -> list[tuple[str, bytes]]:
    return [file for k in range(start, stop) for file in of_pair(k)]


def expected(name: str, start: int, stop: int) -> dict[str, tuple[int, str]]:
    return {f"{name}/{k:09d}": (k, said(k)) for k in range(start, stop)}


@pytest.fixture
def laion(tmp_path):
    """img2dataset's folder with three shards of four pairs."""
    home = tmp_path / "laion"
    for s in range(3):
        shard(home / f"{s:05d}.tar", pairs(4 * s, 4 * s + 4))
        write(home / f"{s:05d}.parquet", b"PAR1")
        write(home / f"{s:05d}_stats.json", '{"successes": 4}')
    return tmp_path


def test_img2datasets_shards_in_every_field(laion):
    dataset = load_dataset("laion", root=laion)
    assert dataset.name == "laion/train"
    every = expected("00000", 0, 4) | expected("00001", 4, 8) | expected("00002", 8, 12)
    assert [*told(dataset).items()] == [*every.items()]
    for sample in dataset:
        assert sample.image.size[1] == 30 and sample.image.mode == "RGB"
        assert sample.captions == () and sample.things == () and sample.judgements == ()
        assert sample.matched and sample.label is None and sample.source is None
    assert told(load_dataset("laion", root=laion, captions="all")) == every


def test_laion_is_drawn_and_pickled(laion):
    check_drawing("laion", laion)


@pytest.mark.parametrize("layout", FORMATS)
def test_every_layout_of_tar_and_long_names(layout, tmp_path):
    deep = "a" * 60 + "/" + "b" * 80  # longer than a header's 100 bytes
    files = [(f"{deep}.jpg", picture(3)), (f"{deep}.txt", b"deep"), *pairs(5, 7)]
    shard(tmp_path / "laion/00000.tar", files, FORMATS[layout])
    every = {f"00000/{deep}": (3, "deep")} | expected("00000", 5, 7)
    assert told(load_dataset("laion", root=tmp_path)) == every


def test_a_name_that_only_pax_and_gnu_can_hold(tmp_path):
    key = "sch\u00f6n-" + "c" * 200
    for layout in ("pax", "gnu"):
        files = [(f"{key}.jpg", picture(3)), (f"{key}.txt", b"long"), *pairs(5, 6)]
        shard(tmp_path / "laion/00000.tar", files, FORMATS[layout])
        every = {f"00000/{key}": (3, "long")} | expected("00000", 5, 6)
        assert told(load_dataset("laion", root=tmp_path)) == every


@pytest.mark.parametrize("layout", FORMATS)
def test_members_are_tarfiles(layout, tmp_path):
    """Against the standard library's reader, on files, folders and links of all lengths."""
    rng = random.Random(0)
    files = [
        (f"{'d' * rng.randrange(1, 60)}/{k}.jpg", rng.randbytes(rng.choice([0, 1, 511, 512, 513])))
        for k in range(40)
    ]
    files[7:7] = [("folder", tarfile.DIRTYPE, ""), ("a.jpg", tarfile.SYMTYPE, "b" * 99)]
    files[20:20] = [("h.jpg", tarfile.LNKTYPE, files[0][0]), ("p.jpg", tarfile.FIFOTYPE, "")]
    if layout != "ustar":
        files += [("s.txt", tarfile.SYMTYPE, "t" * 300), ("n" * 300 + ".jpg", b"abc")]
    path = shard(tmp_path / "a.tar", files, FORMATS[layout])
    with open(path, "rb") as file:
        found = [
            (name.rstrip("/"), kind, start, size) for name, kind, start, size in members(file, path)
        ]
    with tarfile.open(path) as tar:
        assert found == [(m.name, m.type, m.offset_data, m.size) for m in tar]


def test_sizes_above_eight_gigabytes_are_binary():
    assert number_in(b"\x80" + bytes(6) + (12 << 30).to_bytes(5, "big")) == 12 << 30
    assert number_in(b"00000001750\0") == 1000 and number_in(b"   17 \0\0\0\0\0\0") == 15
    with pytest.raises(ValueError):
        number_in(b"12a45678901\0")


def test_endings_in_any_case_and_of_other_kinds(tmp_path):
    files = [
        *[("a.JPG", picture(1)), ("a.TXT", b"one")],
        *[("b.jpeg", picture(2)), ("b.txt", b"two")],
        *[("c.png", picture(3, "png", "L")), ("c.txt", b"three")],
        *[("d.WebP", picture(4, "webp")), ("d.txt", b"\xef\xbb\xbf four\r\n")],
        *[("./e.jpg", picture(5)), ("./e.txt", "fünf".encode())],
        *[("sub/a.jpg", picture(6)), ("sub/a.txt", b"six")],
        *[("a.seg.png", picture(7)), ("a.cls", b"3"), ("README", b"no pair"), (".txt", b"hidden")],
    ]
    shard(tmp_path / "laion/s.tar", files)
    keys = ("s/a", "s/b", "s/c", "s/d", "s/e", "s/sub/a")
    words = ("one", "two", "three", "four", "fünf", "six")
    every = {key: (k + 1, word) for k, (key, word) in enumerate(zip(keys, words))}
    assert told(load_dataset("laion", root=tmp_path)) == every


def test_captions_far_from_their_pictures_find_them(tmp_path):
    files = sorted(pairs(0, 9), key=lambda file: file[0].rpartition(".")[2])
    random.Random(1).shuffle(files)
    shard(tmp_path / "laion/s.tar", files)
    assert told(load_dataset("laion", root=tmp_path)) == expected("s", 0, 9)


def without(files: list, *names: str) -> list:
    return [file for file in files if file[0] not in names]


SECOND = "000000001"
DAMAGE = {  # what happens to the second of four pairs, and what its error says
    "two captions": (lambda f: [*f, (f"{SECOND}.txt", b"another")], "two captions"),
    "the caption twice": (lambda f: [*f, (f"{SECOND}.txt", said(1).encode())], "two captions"),
    "two pictures": (lambda f: [*f, (f"{SECOND}.jpg", picture(9))], "two pictures"),
    "two kinds": (lambda f: [*f, (f"{SECOND}.png", picture(9, "png"))], "two pictures"),
    "doubled key": (lambda f: [*f, *of_pair(1)], "two pictures|two captions"),
    "no caption": (lambda f: without(f, f"{SECOND}.txt"), "no caption in its shard"),
    "no picture": (lambda f: without(f, f"{SECOND}.jpg"), "no picture in its shard"),
    "other encoding": (lambda f: replaced(f, "txt", b"a caf\xe9"), "is not UTF-8"),
    "empty caption": (lambda f: replaced(f, "txt", b""), "is empty"),
    "blank caption": (lambda f: replaced(f, "txt", b" \n"), "is empty"),
    "zero bytes": (lambda f: replaced(f, "txt", bytes(20)), "zero bytes"),
    "endless caption": (lambda f: replaced(f, "txt", b"a " * (1 << 20)), "too long"),
    "cut picture": (lambda f: replaced(f, "jpg", picture(1)[:-150]), "cannot be read"),
    "no picture's bytes": (lambda f: replaced(f, "jpg", b"<html>"), "cannot be read"),
    "empty picture": (lambda f: replaced(f, "jpg", b""), "cannot be read"),
    "symbolic link": (
        lambda f: [
            (name, tarfile.SYMTYPE, "000000000.jpg") if name == f"{SECOND}.jpg" else (name, *rest)
            for name, *rest in f
        ],
        "is a link",
    ),
    "hard link": (
        lambda f: [
            (name, tarfile.LNKTYPE, "/etc/passwd") if name == f"{SECOND}.txt" else (name, *rest)
            for name, *rest in f
        ],
        "is a link",
    ),
}


def replaced(files: list, ending: str, data: bytes) -> list:
    return [(name, data if name == f"{SECOND}.{ending}" else old) for name, old in files]


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_within_a_shard_costs_one_pair(kind, tmp_path):
    change, message = DAMAGE[kind]
    shard(tmp_path / "laion/00000.tar", change(pairs(0, 4)))
    dataset = load_dataset("laion", root=tmp_path)
    assert len(dataset) == 4
    check_one_fails(dataset, 1, message)
    for i in (0, 2, 3):
        assert (number(dataset[i]), dataset[i].caption) == (i, said(i))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:x", "..\\x", "\\x"])
def test_a_name_that_leaves_the_shard_fails(name, tmp_path):
    files = [(f"{name}.jpg", picture(7)), (f"{name}.txt", b"away"), *pairs(0, 2)]
    shard(tmp_path / "laion/s.tar", files)
    dataset = load_dataset("laion", root=tmp_path)
    check_one_fails(dataset, 0, "leaves the shard")
    assert len(dataset) == 3


def test_a_bomb_of_pixels_costs_one_pair(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 60)
    shard(tmp_path / "laion/s.tar", pairs(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(failing(load_dataset("laion", root=tmp_path))) == [0]


def read_or_refused(root: Path) -> dict[str, tuple[int, str]] | None:
    try:
        dataset = load_dataset("laion", root=root)
    except ValueError as error:
        assert "00000.tar" in str(error) or "no samples" in str(error)
        return None
    found = {}
    for i in range(len(dataset)):
        try:
            found[dataset[i].id] = number(dataset[i]), dataset[i].caption
        except SampleError:
            continue
    return found


@pytest.mark.parametrize("layout", FORMATS)
def test_a_shard_cut_anywhere_never_gives_a_wrong_pair(layout, tmp_path):
    path = shard(tmp_path / "laion/00000.tar", pairs(0, 3), FORMATS[layout])
    whole, right = path.read_bytes(), expected("00000", 0, 3)
    seen = set()
    for length in [*range(0, len(whole), 173), *range(0, len(whole), 512)]:
        path.write_bytes(whole[:length])
        found = read_or_refused(tmp_path)
        assert found is None or found.items() <= right.items()
        seen.add(-1 if found is None else len(found))
    assert seen == {-1, 0, 1, 2, 3}


def test_a_spoilt_header_never_gives_a_wrong_pair(tmp_path):
    path = shard(tmp_path / "laion/00000.tar", pairs(0, 3))
    whole, right = path.read_bytes(), expected("00000", 0, 3)
    with tarfile.open(path) as tar:
        headers = [m.offset_data - 512 for m in tar]
    rng = random.Random(0)
    for header in headers * 9:
        at = header + rng.choice([rng.randrange(512), *range(8, 14), *range(124, 136)])
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt)
        found = read_or_refused(tmp_path)
        assert found is None or found == right


@pytest.mark.parametrize("data", [b"", b"\0" * 2048, b"<html>" * 200, b"\x1f\x8b" + bytes(900)])
def test_a_file_that_is_no_shard_is_one_error_with_its_name(data, laion):
    write(laion / "laion/00001.tar", data)
    with pytest.raises(ValueError, match="00001.tar is .*no (whole )?tar shard"):
        load_dataset("laion", root=laion)


def test_few_shards_are_read_for_few_samples(tmp_path, monkeypatch):
    for s in range(25):
        shard(tmp_path / f"laion/{s:05d}.tar", pairs(2 * s, 2 * s + 2))
    read = []
    monkeypatch.setattr(
        shards_of_pairs, "pairs_of", lambda path: read.append(path.stem) or pairs_of(path)
    )

    def ids(**options) -> list[str]:
        read.clear()
        return list(told(load_dataset("laion", root=tmp_path, **options)))

    few = ids(n=6)
    assert len(read) == len(set(read)) == 10 and len(set(few)) == 6
    assert len({id.partition("/")[0] for id in ids(n=20)}) == 10
    more = ids(n=27)
    assert len(read) == 20 and more[:6] == few and len(set(more)) == 27
    every = ids(n=99)
    assert len(read) == 25 and every[:27] == more and len(set(every)) == 50
    assert ids(n=6) == few != ids(n=6, seed=1)
    assert ids() == sorted(every)


def test_every_pair_is_as_likely_as_any_other(tmp_path):
    for s in range(20):
        shard(tmp_path / f"laion/{s:05d}.tar", pairs(2 * s, 2 * s + 2))
    counts = dict.fromkeys(range(40), 0)
    for seed in range(200):
        for row in shards_of_pairs.sampled(sorted((tmp_path / "laion").glob("*.tar")), 4, seed):
            counts[int(row.id.partition("/")[2])] += 1
    assert sum(counts.values()) == 800
    assert sum((c - 20) ** 2 / 20 for c in counts.values()) < 72.1  # chi-squared, 39, 0.999


CC_SHARDS = {  # file name -> the first of its two pairs, and the split that it belongs to
    "img2dataset": {"00000.tar": (0, "train"), "00001.tar": (2, "train")},
    "folders": {"train/00000.tar": (0, "train"), "validation/00000.tar": (2, "validation")},
    "other folders": {"training/a.tar": (0, "train"), "val/b.tar": (2, "validation")},
    "names": {
        "cc3m-train-0000.tar": (0, "train"),
        "cc3m-train-0001.tar": (2, "train"),
        "cc3m-validation-0000.tar": (4, "validation"),
    },
    "only one named": {"00000.tar": (0, "train"), "val-0.tar": (2, "validation")},
}


@pytest.mark.parametrize("kind", CC_SHARDS)
def test_conceptual_captions_in_shards(kind, tmp_path):
    layout = CC_SHARDS[kind]
    for name, (k, _) in layout.items():
        shard(tmp_path / "cc3m" / name, pairs(k, k + 2))
    for split in ("train", "validation"):
        own = [(Path(name).stem, k) for name, (k, of) in layout.items() if of == split]
        if not own:
            with pytest.raises(DataMissing, match=f"'{split}'.*Google"):
                load_dataset("cc3m", split=split, root=tmp_path)
            continue
        every = {}
        for stem, k in own:
            every |= expected(stem, k, k + 2)
        assert told(load_dataset("cc3m", split=split, root=tmp_path)) == every
    assert load_dataset("cc3m", root=tmp_path).name == "cc3m/train"


def table(home: Path, header: str, name="Train_GCC-training_output.csv", end="\n") -> None:
    columns = header.split("\t")
    lines = [header]
    for k in range(12):
        path = f"train/{k % 5}/{k}.jpg"
        write(home / ("cc_data" if k % 2 else ".") / path, picture(k))
        fields = {"title": said(k), "filepath": path}
        lines.append("\t".join(fields.get(column, "0.3") for column in columns))
    write(home / name, end.join([*lines, ""]))


@pytest.mark.parametrize("header", ["title\tfilepath", "filepath\ttitle", "filepath\tscore\ttitle"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_open_clips_table(header, end, tmp_path):
    table(tmp_path / "cc3m", header, end=end)
    dataset = load_dataset("cc3m", root=tmp_path)
    assert told(dataset) == {f"row {k}": (k, said(k)) for k in range(12)}
    assert dataset[7].source == "train/2/7.jpg"
    check_drawing("cc3m", tmp_path)


def test_open_clips_other_tables(tmp_path):
    table(tmp_path / "cc3m", "filepath\ttitle", "train.csv")
    table(tmp_path / "cc3m", "filepath\ttitle", "Validation_GCC-1.1.0-Validation_output.csv")
    for split in ("train", "validation"):
        assert len(load_dataset("cc3m", split=split, root=tmp_path)) == 12


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (f"{said(3)}\t../3.jpg", "is no path below"),
        (f"{said(3)}\t/data/3.jpg", "is no path below"),
        (f"{said(3)}\tC:\\3.jpg", "is no path below"),
        (f"{said(3)}\ttrain/3/30.jpg", "there is no picture"),
        (said(3), "it has 1 columns, the header 2"),
        (f"a tab\tin it\t{'train/3/3.jpg'}", "it has 3 columns"),
        ("\ttrain/3/3.jpg", "is empty"),
        (f"{said(3)}\t", "is no path below"),
        ("a caf\udce9\ttrain/3/3.jpg", "is not UTF-8"),
        ('"an open quote\ttrain/3/3.jpg', None),
        ('"told ""so"""\ttrain/3/3.jpg', None),
    ],
)
def test_a_damaged_row_costs_itself_and_no_other(new, message, tmp_path):
    table(tmp_path / "cc3m", "title\tfilepath")
    file = tmp_path / "cc3m/Train_GCC-training_output.csv"
    lines = file.read_text().replace(f"{said(3)}\ttrain/3/3.jpg", new)
    file.write_bytes(lines.encode(errors="surrogateescape"))
    dataset = load_dataset("cc3m", root=tmp_path)
    others = [k for k in range(12) if k != 3]
    assert {k: (number(dataset[k]), dataset[k].caption) for k in others} == {
        k: (k, said(k)) for k in others
    }
    if message:
        check_one_fails(dataset, 3, message)
    else:
        assert dataset[3].caption in ('"an open quote', 'told "so"') and number(dataset[3]) == 3


@pytest.mark.parametrize("header", ["", "filepath,title", "title\tpath"])
def test_a_table_without_its_columns_is_refused(header, tmp_path):
    write(tmp_path / "cc3m/train.csv", f"{header}\na.jpg\tb\n")
    with pytest.raises(ValueError, match='train.csv has no columns "filepath" and "title"'):
        load_dataset("cc3m", root=tmp_path)


def link(k: int) -> str:
    return f"http://example.org/{k}.jpg?size=1"


def google(home: Path, links: list[str], name="Train_GCC-training.tsv", folder="training"):
    for k, url in enumerate(links):
        write(home / folder / str(zlib.crc32(url.encode())), picture(k))
    write(home / name, "".join(f"{said(k)}\t{url}\n" for k, url in enumerate(links)))


@pytest.mark.parametrize("header", ["", "caption\turl\n"])
def test_googles_table_and_the_downloaders_names(header, tmp_path):
    home = tmp_path / "cc3m"
    google(home, [link(k) for k in range(12)])
    google(home, [link(k) for k in (20, 21)], "Validation_GCC-1.1.0-Validation.tsv", "validation")
    file = home / "Train_GCC-training.tsv"
    file.write_text(header + file.read_text())
    write(home / "downloaded_training_report.tsv", "training/1\ttraining\timage/jpeg\n")
    dataset = load_dataset("cc3m", root=tmp_path)
    assert told(dataset) == {f"row {k}": (k, said(k)) for k in range(12)}
    assert dataset[5].source == f"training/{zlib.crc32(link(5).encode())}"
    assert len(load_dataset("cc3m", split="validation", root=tmp_path)) == 2
    check_drawing("cc3m", tmp_path)


def test_two_links_of_one_name_are_not_guessed(tmp_path):
    """The downloader keeps the picture of whichever came first, under the name of both."""
    rng, seen = random.Random(0), {}
    while True:
        one = f"http://example.org/{rng.randbytes(8).hex()}.jpg"
        if (other := seen.setdefault(zlib.crc32(one.encode()), one)) != one:
            break
    google(tmp_path / "cc3m", [link(1), one, link(2), other, link(3), link(3)])
    dataset = load_dataset("cc3m", root=tmp_path)
    assert list(failing(dataset)) == [1, 3]
    with pytest.raises(SampleError, match="another link has the same CRC-32"):
        dataset[3]
    assert [number(dataset[i]) for i in (0, 2)] == [0, 2]
    assert dataset[4].image.size == dataset[5].image.size
    assert [dataset[i].caption for i in (4, 5)] == [said(4), said(5)]
    assert dataset[4].source == dataset[5].source


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("no link", "it has 1 columns"),
        (f"a\ttab\t{link(3)}", "it has 3 columns"),
        (f"\t{link(3)}", "is empty"),
        (f"{said(3)}\t{link(99)}", "there is no picture"),
        (f"a caf\udce9\t{link(3)}", "is not UTF-8"),
    ],
)
def test_a_damaged_row_of_googles_costs_itself(new, message, tmp_path):
    google(tmp_path / "cc3m", [link(k) for k in range(6)])
    file = tmp_path / "cc3m/Train_GCC-training.tsv"
    lines = file.read_text().replace(f"{said(3)}\t{link(3)}", new)
    file.write_bytes(lines.encode(errors="surrogateescape"))
    check_one_fails(load_dataset("cc3m", root=tmp_path), 3, message)


def test_what_the_downloader_kept_of_a_dead_link_costs_its_sample(tmp_path):
    google(tmp_path / "cc3m", [link(k) for k in range(6)])
    write(tmp_path / "cc3m/training" / str(zlib.crc32(link(2).encode())), "<html>gone</html>")
    check_one_fails(load_dataset("cc3m", root=tmp_path), 2, "cannot be read")


def test_a_table_without_its_pictures_is_missing(tmp_path):
    write(tmp_path / "cc3m/Train_GCC-training.tsv", f"{said(0)}\t{link(0)}\n")
    with pytest.raises(DataMissing, match="for training for the split 'train'"):
        load_dataset("cc3m", root=tmp_path)
