"""Photographs to learn from, and what efficientnet-lite0 makes of them, computed once.

Flickr8k's pictures for training and development and COCO's for training, where XAI_DATA has them,
and those of a folder. What the kit's numbers are measured on is in none of them: Flickr8k's test
pictures, COCO's val, ImageNet. Of the folder `parted` keeps another fifth away, for the trainings
that ask for it.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from xai_utils.data import lacks, load_dataset
from xai_utils.data.samples import Dataset
from xai_utils.images import fit, rgb
from xai_utils.models.embedded import efficientnet_lite0

from .common import sharded

SETS = "flickr8k/train", "flickr8k/dev", "coco/train"
STAGES = 6  # of efficientnet-lite0, behind which a picture is (192, 7, 7)
VIEWS = 8  # of a photograph: the whole of it, and crops
SIDE = 224
PLACE = 1_000_037  # keeps this script's random numbers apart from those of the data sets
crop = v2.Compose(
    [
        v2.RandomResizedCrop(SIDE, scale=(0.25, 1), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.3, 0.3, 0.3, 0.02)], 0.5),
    ]
)


def photographs(folder: Path | None) -> list[tuple[Dataset, int] | Path]:
    """The pictures of SETS as (data set, place in it), then the folder's files, by their names."""
    sets = [load_dataset(name, n=None) for name in SETS if not lacks(name)]
    pictures = [(data, i) for data in sets for i in range(len(data))]
    if folder is not None:
        kinds = ".jpg", ".jpeg", ".png", ".webp"
        pictures += sorted(f for f in folder.rglob("*") if f.suffix.lower() in kinds)
    return pictures


def category(place: tuple[Dataset, int] | Path, folder: Path | None) -> str | None:
    """The sub-folder that a picture of the folder lies in (dalmatian/image_0001.jpg, as in
    Caltech-101); None for all other pictures."""
    inside = isinstance(place, Path) and place.parent != folder
    return place.parent.name if inside else None


def held_out(place: tuple[Dataset, int] | Path, folder: Path | None) -> bool:
    """Of the pictures with a category a fifth, by a hash of category and file name."""
    return category(place, folder) is not None and hashed(place) % 5 == 0


def hashed(place: Path) -> int:
    return int(hashlib.sha256(f"{place.parent.name}/{place.name}".encode()).hexdigest(), 16)


def parted(folder: Path | None) -> tuple[list, list[Path]]:
    """`photographs` as (to train on, held out), those in the order of their hashes."""
    kept, away = [], []
    for place in photographs(folder):
        (away if held_out(place, folder) else kept).append(place)
    return kept, sorted(away, key=hashed)


def opened(place: tuple[Dataset, int] | Path) -> Image.Image:
    """A picture of `photographs`, in RGB."""
    return rgb(place) if isinstance(place, Path) else place[0][place[1]].image


class Crops(torch.utils.data.Dataset):
    """Photograph i: (VIEWS, 3, 224, 224), normalised; first all of it, then crops from the seed."""

    def __init__(self, pictures: list, seed: int, transform):
        self.pictures, self.seed, self.transform = pictures, seed, transform

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture = opened(self.pictures[i])
        views = [fit(picture, (SIDE, SIDE))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng([PLACE, self.seed, i]).integers(2**62)))
            views += [crop(picture) for _ in range(VIEWS - 1)]
        return torch.stack([self.transform(view) for view in views])


class Views(torch.utils.data.Dataset):
    """One view of photograph i, (3, 224, 224) uint8: all of it for one in VIEWS, else a crop, as
    the seed decides."""

    def __init__(self, pictures: list, seed: int):
        self.pictures, self.seed = pictures, seed

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture, rng = opened(self.pictures[i]), np.random.default_rng([PLACE, self.seed, i])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            whole = rng.integers(VIEWS) == 0
            view = fit(picture, (SIDE, SIDE)) if whole else crop(picture)
        return v2.functional.pil_to_tensor(view)


def views(folder: Path, pictures: list, n: int, seed: int, workers: int) -> torch.Tensor:
    """(n, 3, 224, 224) uint8: `Views` of n of the pictures, which the seed draws."""
    drawn = np.random.default_rng([PLACE, seed]).permutation(len(pictures))[:n]
    chosen = Views([pictures[i] for i in drawn], seed)

    def make(rows: range) -> dict[str, np.ndarray]:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(chosen, rows), 16, num_workers=workers
        )
        return dict(x=torch.cat(list(loader)).numpy())

    return sharded(folder, len(chosen), make, ("x",))["x"]


def features(folder: Path, pictures: list, seed: int, workers: int) -> torch.Tensor:
    """(n, VIEWS, 192, 7, 7) float16: what leaves efficientnet-lite0's first six stages."""
    encoder = efficientnet_lite0(torch.device("cpu"))
    crops, stem = Crops(pictures, seed, encoder.transform), encoder.split(STAGES)

    @torch.no_grad()
    def make(rows: range) -> dict[str, np.ndarray]:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(crops, rows), 4, num_workers=workers
        )
        made = [stem.prefix(few).half() for x in loader for few in x.flatten(0, 1).split(4)]
        return dict(x=torch.cat(made).unflatten(0, (len(rows), VIEWS)).numpy())

    return sharded(folder, len(pictures), make, ("x",))["x"]
