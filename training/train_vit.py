"""Train vit-stamps: a small ViT behind a frozen convolutional stem, taught by the network that the
stem comes from.

    python -m training.train_vit --out build/vit-stamps [--images FOLDER] [--steps 4000]

The teacher is efficientnet-lite0; the student sees the teacher's features at stride 16 (Dosovitskiy
et al. 2021, the hybrid). No labels: every picture is worth what the teacher says of it, and stamps
also their captions. Pictures and what the teacher makes of them are written once, in shards; the
training goes on from its last checkpoint. Both can be killed.
"""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from safetensors.torch import save_file

from xai_utils.data.photos import photos
from xai_utils.data.samples import Thing
from xai_utils.data.scenes import COVERED
from xai_utils.data.stamps import SIDE, table
from xai_utils.images import fit
from xai_utils.models.embedded import (
    TEMPERATURE,
    class_embeddings,
    conse_lite0,
    efficientnet_lite0,
    new_vit,
)
from xai_utils.models.training import loop

from .common import arguments, one_recipe, sharded, split_images

PICTURE = 1_000_003  # keeps this script's random numbers apart from those of the data sets
SCALE = {
    1: (0.45, 0.7),
    2: (0.38, 0.5),
    3: (0.32, 0.42),
    4: (0.28, 0.38),
}  # of the side, by number of stamps


class Pictures(torch.utils.data.Dataset):
    """Picture i of the training set, from the seed: a crop of one of `files`, or 1 to 4 stamps on a
    texture or a crop."""

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
        return Image.fromarray(
            np.uint8((np.asarray(fit(crop, (SIDE, SIDE)), float) * light).clip(0, 255))
        )


def grey(rng) -> Image.Image:
    return Image.new(
        "RGB",
        (SIDE, SIDE),
        tuple(int(v) for v in 128 + rng.integers(-100, 100) * (rng.random() < 0.5) * np.ones(3)),
    )


@cache
def captions() -> list[str]:
    """Captions of the stamps that training may see."""
    return sorted({r["caption"] for r in table() if not r["novel"]})


# --- what the teacher says, once per picture
# ------------------------------------------------------------------------


def teach(
    folder: Path, n: int, files: list[Path], seed: int, workers: int
) -> dict[str, torch.Tensor]:
    """Of n pictures the stem's features, the teacher's last feature map, its embedding and the
    stamps: all in float16.

    x (n, 112, 14, 14), cells (n, 320, 7, 7), h (n, 1280), things (n, 4) with -1 for none.
    """
    teacher = efficientnet_lite0(torch.device("cpu"))
    pictures, keys = Pictures(n, files, seed, teacher.transform), ("x", "cells", "h", "things")
    stem, rest = teacher.split(5), teacher.split(teacher.depth)

    @torch.no_grad()
    def make(rows: range) -> dict[str, np.ndarray]:
        made = []
        for images, things in torch.utils.data.DataLoader(
            torch.utils.data.Subset(pictures, rows), 16, num_workers=workers
        ):
            x = z = stem.prefix(images)
            for block in teacher.parts.blocks[5:]:
                z = block(z)
            made.append(
                [v.half().numpy() for v in (x, z, rest.suffix(z))]
                + [things.numpy().astype(np.int16)]
            )
        return dict(zip(keys, map(np.concatenate, zip(*made))))

    return sharded(folder, n, make, keys)


# --- training -------------------------------------------------------------------------------------
# ------------------


class Student(torch.nn.Module):
    """The ViT without its stem, its classifier, and a layer that reads the teacher's feature map
    off the last tokens."""

    def __init__(self):
        super().__init__()
        self.vit, self.classifier = new_vit()
        self.cells = torch.nn.Linear(self.vit.embed_dim, 320)

    def forward(self, x):
        z = self.vit.norm(
            self.vit.blocks(
                self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed.proj(x).flatten(2).mT))
            )
        )
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
    kl = F.kl_div(
        (logits / TEMPERATURE).log_softmax(1), wanted, log_target=True, reduction="batchmean"
    )
    shown = batch["things"] >= 0  # (B, 4)
    captioned = shown.any(1)
    target = torch.zeros(len(h), len(names) + 1).scatter_(
        1, batch["things"].long() % (len(names) + 1), 1.0
    )[:, :-1]
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


def train(out: Path, data: dict[str, torch.Tensor], **size) -> Student:
    """A student from the seed, taught by `losses`; size: steps, batch, lr, seed."""
    teacher, dual = efficientnet_lite0(torch.device("cpu")), conse_lite0(torch.device("cpu"))
    space, names = class_embeddings() - class_embeddings().mean(0), dual.encode_text(captions())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(size["seed"])
        student = Student()

    def terms(rows, step):
        return losses(student, {k: v[rows] for k, v in data.items()}, teacher.head, space, names)

    return loop(out, student, terms, WEIGHTS, n=len(data["x"]), **size)


