"""Shards: rows of results in small files, each whole or not there, each row under a key of all that
it depends on."""

import hashlib
import inspect
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .types import DualEncoder


def write_shard(folder: Path, rows: list[dict]) -> None:
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer, index=False)
    data = buffer.getvalue()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, folder / f"{hashlib.sha256(data).hexdigest()}.parquet")


def read_shards(folder: Path) -> dict[str, dict]:
    """All rows of whole shards by key; where two have one key, the one without an error. Damaged
    shards are removed."""
    rows: dict[str, dict] = {}
    for file in sorted(folder.glob("*.parquet")):
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.stem:
            file.unlink(missing_ok=True)
            continue
        for r in pd.read_parquet(io.BytesIO(data)).to_dict("records"):
            if r["key"] not in rows or rows[r["key"]]["error"]:
                rows[r["key"]] = r
    return rows


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed run left, an hour old at least: a younger one may be
    another run's."""
    for part in folder.glob(".part-*"):
        if time.time() - part.stat().st_mtime > 3600:
            part.unlink(missing_ok=True)


def describe(function: Callable) -> dict:
    """Everything about a method or metric that can change its values: name, arguments, source
    files."""
    inner = function.func if isinstance(function, partial) else function
    given = function.keywords if isinstance(function, partial) else {}
    return dict(
        name=f"{inner.__module__}.{inner.__qualname__}",
        options={k: option_key(v) for k, v in given.items()},
        args=[option_key(a) for a in getattr(function, "args", ())],
        source=inspect.getsource(inner),
        code=code_key(inner.__module__),
    )


def option_key(value) -> str:
    if callable(value):
        if not hasattr(value, "key") and "<l" in value.__qualname__:  # <locals>, <lambda>
            raise TypeError(
                f"{value!r} as an option needs an attribute `key` that names all it depends on"
            )
        return getattr(value, "key", f"{value.__module__}.{value.__qualname__}")
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.detach().cpu().numpy().tobytes()).hexdigest()
    return repr(value)


@cache
def code_key(module: str) -> str:
    """SHA-256 over the source of a module and of every xai_utils module that it uses, at any
    distance."""
    seen, waiting = {}, [module]
    while waiting:
        name = waiting.pop()
        source = sys.modules.get(name)
        if name in seen or source is None or not getattr(source, "__file__", None):
            continue
        seen[name] = Path(source.__file__).read_bytes()
        used = (
            getattr(v, "__module__", None) or getattr(v, "__name__", "")
            for v in vars(source).values()
        )
        waiting += [u for u in used if isinstance(u, str) and u.startswith("xai_utils.")]
    return hashlib.sha256(b"".join(seen[name] for name in sorted(seen))).hexdigest()


def model_key(model) -> str:
    """The model's name and the digest of its weights."""
    towers = (model.image, model.text) if isinstance(model, DualEncoder) else (model,)
    digest = hashlib.sha256()
    for tower in towers:
        for name, p in sorted(tower.weights.items()):
            digest.update(name.encode())
            digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return f"{model.name}@{digest.hexdigest()}"


def picture_key(sample) -> str:
    masks = b"".join(
        np.asarray(t.mask).tobytes() if t.mask is not None else repr(t.box).encode()
        for t in sample.things
    )
    return hashlib.sha256(sample.image.tobytes() + masks).hexdigest()
