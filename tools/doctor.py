"""What this machine has and lacks for the kit, and how to get it.

    python3 tools/doctor.py            before anything is installed: the standard library is enough
    .venv/bin/python tools/doctor.py   also what is installed, and data and models

Ends with 1 where something that `make reproduce` needs is missing.
"""

import os
import platform
import re
import shutil
import sys
from importlib import metadata, util
from pathlib import Path

ROOT = Path(__file__).parents[1]
GIGABYTES = 9  # PyTorch's CUDA build with what comes along, the cache, and the notebooks' outputs
INSTALLED = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()


def main() -> int:
    found = [*of_the_machine(), *(of_the_kit() if INSTALLED else [])]
    for state, what, hint in found:
        print(f"{state:8s} {what}")
        if hint:
            print(f"{'':8s}   {hint}")
    if not INSTALLED and not (ROOT / ".venv").exists():
        print("not installed yet: make setup, then make doctor again")
    return int(any(state == "MISSING" for state, *_ in found))


def line(there: bool, what: str, hint: str, *, needed: bool = True) -> tuple[str, str, str]:
    if there:
        return "ok", what, ""
    return "MISSING" if needed else "without", what, hint


def of_the_machine() -> list[tuple[str, str, str]]:
    version = platform.python_version()
    free = shutil.disk_usage(ROOT).free / 1e9
    enough = INSTALLED or (ROOT / ".venv").exists() or free > GIGABYTES
    apt = bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    return [
        line(
            sys.version_info >= (3, 11),
            f"Python {version}",
            "3.11 or newer is needed: python.org, your distribution, or conda env create -f"
            " environment.yml; then make PYTHON=/path/to/it setup",
        ),
        line(
            bool(util.find_spec("venv") and util.find_spec("ensurepip")),
            "venv and pip",
            "Debian and Ubuntu: apt-get install python3-venv",
        ),
        line(
            enough,
            f"{free:.0f} GB free where the kit lies",
            f"about {GIGABYTES} GB are needed, most of them for PyTorch's CUDA build",
        ),
        line(
            bool(shutil.which("git")),
            "git",
            "the case of the evidence that make test computes again is then always the same",
            needed=False,
        ),
        line(
            apt,
            "apt-get and dpkg-deb",
            "there are no stamps and scenes then, and 9 of 33 photographs; elsewhere get Debian's"
            " packages that docs/data.md and the error name, and set XAI_STAMPS to them",
            needed=False,
        ),
        line(
            bool(browser),
            "a browser for the tests of the pages",
            "these tests are skipped; Debian and Ubuntu: apt-get install chromium",
            needed=False,
        ),
    ]


def of_the_kit() -> list[tuple[str, str, str]]:
    lacking = unpinned()
    found = [
        line(
            not lacking,
            "the pinned packages",
            f"{', '.join(lacking[:6])}{' ...' if len(lacking) > 6 else ''}: make setup",
        )
    ]
    if any(name.startswith(("torch ", "xai")) for name in lacking):
        return found
    import torch

    from xai_utils import data
    from xai_utils.data.cache import cache_folder

    found.append(
        line(
            torch.cuda.is_available(),
            f"torch {torch.__version__}, a GPU",
            f"everything runs on the processor's {os.cpu_count()} cores",
            needed=False,
        )
    )
    folder = cache_folder()
    above = next(p for p in (folder, *folder.parents) if p.exists())
    found.append(
        line(os.access(above, os.W_OK), f"a cache in {folder}", "set XAI_CACHE to a folder")
    )
    for name in data.EMBEDDED:
        lacks = data.lacks(name)
        found.append(line(not lacks, f"data: {name}", lacks, needed=False))
    there = [name for name in data.SOURCES if not data.lacks(name)]
    hint = "set XAI_DATA to their folder; docs/data.md says where each is to be had"
    told = f"the papers' data sets: {', '.join(there) or 'none'}"
    found.append(line(bool(there), told, hint, needed=False))
    return found


def unpinned() -> list[str]:
    """What the project asks for and is missing or of another version than constraints.txt has."""
    try:
        asked = metadata.requires("xai-utils")
    except metadata.PackageNotFoundError:
        return ["xai-utils is not installed"]
    wanted = [r for r in asked if "extra ==" not in r or 'extra == "test"' in r]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(pin.split("==") for pin in lines if "==" in pin and not pin.startswith("#"))
    found = []
    for name in sorted({re.match(r"[\w.-]+", r)[0] for r in wanted}):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed")
            continue
        pin = pins.get(name, here)
        if here.partition("+")[0] != pin.partition("+")[0]:
            found.append(f"{name} {here} in place of {pin}")
    return found


if __name__ == "__main__":
    sys.exit(main())
