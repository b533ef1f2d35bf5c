"""Train vit-stamps: a small ViT behind a frozen convolutional stem, taught by the network that the stem comes from.

    python -m xai_utils.models.train_vit --out build/vit-stamps [--images FOLDER] [--steps 4000]

The teacher is efficientnet-lite0; the student sees the teacher's features at stride 16 (Dosovitskiy et al. 2021, the
hybrid). No labels: every picture is worth what the teacher says of it, and stamps also their captions. Pictures and what
the teacher makes of them are written once, in shards; the training goes on from its last checkpoint. Both can be killed.
"""

import argparse
import csv
import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from ..data.scenes import compose
from ..data.stamps import SIDE, paste, table
from ..types import progress
from .embedded import TEMPERATURE, class_embeddings, conse_lite0, efficientnet_lite0, new_vit
from .vision import fit

SHARD = 256  # pictures
PICTURE = 1_000_003  # keeps this script's random numbers apart from those of the data sets
HELD_OUT = 100  # pictures of --images that are never trained on


def split_images(folder: Path | None) -> tuple[list[Path], list[Path]]:
    """(to train on, held out): the files in an order that only their names decide, the first HELD_OUT kept away."""
    if folder is None:
        return [], []
    files = [f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    if len(files) <= HELD_OUT:
        raise ValueError(f"--images needs more than the {HELD_OUT} pictures that are held out, found {len(files)} in {folder}")
    files.sort(key=lambda f: hashlib.sha256(f.name.encode()).hexdigest())
    return files[HELD_OUT:], files[:HELD_OUT]


class Pictures(torch.utils.data.Dataset):
    """Picture i of the training set, from the seed: a crop of one of `files`, or 1 to 4 stamps on a texture or a crop."""

    def __init__(self, n: int, files: list[Path], seed: int, transform):
        self.n, self.files, self.seed, self.transform = n, files, seed, transform
        self.rows = [r for r in table() if not r["novel"]]
        self.captions = captions()

    def __len__(self):
        return self.n

    def __getitem__(self, i: int):
        rng = np.random.default_rng([PICTURE, self.seed, i])
        image, things = self.draw(rng)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        names = [self.captions.index(t.caption) for t in things]
        return self.transform(image), torch.tensor(names + [-1] * (4 - len(names)))

    def draw(self, rng):
        if self.files and rng.random() < 0.5:
            return self.crop(rng), []
        if rng.random() < 0.4:  # one stamp, large, on grey or on a crop
            ground = self.crop(rng) if self.files and rng.random() < 0.3 else grey(rng)
            image, thing = paste(ground, self.rows[rng.integers(len(self.rows))], rng, (0.5, 0.95))
            return image, [thing]
        things = []
        while not things:
            image, things = compose(self.rows, int(rng.integers(1, 5)), rng)
        return image, things

    def crop(self, rng) -> Image.Image:
        """A random part of a picture, brighter or darker: (SIDE, SIDE)."""
        with Image.open(self.files[rng.integers(len(self.files))]) as picture:
            picture = picture.convert("RGB")
        side = min(picture.size) * np.sqrt(rng.uniform(0.3, 1))
        left, top = (rng.uniform(0, length - side) for length in picture.size)
        crop = picture.crop([round(v) for v in (left, top, left + side, top + side)])
        light = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
        return Image.fromarray(np.uint8((np.asarray(fit(crop, (SIDE, SIDE)), float) * light).clip(0, 255)))


def grey(rng) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in 128 + rng.integers(-100, 100) * (rng.random() < 0.5) * np.ones(3)))


@cache
def captions() -> list[str]:
    """Captions of the stamps that training may see."""
    return sorted({r["caption"] for r in table() if not r["novel"]})


# --- what the teacher says, once per picture ------------------------------------------------------------------------


