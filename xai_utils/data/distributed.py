"""Data sets that others distribute: where they lie, what is missing, which samples are drawn.

A reader is one file of this folder. It says in a `Source` what the set is, and turns its files into
`Row`s without opening a picture; a `Dataset` opens the picture of row i when sample i is asked for.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np
from PIL import ExifTags, Image

from ..checks import check_choice, check_folder
from ..images import rgb
from .debian import DataMissing
from .samples import Dataset, Sample, SampleError, Thing

CAPTIONS = ("first", "seeded", "all")  # which of a picture's captions is a sample's own


@dataclass(frozen=True)
class Source:
    """A data set as it is distributed.

    name    as for `load_dataset`; its files lie in a folder of this name
    title   its name in print
    splits  the first one is the default
    where   the page that distributes it; terms: what its users agree to
    find    (folder, split) -> the paths that `read` needs; raises DataMissing for one that is
            missing
    read    (folder, split, n, seed) -> list of Row: all in the files' order where n is None, else
            those that `drawn` picks; opens no picture
    """

    name: str
    title: str
    splits: tuple[str, ...]
    where: str
    terms: str
    find: Callable[[Path, str], object]
    read: Callable[[Path, str, int | None, int], "list[Row]"]

    def folder(self, root: str | os.PathLike | None) -> Path:
        """The folder of this set: in `root`, or `root` itself, else in `XAI_DATA`."""
        if root is not None:
            check_folder("root", root)
            inner = Path(root) / self.name
            return inner if inner.is_dir() else Path(root)
        if not os.environ.get("XAI_DATA"):
            raise self.missing(
                f"XAI_DATA is not set; the set is looked for in XAI_DATA/{self.name}"
            )
        return Path(os.environ["XAI_DATA"]).absolute() / self.name

    def split(self, split: str | None) -> str:
        """The split itself, the first one for None."""
        check_choice("split", self.splits[0] if split is None else split, self.splits)
        return split or self.splits[0]

    def missing(self, what: str) -> DataMissing:
        return DataMissing(
            f"{self.title}: {what}. It is distributed by {self.where} ({self.terms})"
        )

    def one_of(self, folder: Path, *names: str, split: str = "") -> Path:
        """The first of these files or folders that is there. Raises DataMissing for none."""
        for name in names:
            if (folder / name).exists():
                return folder / name
        raise self.absent(folder, names, split)

    def some_of(
        self, folder: Path, *patterns: str, split: str = "", without: str = ""
    ) -> list[Path]:
        """The files, by name, of the first of these patterns that fits any, those not counted that
        have `without` in their name. Raises DataMissing for none."""
        for pattern in patterns:
            fit = (p for p in folder.glob(pattern) if not without or without not in p.name.lower())
            if found := sorted(fit):
                return found
        raise self.absent(folder, patterns, split)

    def absent(self, folder: Path, names: Sequence[str], split: str = "") -> DataMissing:
        wanted = " or ".join(names) + (f" for the split {split!r}" if split else "")
        there = "" if folder.is_dir() else " (there is no such folder)"
        return self.missing(f"looked in {folder}{there} for {wanted}")


@dataclass(frozen=True, slots=True)
class Row:
    """What a set's files say of one sample, its picture unopened.

    picture  a path below `folder`, as the files have it, or several, of which the first counts that
             is there, or a function without arguments that opens the picture as anything that
             `xai_utils.images.rgb` takes and can be pickled
    captions    the first one is the sample's own; references: all of the picture's, if others
    numbers     of the captions, where they are not 0, 1, 2, ... because one is missing
    things      the keywords of `Thing` of each, or a function without arguments that gives them,
                so that a mask is made when the sample is; one without a caption has the sample's
    """

    id: str
    folder: Path
    picture: str | tuple[str, ...] | Callable[[], object]
    captions: tuple[str, ...]
    things: tuple[dict, ...] | Callable[[], Iterable[dict]] = ()
    label: int | None = None
    source: str | None = None
    matched: bool = True
    judgements: tuple[float | str, ...] = ()
    references: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def sample(self) -> Sample:
        """The sample with its first caption. Raises SampleError for whatever is wrong with it."""
        try:
            for text in (*self.captions, *self.references):
                text.encode()  # what was not UTF-8 came in as lone surrogates
            picture = self.picture
            image = picture() if callable(picture) else first_there(self.folder, picture)
            if not self.captions or not self.captions[0]:
                raise ValueError(f"caption of {self.id!r} is empty")
            caption = self.captions[0]
            things = self.things() if callable(self.things) else self.things
            return Sample(
                self.id,
                image,
                caption,
                tuple(Thing(**{"caption": caption} | thing) for thing in things),
                self.label,
                self.source,
                self.matched,
                self.references or (self.captions if len(self.captions) > 1 else ()),
                tuple(float(value) for value in self.judgements),
            )
        except UnicodeEncodeError as error:
            raise SampleError(f"a caption of {self.id!r} is not UTF-8: {self.folder}") from error
        except (ValueError, TypeError, OSError, OverflowError) as error:
            raise SampleError(f"{self.id!r} in {self.folder} cannot be read: {error}") from error


def first_there(folder: Path, names: str | tuple[str, ...]) -> Path:
    """The first of these files below `folder` that is there. Raises ValueError for none."""
    paths = [below(folder, name) for name in ((names,) if isinstance(names, str) else names)]
    for path in paths:
        if path.is_file():
            return path
    raise ValueError(f"there is no picture {' or '.join(map(str, paths))}")


def unreadable(reason: str) -> None:
    """In place of a picture (by functools.partial): why the sample cannot be read."""
    raise ValueError(reason)


def numbered(captions: dict[int, str]) -> dict[str, tuple]:
    """The keywords `captions` and `numbers` of a `Row`, in the numbers' order, without empty
    ones."""
    captions = {number: captions[number].strip() for number in sorted(captions)}
    kept = {number: text for number, text in captions.items() if text}
    return dict(captions=tuple(kept.values()), numbers=tuple(kept))


def stored(folder: Path, name: str, size: tuple[int, int]) -> Image.Image:
    """A picture in the pixels of its file, not turned as its EXIF orientation says, for places that
    are given in those. Raises ValueError for one of another size than `size` (H, W)."""
    path = first_there(folder, name)
    with path.open("rb") as file:
        return unturned(file, f"picture {str(path)!r}", size)


def unturned(file: IO[bytes], name: str, size: tuple[int, int] | None = None) -> Image.Image:
    try:
        image = Image.open(file)
        if size not in (None, image.size[::-1]):
            raise ValueError(f"it is {image.height} x {image.width} pixels, not {size}")
        image.load()
        image.getexif().pop(ExifTags.Base.Orientation, None)
    except Exception as error:  # Pillow's many, some of them not even an OSError
        raise ValueError(f"{name} cannot be read: {error}") from error
    return rgb(image, name)


def below(folder: Path, name: str) -> Path:
    """`folder / name`. Raises ValueError for a name that leaves the folder."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    away = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if away or not name.strip() or "\0" in name:
        raise ValueError(f"{name!r} is no path below {folder}")
    return folder / posix


def drawn(total: int, n: int | None, seed: int | Sequence[int]) -> list[int]:
    """Which of `total` rows: all in their order, or n of them in an order that follows from the
    seed. Of the same seed, fewer are the beginning of more."""
    if n is None:
        return list(range(total))
    return np.random.default_rng(seed).permutation(total)[:n].tolist()


def lines(path: Path) -> list[str]:
    """The lines of a text file without their ends. Bytes that are not UTF-8 become lone surrogates,
    by which `Row.sample` knows them, so that one damaged line costs one sample."""
    return path.read_text("utf-8-sig", "surrogateescape").split("\n")


def load(
    source: Source, split: str | None, n: int | None, seed: int, root, captions: str = "first"
) -> Dataset:
    """The samples of one split.

    captions  "first": one sample a picture with its first caption; "seeded": with one that follows
              from the seed and the sample's id; "all": one sample for each caption, "id#0", "id#1"
    """
    check_choice("captions", captions, CAPTIONS)
    split, folder = source.split(split), source.folder(root)
    rows = source.read(folder, split, n, seed)
    if not rows:
        raise ValueError(f"{source.title} has no samples of the split {split!r} in {folder}")
    rows = [one for row in rows for one in choices(row, captions, seed)][:n]
    return Dataset(f"{source.name}/{split}", len(rows), partial(make, rows))


def make(rows: Sequence[Row], i: int) -> Sample:
    return rows[i].sample()


def choices(row: Row, captions: str, seed: int) -> Iterable[Row]:
    """The row itself, or rows of its captions, each with the chosen one first."""
    if captions == "first" or len(row.captions) < 2:
        return [row]
    kept = dict(references=row.captions)
    if captions == "seeded":
        rng = np.random.default_rng([seed, *row.id.encode()])
        return [replace(row, captions=(row.captions[rng.integers(len(row.captions))],), **kept)]
    own = dict(source=row.source or row.id) | kept
    return [
        replace(row, id=f"{row.id}#{k}", captions=(text,), **own)
        for k, text in zip(row.numbers or range(len(row.captions)), row.captions)
    ]
