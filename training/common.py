"""What the trainings share: pictures in shards, their command line, one recipe a folder."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from xai_utils.batching import progress

SHARD = 256  # pictures


def sharded(folder: Path, n: int, make, keys: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The arrays `keys` of n items, from shards that `make(range) -> {key: array}` fills. Those
    that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [i for i in range(0, n, SHARD) if not (folder / f"{i:07d}.npz").exists()]
    for start in progress(todo, "pictures"):
        arrays = make(range(start, min(start + SHARD, n)))
        aside = folder / f"{start:07d}.part"
        with aside.open("wb") as file:
            np.savez(file, **arrays)
        aside.replace(folder / f"{start:07d}.npz")
    shards = [np.load(folder / f"{i:07d}.npz") for i in range(0, n, SHARD)]
    return {k: torch.from_numpy(np.concatenate([s[k] for s in shards])) for k in keys}


def arguments(doc: str, **defaults) -> argparse.ArgumentParser:
    """The command line of a training; `defaults` are the numbers of its recipe, each an option."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for pictures, checkpoints, logs and weights"
    )
    parser.add_argument("--images", type=Path, help="a folder of pictures of any kind")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument(
        "--workers",
        type=int,
        default=max(0, (os.cpu_count() or 1) - 1),
        help="processes that draw pictures",
    )
    return parser


def with_features(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The command line with --features, a folder that several trainings may share."""
    parser.add_argument(
        "--features",
        type=Path,
        default=Path("build/photographs"),
        help="folder for what efficientnet-lite0 makes of the photographs",
    )
    return parser


def export(file: Path, weights: dict[str, torch.Tensor], recipe: dict) -> Path:
    """The file, written as safetensors: the weights as float16, the recipe in its header."""
    halves = {k: v.half().contiguous() for k, v in weights.items()}
    save_file(halves, file, metadata=dict(recipe=json.dumps(recipe)))
    return file


def one_recipe(folder: Path, recipe: dict, parser: argparse.ArgumentParser) -> None:
    """Write folder/recipe.json; leave with an error where there is another, whose training would be
    gone on with."""
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "recipe.json"
    if told.exists() and json.loads(told.read_text()) != recipe:
        parser.error(
            f"{folder} holds a training by another recipe, {told.read_text()}: name another folder"
            " with --out"
        )
    told.write_text(json.dumps(recipe))
