"""Photographs with captions and places of our own, listed in photos.json.

The first 9 come with scikit-image, scikit-learn and Matplotlib, so that they are always there. The
others come with Debian's package opencv-doc. It is fetched with apt-get into a private folder,
without root, once somebody asks for more than 9; `XAI_OPENCV` may name the .deb or an unpacked
folder instead. The outlines of all were drawn by hand, in the pixels of the picture that is kept:
`python -m tools.sheet photos FILE` shows them.
"""

import gzip
import json
import os
import tempfile
import warnings
from functools import cache, cached_property
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path

from PIL import Image

from ..images import rgb
from .cache import cache_folder, prepared
from .debian import DataMissing, unpacked
from .samples import Dataset, Sample, Thing

PACKAGE, VARIABLE = "opencv-doc", "XAI_OPENCV"
SHIPPED = 9  # with packages that the kit needs anyway
SIDE = 640  # a larger picture of the package is scaled to this longer side, pixels


def photos(split: str, seed: int, n: int | None) -> Dataset:
    if split != "test":
        raise ValueError(f'photos has only the split "test", got {split!r}')
    n = len(table()[:n])
    return Dataset("photos", n, photo) if n <= SHIPPED else Photos("photos", n, photo)


class Photos(Dataset):
    """More photographs than are always there. The package is fetched when a sample beyond those or
    the length is asked for. Where it cannot be had the data set ends before that sample, and a
    warning says why."""

    @cached_property
    def there(self) -> int:
        reason = missing(str(cache_folder()), os.environ.get(VARIABLE))
        if reason:
            warnings.warn(f"{SHIPPED} photos instead of {self._n}: {reason}", stacklevel=4)
        return SHIPPED if reason else self._n

    def __len__(self) -> int:
        return self.there

    def __getitem__(self, i):
        near = range(SHIPPED + 1)
        if isinstance(i, slice):
            shipped = i.stop in near and (i.start or 0) in near
        else:
            shipped = isinstance(i, Integral) and i in near[:-1]
        return Dataset(self.name, SHIPPED, self._make)[i] if shipped else super().__getitem__(i)


@cache
def missing(_root: str, _given: str | None) -> str:
    """Why the package's photographs cannot be had, "" where they can. The answer holds for the
    process, so that apt-get is not waited for again."""
    try:
        prepared("photos-1", build)
    except (DataMissing, ValueError) as error:
        return str(error)
    return ""


def photo(i: int) -> Sample:
    row = table()[i]
    if row["package"] == PACKAGE:
        image = prepared("photos-1", build) / kept_as(row)
    else:
        image = Path(find_spec(row["package"]).submodule_search_locations[0]) / row["file"]
    things = tuple(Thing(**thing) for thing in row["things"])
    return Sample(row["id"], image, row["caption"], things, row["label"])


@cache
def table() -> list[dict]:
    """Those that are always there, then the package's: id, package, file, caption, label, things;
    of the package's also size, the width and height that the outlines are drawn for."""
    return json.loads(Path(__file__).with_name("photos.json").read_text(encoding="utf-8"))


def build(folder: Path) -> None:
    """Unpack the package and keep the photographs: those of at most `SIDE` pixels as they are,
    larger ones scaled down."""
    with tempfile.TemporaryDirectory() as scratch:
        hint = f"the first {SHIPPED} photos work without; for the others"
        source = unpacked(PACKAGE, VARIABLE, Path(scratch), hint)
        files = {f.as_posix().removesuffix(".gz"): f for f in sorted(source.rglob("*.*"))}
        for row in table()[SHIPPED:]:
            found = [f for name, f in files.items() if name.endswith(f"/{row['file']}")]
            if not found:
                raise DataMissing(
                    f"no {row['file']} under {source}: {VARIABLE} must name the unpacked {PACKAGE}"
                    " or its .deb"
                )
            keep(found[0], row, folder / kept_as(row))


def keep(file: Path, row: dict, target: Path) -> None:
    data = file.read_bytes()
    target.write_bytes(gzip.decompress(data) if file.suffix == ".gz" else data)
    image = rgb(target, row["file"])
    large = max(image.size) > SIDE
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if image.size != tuple(row["size"]):
        raise DataMissing(
            f"{file} is {image.size[0]} x {image.size[1]} pixels and not the picture whose outlines"
            f" are known: get another version of {PACKAGE}"
        )
    if large:
        image.save(target, quality=95)


def kept_as(row: dict) -> str:
    return row["id"] + Path(row["file"]).suffix
