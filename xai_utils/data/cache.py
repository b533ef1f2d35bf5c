"""One folder for everything the kit prepares: made once, checked at every use, made again if
damaged."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
import psutil
from filelock import FileLock

MANIFEST = "MANIFEST.json"
WHOLE, DAMAGED = "whole", "damaged"  # all that a build's folder holds


def cache_folder() -> Path:
    """`XAI_CACHE`, else the user's cache directory."""
    return Path(os.environ.get("XAI_CACHE") or platformdirs.user_cache_dir("xai-utils"))


def prepared(name: str, build: Callable[[Path], None]) -> Path:
    """The cache's folder `name`, filled by `build(empty_folder)`.

    Its manifest holds the SHA-256 of every file. Where one of them is missing, cut short or
    changed, the folder is built anew. It is built aside and renamed when whole, under a lock, so
    that neither a killed run nor two at once spoil it; what a killed build has left aside is
    removed by the next one. An intact folder is only read, so that its disk may be read-only.
    Raises ValueError where the cache must be written and cannot be, or where a folder or a file of
    somebody else's is in the way: nothing is removed that was not built here.
    """
    folder = cache_folder() / name
    if intact(folder):
        return folder
    root = writable(folder.parent)
    with FileLock(root / f"{name}.lock"):
        clear_parts(root, name)
        if not intact(folder):
            prefix = f"{name}.part-{os.getpid()}-"
            with tempfile.TemporaryDirectory(dir=root, prefix=prefix) as aside:
                fresh = Path(aside) / WHOLE
                fresh.mkdir()
                build(fresh)
                (fresh / MANIFEST).write_text(json.dumps(digests(fresh), indent=0, sort_keys=True))
                if folder.exists():
                    check_own(folder)
                    folder.rename(Path(aside) / DAMAGED)
                fresh.rename(folder)
    return folder


def writable(root: Path) -> Path:
    """The folder itself, made where it is missing. Raises ValueError where it cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to the cache folder {root} ({error.strerror}): set XAI_CACHE to one"
            " that can"
        ) from error
    return root


def clear_parts(root: Path, name: str) -> None:
    """Remove what builds of `name` have left that were killed. Whoever holds the lock of `name` is
    the only one that builds it; a process that lives is left alone all the same."""
    own = re.compile(re.escape(name) + r"\.part-(?:(\d+)-)?[a-z0-9_]{8}")
    for part in root.glob(f"{name}.part-*"):
        found = own.fullmatch(part.name)
        if found is None or part.is_symlink() or not part.is_dir():
            continue
        lives = found[1] is not None and psutil.pid_exists(int(found[1]))
        own_files = (p.name in (WHOLE, DAMAGED) or p.name.startswith(name) for p in part.iterdir())
        if not lives and all(own_files):
            shutil.rmtree(part, ignore_errors=True)


def check_own(folder: Path) -> None:
    """Raises ValueError for a folder that holds anything that was not built here."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ValueError(f"{folder} was not built by this kit (no {MANIFEST} in it): move it away")
    try:
        known = json.loads(manifest.read_text())
    except ValueError:  # cut short: what lies beside it was built with it
        return
    if strange := sorted(set(digests(folder)) - set(known)):
        raise ValueError(
            f"{folder} is damaged, and cannot be built anew because {strange[0]} in it is not the"
            " kit's: move it away"
        )


def intact(folder: Path) -> bool:
    """Whether every file of the manifest is there as it was written; others do not count."""
    try:
        wanted = json.loads((folder / MANIFEST).read_text())
        return wanted.items() <= digests(folder).items()
    except (OSError, ValueError, AttributeError):
        return False


def digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }
