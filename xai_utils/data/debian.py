"""Data from a Debian package, fetched with apt-get into a private folder, without root and without
installing it."""

import os
import shutil
import subprocess
from pathlib import Path


class DataMissing(FileNotFoundError):
    """Data that cannot be had here; the message says what was looked for and how to get it."""


def unpacked(package: str, variable: str, scratch: Path, what_for: str) -> Path:
    """A folder with the package's files: what the environment `variable` names (a .deb or a
    folder), else by apt-get.

    what_for  begins the hint in the message of DataMissing: "photos work without; for stamps"
    """
    given = os.environ.get(variable)
    if given and Path(given).is_dir():
        return Path(given)
    if given and not Path(given).is_file():
        raise DataMissing(f"{variable} names {given}, which is neither a folder nor a .deb file")
    hint = f"{what_for} get Debian's or Ubuntu's {package}.deb and set {variable} to its path"
    return unpack(
        Path(given) if given else download(package, scratch, hint), scratch / "unpacked", variable
    )


def download(package: str, scratch: Path, hint: str) -> Path:
    if not shutil.which("apt-get"):
        raise DataMissing(f"there is no apt-get here to fetch {package}: {hint}")
    for sub in ("state/lists/partial", "cache/archives/partial"):
        (scratch / sub).mkdir(parents=True)
    options = [
        f"-oDir::State={scratch}/state",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oDir::Cache={scratch}/cache",
        "-oDebug::NoLocking=1",
        "-oAPT::Sandbox::User=",
    ]
    for verb in (["update"], ["download", package]):
        run = subprocess.run(
            ["apt-get", "-q", *options, *verb], cwd=scratch, capture_output=True, text=True
        )
        if run.returncode:
            raise DataMissing(f"apt-get {' '.join(verb)} failed ({last_line(run.stderr)}): {hint}")
    return next(scratch.glob(f"{package}_*.deb"))


def unpack(deb: Path, into: Path, variable: str) -> Path:
    if not shutil.which("dpkg-deb"):
        raise DataMissing(
            f"there is no dpkg-deb here to unpack {deb}: unpack it elsewhere and set {variable} to"
            " the folder"
        )
    run = subprocess.run(["dpkg-deb", "-x", deb, into], capture_output=True, text=True)
    if run.returncode:
        raise DataMissing(f"{deb} is damaged or cut short ({last_line(run.stderr)}): get it again")
    return into


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
