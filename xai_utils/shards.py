"""Shards: rows in small files, each whole or not there.

A shard's name holds the SHA-256 of its content, so that a cut or damaged one is noticed. Nothing
else in the folder is read, changed or removed.
"""

import hashlib
import io
import os
import re
import tempfile
import time
from pathlib import Path

import pandas as pd

SHARD_NAME = re.compile(r"rows-([0-9a-f]{64})\.parquet")
PART = ".rows-part-"


def write_shard(folder: Path, rows: list[dict]) -> None:
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer, index=False)
    data = buffer.getvalue()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=PART, delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, folder / f"rows-{hashlib.sha256(data).hexdigest()}.parquet")


def read_shards(folder: Path) -> dict[str, dict]:
    """All rows of whole shards by key; where two have one key, the one without an error."""
    rows: dict[str, dict] = {}
    for file in sorted(folder.glob("rows-*.parquet")):
        name = SHARD_NAME.fullmatch(file.name)
        data = file.read_bytes() if name else b""
        if not name or hashlib.sha256(data).hexdigest() != name[1]:
            continue  # not a shard, or cut or damaged: its rows are computed again
        for r in pd.read_parquet(io.BytesIO(data)).to_dict("records"):
            if r["key"] not in rows or rows[r["key"]]["error"]:
                rows[r["key"]] = r
    return rows


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed run left, an hour old at least: a younger one may be
    another run's."""
    for part in folder.glob(f"{PART}*"):
        if time.time() - part.stat().st_mtime > 3600:
            part.unlink(missing_ok=True)