def export(out: Path, student: Student, recipe: dict) -> Path:
    """out/vit-stamps.safetensors, float16, with the recipe in its header; what only training needs
    is left out."""
    weights = {f"vit.{k}": v for k, v in student.vit.state_dict().items()}
    weights |= {f"classifier.{k}": v for k, v in student.classifier.state_dict().items()}
    path = out / "vit-stamps.safetensors"
    save_file(
        {k: v.half().contiguous() for k, v in weights.items()},
        path,
        metadata=dict(recipe=json.dumps(recipe)),
    )
    return path


def compose(rows: list[dict], k: int, rng: np.random.Generator) -> tuple[Image.Image, list[Thing]]:
    image, things, free = plain_ground(rng), [], np.ones((SIDE, SIDE), bool)
    while len(things) < k:
        row = rows[rng.integers(len(rows))]
        if row["caption"] in [t.caption for t in things]:
            continue
        image, thing = paste(image, row, rng, SCALE[k], free)
        free &= ~thing.mask
        seen = [Thing(t.caption, t.box, t.mask & ~thing.mask) for t in things]
        if any(new.mask.sum() < (1 - COVERED) * old.mask.sum() for new, old in zip(seen, things)):
            return image, []
        things = [*seen, thing]
    return image, things


def plain_ground(rng: np.random.Generator) -> Image.Image:
    """A crop of a texture, tinted, or of a photograph, blurred beyond recognition."""
    if rng.random() < 0.6:
        texture = textures()[rng.integers(3)]
        left, top = rng.integers(0, texture.width - SIDE, 2)
        crop = (
            np.asarray(texture.crop((left, top, left + SIDE, top + SIDE)), float)[..., None] / 255
        )
        return Image.fromarray(np.uint8(255 * (crop * rng.uniform(0.6, 1, 3)).clip(0, 1)))
    photo = photo_grounds()[rng.integers(len(photo_grounds()))]
    left, top = rng.integers(0, photo.width - SIDE + 1), rng.integers(0, photo.height - SIDE + 1)
    return photo.crop((left, top, left + SIDE, top + SIDE))


@cache
def textures() -> list[Image.Image]:
    folder = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
    return [
        Image.open(folder / f"{name}.png").convert("L") for name in ("grass", "gravel", "brick")
    ]


@cache
def photo_grounds() -> list[Image.Image]:
    return [s.image.filter(ImageFilter.GaussianBlur(16)) for s in photos("test", 0, 9)]


def paste(
    ground: Image.Image, row: dict, rng: np.random.Generator, scale: tuple[float, float], free=None
):
    """Put a stamp on `ground`, its longer side between scale[0] and scale[1] of the ground's
    shorter one.

    free  (H, W) bool, where it may lie; 20 places are tried and the one with the most free pixels
          is taken
    """
    stamp = Image.open(row["file"])
    side = rng.uniform(*scale) * min(ground.size)
    stamp = stamp.resize(
        [max(1, round(s * side / max(stamp.size))) for s in stamp.size], Image.Resampling.LANCZOS
    )
    alpha = np.array(stamp)[..., 3] >= 128  # (h, w)
    places = [
        (
            int(rng.integers(ground.width - stamp.width + 1)),
            int(rng.integers(ground.height - stamp.height + 1)),
        )
        for _ in range(20)
    ]
    if free is not None:
        places.sort(
            key=lambda p: -free[p[1] : p[1] + stamp.height, p[0] : p[0] + stamp.width][alpha].sum()
        )
    left, top = places[0]
    ground.paste(stamp, (left, top), stamp)
    mask = np.zeros(ground.size[::-1], bool)
    mask[top : top + stamp.height, left : left + stamp.width] = alpha
    return ground, Thing(row["caption"], (left, top, left + stamp.width, top + stamp.height), mask)


def main(given: list[str] | None = None) -> None:
    parser = arguments(__doc__, pictures=24_000, steps=4000, batch=64, lr=1e-3, seed=0)
    a = parser.parse_args(given)
    files, _ = split_images(a.images)
    recipe = dict(
        pictures=a.pictures,
        steps=a.steps,
        batch=a.batch,
        lr=a.lr,
        seed=a.seed,
        images=len(files),
        weights=WEIGHTS,
    )
    one_recipe(a.out, recipe, parser)
    data = teach(a.out / "pictures", a.pictures, files, a.seed, a.workers)
    print(
        export(
            a.out, train(a.out, data, steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed), recipe
        )
    )


if __name__ == "__main__":
    main()
