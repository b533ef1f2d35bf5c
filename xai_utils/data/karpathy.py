"""Captions and splits as Karpathy and Fei-Fei (2015) published them for several data sets:
{"images": [{"filename": ..., "split": ..., "sentences": [{"raw": ...}, ...]}, ...]}."""

from pathlib import Path

from .records import whole


def described(path: Path) -> list[tuple[str, str, dict[int, str]]]:
    """(split, picture, its captions by their numbers), in the file's order."""
    try:
        return [
            (one["split"], one["filename"], {k: s["raw"] for k, s in enumerate(one["sentences"])})
            for one in whole(path)["images"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has not images[].filename, .split and .sentences[].raw everywhere: {error!r}"
        ) from error
