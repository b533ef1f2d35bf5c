"""One folder for everything the kit prepares: made once, checked at every use, made again if
damaged."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock

MANIFEST = "MANIFEST.json"


def cache_folder() -> Path:
    """`XAI_CACHE`, else the user's cache directory. Raises ValueError where it cannot be
    written."""
    folder = Path(os.environ.get("XAI_CACHE") or platformdirs.user_cache_dir("xai-utils"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to the cache folder {folder} ({error.strerror}): set XAI_CACHE to one"
            " that can"
        ) from error
    return folder


def prepared(name: str, build: Callable[[Path], None]) -> Path:
    """The cache's folder `name`, filled by `build(empty_folder)`.

    Its manifest holds the SHA-256 of every file. Where a file is missing, cut short or changed, the
    folder is built anew. It is built aside and renamed when whole, under a lock, so that neither a
    killed run nor two at once spoil it.
    """
    root = cache_folder()
    folder = root / name
    with FileLock(root / f"{name}.lock"):
        if not intact(folder):
            with tempfile.TemporaryDirectory(dir=root, prefix=f"{name}.part-") as aside:
                fresh = Path(aside) / "whole"
                fresh.mkdir()
                build(fresh)
                (fresh / MANIFEST).write_text(json.dumps(digests(fresh), indent=0, sort_keys=True))
                shutil.rmtree(folder, ignore_errors=True)
                fresh.rename(folder)
    return folder


def intact(folder: Path) -> bool:
    try:
        return json.loads((folder / MANIFEST).read_text()) == digests(folder)
    except (OSError, ValueError):
        return False


def digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }
