"""JSON files of COCO's kind: objects with an "id" in a few lists, of which one is too long to be
parsed for the sake of some of its objects (COCO's outlines: 450 MB)."""

import json
import mmap
import re
from array import array
from pathlib import Path

STRING = rb'"(?:[^"\\]++|\\.)*+"'
INSIDE = rb'(?:[^{}"]++|%s)*+' % STRING
for _ in range(3):  # objects within an object
    INSIDE = rb"%s(?:\{%s\}%s)*+" % (INSIDE, INSIDE, INSIDE)
ITEM = re.compile(rb"\s*+(\{%s\})\s*+([,\]])" % INSIDE, re.DOTALL)
EMPTY = re.compile(rb"\s*+\]")


def whole(path: Path) -> dict:
    """The file's object. Bytes that are not UTF-8 become lone surrogates, by which `Row.sample`
    knows them. Raises ValueError for a file that is damaged."""
    return as_object(path.read_text("utf-8-sig", "surrogateescape"), path)


def as_object(data: str | bytes, path: Path) -> dict:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it must hold an object, not {type(found).__name__}")
    return found


def by_id(content: dict, name: str, path: Path, key: str = "id") -> dict[int, dict]:
    """The objects of one list by their id, which lies under `key`. Raises ValueError where one has
    none, or another's."""
    entries, found = content.get(name), {}
    for entry in entries if isinstance(entries, list) else [None]:
        id = entry.get(key) if isinstance(entry, dict) else None
        if type(id) is not int:
            raise ValueError(
                f'{path} is damaged: "{name}" must list objects with an integer "{key}"'
            )
        if id in found:
            raise ValueError(f'{path} is damaged: "{name}" has the id {id} twice')
        found[id] = entry
    return found


def spans(path: Path, name: str, key: str) -> tuple[dict, dict[int, array]]:
    """Where the objects of the list `name` lie, parsed when asked for by `parsed`.

    Returns the file's object with that list empty, and by the integer that the objects have under
    `key` their first and last byte, one after another. Raises ValueError for a damaged file; what
    is wrong within an object of the list shows when it is parsed.
    """
    found: dict[int, array] = {}
    number = re.compile(rb'"%s"\s*+:\s*+(-?\d++)(?![\d.eE])' % key.encode())
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = re.search(rb'"%s"\s*+:\s*+\[' % name.encode(), data)
            position = first = start.end() if start else len(data)
            more = start and not EMPTY.match(data, position)
            while more:
                item = ITEM.match(data, position)
                value = item and number.search(data, *item.span(1))
                if not value:
                    raise ValueError(f'there is no object with "{key}" at byte {position}')
                found.setdefault(int(value[1]), array("q")).extend(item.span(1))
                position, more = item.end(), item[2] == b","
            position -= bool(found)  # the bracket that ends the list
            rest = as_object(data[:first] + data[position:], path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if rest.get(name) != []:
        raise ValueError(f'{path} is damaged: it has no list "{name}"')
    return rest, found


def parsed(path: Path, places: array) -> list[dict]:
    """The objects at places that `spans` found. Raises ValueError for one that is no JSON."""
    with path.open("rb") as file:
        found = []
        for first, end in zip(places[::2], places[1::2]):
            file.seek(first)
            found.append(as_object(file.read(end - first), path))
        return found
