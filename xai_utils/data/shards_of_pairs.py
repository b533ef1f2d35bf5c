"""Pairs in tar shards, as img2dataset and webdataset write them: KEY.jpg and KEY.txt.

An index of a shard reads its headers and captions and no picture; a picture is read at its place in
the shard when its sample is asked for. Nothing is ever unpacked.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zlib import adler32

from PIL import Image

from .distributed import Row, drawn, unreadable

TOGETHER = 10  # so many shards are drawn at once, and then pairs among all of theirs
PICTURES = ("jpg", "jpeg", "png", "webp")
LONGEST = 1 << 20  # bytes of a caption, or of a member that names the next one

BLOCK = 512
END = bytes(BLOCK)
PLAIN, WITHOUT_DATA = b"\0" + b"07", b"123456"  # types of members; PLAIN are files
NAMING, OTHERS = b"Lx", b"gK"  # members that say something of the next one: L and x its name
KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
AWAY = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)")


@dataclass(slots=True)
class Pair:
    """What a shard has under one key; `place` is where its picture starts and how many bytes it
    has, `wrong` why it cannot be read."""

    shard: Path
    key: str
    place: tuple[int, int] | None = None
    caption: str | None = None
    wrong: str = ""

    def row(self) -> Row:
        wrong = self.wrong
        if not wrong and (self.place is None or self.caption is None):
            wrong = f"it has no {'picture' if self.place is None else 'caption'} in its shard"
        if wrong:
            picture, captions = partial(unreadable, wrong), ()
        else:
            picture, captions = partial(picture_at, self.shard, *self.place), (self.caption,)
        return Row(f"{self.shard.stem}/{self.key}", self.shard, picture, captions)


def sampled(shards: Sequence[Path], n: int | None, seed: int) -> list[Row]:
    """The pairs of all shards in their order where n is None, else n of them.

    They are drawn in two stages, so that few shards are read: `TOGETHER` shards, and then pairs
    among all that these hold; further shards follow only where these hold too few. Every pair is as
    likely as any other where shards hold equally many. Of the same seed, fewer are the beginning of
    more.
    """
    if n is None:
        return [pair.row() for shard in shards for pair in pairs_of(shard)]
    rows, order = [], drawn(len(shards), len(shards), seed)
    for start in range(0, len(order), TOGETHER):
        pairs = [p for i in order[start : start + TOGETHER] for p in pairs_of(shards[i])]
        rows += [pairs[k].row() for k in drawn(len(pairs), n - len(rows), (seed, start + 1))]
        if len(rows) == n:
            break
    return rows


def pairs_of(shard: Path) -> list[Pair]:
    """The pairs of a shard in its order. A key that has two pictures or two captions, a member that
    is a link or whose name leaves the shard, a caption that is too long, and the member in which a
    cut shard ends spoil their own pair only. Raises ValueError for a file that is no tar shard."""
    pairs: dict[str, Pair] = {}
    with open(shard, "rb") as file:
        whole = os.fstat(file.fileno()).st_size
        for name, kind, start, size in members(file, shard):
            away = AWAY.match(name)
            key, ending = name.rpartition(".")[::2] if away else key_and_ending(name)
            if (ending := ending.lower()) != "txt" and ending not in PICTURES:
                continue
            if key not in pairs:
                pairs[key] = Pair(shard, key)
            pair = pairs[key]
            if away:
                pair.wrong = f"the name {name!r} leaves the shard"
            elif kind not in PLAIN:
                pair.wrong = f"{name!r} is a link or a folder, no file"
            elif start + size > whole:
                pair.wrong = f"the shard ends within {name!r}"
            elif ending == "txt":
                add_caption(pair, name, file, size)
            elif pair.place is not None:
                pair.wrong = f"it has two pictures, one of them {name!r}"
            else:
                pair.place = start, size
    return list(pairs.values())


def key_and_ending(name: str) -> tuple[str, str]:
    """webdataset's rule: the key ends at the first dot of the file's name."""
    parts = KEY.fullmatch(name.removeprefix("./"))
    return (parts[1], parts[2]) if parts else ("", "")


def add_caption(pair: Pair, name: str, file: BinaryIO, size: int) -> None:
    data = file.read(min(size, LONGEST + 1))
    if pair.caption is not None:
        pair.wrong = f"it has two captions, one of them {name!r}"
    elif len(data) > LONGEST or b"\0" in data:
        pair.wrong = f"{name!r} holds no caption: it is too long, or has zero bytes"
    pair.caption = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").strip()


def members(file: BinaryIO, shard: Path) -> Iterator[tuple[str, bytes, int, int]]:
    """Name, type, start and size of each member that is a file or a link; the file stands at the
    start of its data. tarfile needs five times as long."""
    at, name, long_size = 0, None, None
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) < BLOCK or header == END:
            if not at:
                raise ValueError(f"{shard} is empty or no tar shard")
            return
        try:
            size, kind = size_and_type(header)
            start = at + BLOCK
            if kind in NAMING:
                if size > LONGEST:
                    raise ValueError(f"{size} bytes of a name")
                said = file.read(size)
                if len(said) < size:  # the shard is cut here
                    return
                new_name, new_size = (text(said), None) if kind == b"L" else extended(said)
                name, long_size = new_name or name, new_size or long_size
        except ValueError as error:
            raise ValueError(f"{shard} is no whole tar shard: byte {at} is no header") from error
        if kind not in NAMING + OTHERS:
            size = 0 if kind in WITHOUT_DATA else long_size or size
            yield name or name_of(header), kind, start, size
            name = long_size = None
        at = start + -(-size // BLOCK) * BLOCK


def size_and_type(header: bytes) -> tuple[int, bytes]:
    """Raises ValueError where the checksum, the sum of the bytes with spaces in place of itself,
    says that this is no header. Adler-32 has one more than the sum of all bytes, modulo 65521, in
    its lower half, and has it in a twentieth of the time."""
    field = header[148:156]
    if (number(field) - 8 * 32 + sum(field) + 1) % 65521 != adler32(header) & 0xFFFF:
        raise ValueError("checksum")
    return number(header[124:136]), header[156:157]


def number(field: bytes) -> int:
    """Octal digits, or where they are too few GNU's binary number."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def name_of(header: bytes) -> str:
    name = text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        name = f"{text(header[345:500])}/{name}"
    return name


def text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def extended(said: bytes) -> tuple[str | None, int | None]:
    """The name and the size in a pax header, "LENGTH key=value" one after the other; most of
    webdataset's say only at which second the member was written."""
    name = size = None
    while b"path=" in said or b"size=" in said:
        length = int(said.partition(b" ")[0])
        record, said = said[:length], said[max(length, 1) :]
        key, _, value = record.partition(b" ")[2].partition(b"=")
        if key == b"path":
            name = text(value.removesuffix(b"\n"))
        elif key == b"size":
            size = int(value)
    return name, size


def picture_at(shard: Path, start: int, size: int) -> Image.Image:
    with open(shard, "rb") as file:
        file.seek(start)
        data = file.read(size)
    try:
        return Image.open(BytesIO(data))
    except Exception as error:  # Pillow's many, some of them not even an OSError
        raise ValueError(f"its picture cannot be read: {error}") from error