def teach(folder: Path, n: int, files: list[Path], seed: int, workers: int) -> dict[str, torch.Tensor]:
    """Of n pictures the stem's features, the teacher's last feature map, its embedding and the stamps: all in float16.

    x (n, 112, 14, 14), cells (n, 320, 7, 7), h (n, 1280), things (n, 4) with -1 for none. Shards that are there are not made again.
    """
    teacher = efficientnet_lite0(torch.device("cpu"))
    pictures, deep = Pictures(n, files, seed, teacher.transform), teacher.depth
    stem, rest = teacher.split(5), teacher.split(deep)
    folder.mkdir(parents=True, exist_ok=True)
    todo = [i for i in range(0, n, SHARD) if not (folder / f"{i:07d}.npz").exists()]
    for start in progress(todo, "pictures"):
        part = torch.utils.data.Subset(pictures, range(start, min(start + SHARD, n)))
        made = []
        for images, things in torch.utils.data.DataLoader(part, batch_size=16, num_workers=workers):
            with torch.no_grad():
                x = z = stem.prefix(images)
                for block in teacher.parts.blocks[5:]:
                    z = block(z)
                h = rest.suffix(z)
            made.append([v.half().numpy() for v in (x, z, h)] + [things.numpy().astype(np.int16)])
        aside = folder / f"{start:07d}.part"
        with aside.open("wb") as file:
            np.savez(file, **dict(zip(("x", "cells", "h", "things"), map(np.concatenate, zip(*made)))))
        aside.replace(folder / f"{start:07d}.npz")
    shards = [np.load(folder / f"{i:07d}.npz") for i in range(0, n, SHARD)]
    return {k: torch.from_numpy(np.concatenate([s[k] for s in shards])) for k in ("x", "cells", "h", "things")}


# --- training -------------------------------------------------------------------------------------------------------


class Student(torch.nn.Module):
    """The ViT without its stem, its classifier, and a layer that reads the teacher's feature map off the last tokens."""

    def __init__(self):
        super().__init__()
        self.vit, self.classifier = new_vit()
        self.cells = torch.nn.Linear(self.vit.embed_dim, 320)

    def forward(self, x):
        z = self.vit.norm(self.vit.blocks(self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed.proj(x).flatten(2).mT))))
        h = self.vit.head(z[:, 0])  # (B, 384), the embedding
        return h, self.classifier(h), self.cells(z[:, 1:])


def losses(student, batch, teacher_head, space, names) -> dict[str, torch.Tensor]:
    """The terms of the loss, each a mean over the batch.

    logits   KL between softmaxes at TEMPERATURE, teacher's to student's, times TEMPERATURE squared
    space    1 - cosine to the teacher's ConSE embedding; a third of it where captions say better
    cells    1 - cosine to the teacher's last feature map, cell by cell
    caption  cross-entropy of the captions of a picture's stamps among all, cosines over 0.07
    """
    with torch.autocast("cpu", torch.bfloat16):
        h, logits, cells = (v.float() for v in student(batch["x"].float()))
    wanted = (teacher_head(batch["h"].float()) / TEMPERATURE).log_softmax(1)
    kl = F.kl_div((logits / TEMPERATURE).log_softmax(1), wanted, log_target=True, reduction="batchmean")
    shown = batch["things"] >= 0  # (B, 4)
    captioned = shown.any(1)
    target = torch.zeros(len(h), len(names) + 1).scatter_(1, batch["things"].long() % (len(names) + 1), 1.0)[:, :-1]
    scores = (F.normalize(h, dim=1) @ names.T / 0.07).log_softmax(1)
    caption = -(target * scores).sum(1) / target.sum(1).clamp(min=1)
    apart = 1 - F.cosine_similarity(h, wanted.exp() @ space)
    return dict(
        logits=kl * TEMPERATURE**2,
        space=(apart * (1 - captioned * 2 / 3)).mean(),
        cells=1 - F.cosine_similarity(cells, batch["cells"].float().flatten(2).mT, dim=-1).mean(),
        caption=caption.sum() / captioned.sum().clamp(min=1),
    )


WEIGHTS = dict(logits=1.0, space=1.0, cells=1.0, caption=0.3)


def train(out: Path, data: dict[str, torch.Tensor], *, steps: int, batch: int, lr: float, seed: int) -> Student:
    """AdamW, cosine decay after 5 % of warm-up, gradients clipped at 1; goes on from out/checkpoint.pt."""
    teacher, dual = efficientnet_lite0(torch.device("cpu")), conse_lite0(torch.device("cpu"))
    space, names = class_embeddings() - class_embeddings().mean(0), dual.encode_text(captions())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student()
    optimiser = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=0.05)
    warm = max(1, steps // 20)
    rate = lambda s: min((s + 1) / warm, 0.5 * (1 + np.cos(np.pi * min(1, max(0, s - warm) / max(1, steps - warm)))) + 0.001)  # noqa: E731
    file, log, begun = out / "checkpoint.pt", [], 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        student.load_state_dict(state["student"])
        optimiser.load_state_dict(state["optimiser"])
        log, begun = state["log"], len(state["log"])
    clock = time.time()
    for step in progress(range(begun, steps), "training"):
        rows = batch_rows(len(data["x"]), batch, step, seed)
        optimiser.param_groups[0]["lr"] = float(lr * rate(step))
        terms = losses(student, {k: v[rows] for k, v in data.items()}, teacher.head, space, names)
        optimiser.zero_grad()
        grads = torch.autograd.grad(sum(WEIGHTS[k] * v for k, v in terms.items()), list(student.parameters()))
        for p, g in zip(student.parameters(), grads):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        log.append({k: v.item() for k, v in terms.items()})
        if (step + 1) % 100 == 0 or step + 1 == steps:
            save(out, student, optimiser, log)
            recent = {k: f"{np.mean([row[k] for row in log[-100:]]):.3f}" for k in WEIGHTS}
            print(f"step {step + 1}/{steps}", recent, f"{(step + 1 - begun) * batch / (time.time() - clock):.0f} pictures/s", flush=True)
    return student


def batch_rows(n: int, batch: int, step: int, seed: int) -> torch.Tensor:
    """The rows of a step: every row once in n // batch steps, in an order that only seed and step decide."""
    round_, place = divmod(step, n // batch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100_003 + round_))
    return order[place * batch : (place + 1) * batch]


def save(out: Path, student, optimiser, log: list[dict]) -> None:
    aside = out / "checkpoint.part"
    torch.save(dict(student=student.state_dict(), optimiser=optimiser.state_dict(), log=log), aside)
    aside.replace(out / "checkpoint.pt")
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *WEIGHTS])
        writer.writeheader()
        writer.writerows({"step": i + 1, **row} for i, row in enumerate(log))


def export(out: Path, student: Student, recipe: dict) -> Path:
    """out/vit-stamps.safetensors, float16, with the recipe in its header; what only training needs is left out."""
    weights = {f"vit.{k}": v for k, v in student.vit.state_dict().items()}
    weights |= {f"classifier.{k}": v for k, v in student.classifier.state_dict().items()}
    path = out / "vit-stamps.safetensors"
    save_file({k: v.half().contiguous() for k, v in weights.items()}, path, metadata=dict(recipe=json.dumps(recipe)))
    return path


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures, checkpoint, log and weights")
    parser.add_argument("--images", type=Path, help="a folder of pictures of any kind, half of the training set")
    parser.add_argument("--pictures", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 1), help="processes that draw pictures")
    a = parser.parse_args(arguments)
    files, _ = split_images(a.images)
    recipe = dict(pictures=a.pictures, steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed, images=len(files), weights=WEIGHTS)
    a.out.mkdir(parents=True, exist_ok=True)
    told = a.out / "recipe.json"
    if told.exists() and json.loads(told.read_text()) != recipe:
        parser.error(f"{a.out} holds a training by another recipe, {told.read_text()}: name another folder with --out")
    told.write_text(json.dumps(recipe))
    data = teach(a.out / "pictures", a.pictures, files, a.seed, a.workers)
    print(export(a.out, train(a.out, data, steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed), recipe))


if __name__ == "__main__":
    main()
