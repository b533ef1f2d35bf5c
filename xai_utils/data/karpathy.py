"""Captions and splits as Karpathy and Fei-Fei (2015) published them for several data sets:
{"images": [{"filename": ..., "split": ..., "sentences": [{"raw": ...}, ...]}, ...]}."""

import json
from pathlib import Path


def read_json(path: Path):
    """What a JSON file holds. Bytes that are not UTF-8 become lone surrogates, as those of
    `distributed.lines` do. Raises ValueError, with the file's name, for one that is damaged."""
    try:
        return json.loads(path.read_text("utf-8-sig", "surrogateescape"))
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file: {error}") from error


def described(path: Path) -> list[tuple[str, str, dict[int, str]]]:
    """(split, picture, its captions by their numbers), in the file's order."""
    try:
        return [
            (one["split"], one["filename"], {k: s["raw"] for k, s in enumerate(one["sentences"])})
            for one in read_json(path)["images"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has not images[].filename, .split and .sentences[].raw everywhere: {error!r}"
        ) from error
