"""What the kit's own trainings share: pictures in shards, a loop that goes on from its last
checkpoint, one recipe a folder."""

import argparse
import csv
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from ..batching import progress

SHARD = 256  # pictures
HELD_OUT = 100  # pictures of --images that are never trained on
EVERY = 100  # steps from one checkpoint to the next


def split_images(folder: Path | None) -> tuple[list[Path], list[Path]]:
    """(to train on, held out): the files in an order that only their names decide, the first
    HELD_OUT kept away."""
    if folder is None:
        return [], []
    files = [f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    if len(files) <= HELD_OUT:
        raise ValueError(
            f"--images needs more than the {HELD_OUT} pictures that are held out, found"
            f" {len(files)} in {folder}"
        )
    files.sort(key=lambda f: hashlib.sha256(f.name.encode()).hexdigest())
    return files[HELD_OUT:], files[:HELD_OUT]


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


def loop(
    out: Path,
    module,
    terms,
    weights: dict[str, float],
    *,
    n: int,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
):
    """AdamW, cosine decay after 5 % of warm-up, gradients clipped at 1; goes on from
    out/checkpoint.pt.

    terms(rows, step) -> the terms of the loss on these rows of n; `weights` says how they are
    summed
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=lr, weight_decay=0.05)
    warm = max(1, steps // 20)

    def rate(step: int) -> float:
        part = min(1, max(0, step - warm) / max(1, steps - warm))
        return min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * part)) + 0.001)

    file, log, begun = out / "checkpoint.pt", [], 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        log, begun = state["log"], len(state["log"])
    clock = time.time()
    for step in progress(range(begun, steps), "training"):
        optimiser.param_groups[0]["lr"] = float(lr * rate(step))
        found = terms(batch_rows(n, batch, step, seed), step)
        optimiser.zero_grad()
        grads = torch.autograd.grad(sum(w * found[k] for k, w in weights.items()), trained)
        for p, g in zip(trained, grads):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        log.append({k: v.item() for k, v in found.items()})
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            save(out, module, optimiser, log)
            recent = {k: f"{np.mean([row[k] for row in log[-EVERY:]]):.3f}" for k in weights}
            print(
                f"step {step + 1}/{steps}",
                recent,
                f"{(step + 1 - begun) * batch / (time.time() - clock):.0f} pictures/s",
                flush=True,
            )
    return module.eval()


def batch_rows(n: int, batch: int, step: int, seed: int) -> torch.Tensor:
    """The rows of a step: every row once in n // batch steps, in an order that only seed and step
    decide."""
    round_, place = divmod(step, n // batch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100_003 + round_))
    return order[place * batch : (place + 1) * batch]


def save(out: Path, module, optimiser, log: list[dict]) -> None:
    aside = out / "checkpoint.part"
    torch.save(dict(module=module.state_dict(), optimiser=optimiser.state_dict(), log=log), aside)
    aside.replace(out / "checkpoint.pt")
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *log[0]])
        writer.writeheader()
        writer.writerows({"step": i + 1, **row} for i, row in enumerate(log))


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
