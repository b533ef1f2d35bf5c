"""Train the encoders of models/strategies.py: the same start, the same views of the same
photographs, four ways to learn.

    XAI_DATA=FOLDER python -m training.train_strategies --out build/strategies --images FOLDER
        [--only vit-mini-dino ...]

The photographs are those of training/photographs.py: Flickr8k's for training and development and
COCO's for training, where XAI_DATA has them, and those of --images, where a picture that lies in a
sub-folder has the sub-folder's name as its category (dalmatian/image_0001.jpg, as in Caltech-101).
A fifth of the pictures with a category is held out of all trainings, for the k-nearest-neighbour
accuracy of `python -m tools.cards strategies --images FOLDER`. Each photograph is cropped and
recoloured at random a few times over.

The supervised encoder learns the categories, of the photographs that have one; the others see that
two views belong together, of all photographs. So the supervised way sees fewer pictures, in the
same number of steps and batches of the same size. The losses are lightly's (`pip install -e
'.[train]'`). Views are written once, in shards; every training goes on from its checkpoint.
"""

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

from xai_utils.models.embedded import efficientnet_lite0, fold_norms
from xai_utils.models.strategies import NAMES, SHAPES, new_mini, parts_of
from xai_utils.models.training import loop

from . import common
from .common import arguments, one_recipe, sharded
from .photographs import category, opened, parted

VIEWS = 6  # of each photograph
STEPS = {"vit-mini": 1200, "resnet-mini": 1800}  # the second has no trained stem to stand on
MEAN = STD = (0.5, 0.5, 0.5)  # of pictures, as efficientnet-lite0 was trained with
PLACE = 1_000_033  # keeps this script's random numbers apart from those of the data sets
augment = v2.Compose(
    [
        v2.ToImage(),
        v2.RandomResizedCrop(224, scale=(0.3, 1), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.3),
    ]
)


def labels(pictures: list, folder: Path) -> torch.Tensor:
    """(n,) the place of each picture's category in the alphabet of them, -1 where it has none."""
    kinds = [category(place, folder) for place in pictures]
    names = sorted({kind for kind in kinds if kind})
    return torch.tensor([names.index(kind) if kind else -1 for kind in kinds])


class Views(torch.utils.data.Dataset):
    """Photograph i, from the seed: uint8 views (VIEWS, 3, 224, 224)."""

    def __init__(self, pictures: list, seed: int):
        self.pictures, self.seed = pictures, seed

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture = opened(self.pictures[i])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng([PLACE, self.seed, i]).integers(2**62)))
            return torch.stack([augment(picture) for _ in range(VIEWS)])


def views(folder: Path, pictures: list, seed: int, workers: int, shape: str) -> torch.Tensor:
    """Of n photographs, for vit-mini (n, VIEWS, 112, 14, 14), the frozen stem's features in
    float16; for resnet-mini (n, VIEWS, 3, 112, 112), the views at half their size in uint8."""
    seen, stem = Views(pictures, seed), efficientnet_lite0(torch.device("cpu")).split(5)
    normal = v2.Normalize(MEAN, STD)

    @torch.no_grad()
    def make(rows: range) -> dict[str, np.ndarray]:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(seen, rows), 4, num_workers=workers
        )
        made = {"vit-mini": [], "resnet-mini": []}
        for x in loader:
            for few in x.flatten(0, 1).split(4):
                made["vit-mini"].append(stem.prefix(normal(few / 255)).half())
                made["resnet-mini"].append(F.avg_pool2d(few.float(), 2).round().byte())
        return {k: torch.cat(v).unflatten(0, (len(rows), VIEWS)).numpy() for k, v in made.items()}

    return sharded(folder, len(pictures), make, (shape,))[shape]


class InBfloat16(nn.Module):
    """A network whose insides run in bfloat16; what comes out is float32. On a CPU this halves a
    CNN's time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            h = self.network(x)
        return h.float()


# --- the four ways; each is called with the embeddings' network on two views and the labels, and
# gives a loss ----------


class Supervised(nn.Module):
    """Cross-entropy over the categories."""

    def __init__(self, network, dim: int, classes: int):
        super().__init__()
        self.network, self.head = network, nn.Linear(dim, classes)

    def forward(self, a, b, label):
        return F.cross_entropy(
            self.head(self.network(torch.cat([a, b]))), torch.cat([label, label])
        )


class BarlowTwins(nn.Module):
    """Zbontar et al. 2021: the cross-correlation of two views' projections is the identity."""

    def __init__(self, network, dim: int, classes: int):
        from lightly.loss import BarlowTwinsLoss
        from lightly.models.modules import BarlowTwinsProjectionHead

        super().__init__()
        self.network, self.head, self.criterion = (
            network,
            BarlowTwinsProjectionHead(dim, 512, 512),
            BarlowTwinsLoss(),
        )

    def forward(self, a, b, label):
        return self.criterion(*self.head(self.network(torch.cat([a, b]))).chunk(2))


class SwAV(nn.Module):
    """Caron et al. 2020: one view's cluster, out of 256, is told from the other view."""

    def __init__(self, network, dim: int, classes: int):
        from lightly.loss import SwaVLoss
        from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes

        super().__init__()
        self.network, self.criterion = network, SwaVLoss()
        self.head, self.prototypes = SwaVProjectionHead(dim, 256, 64), SwaVPrototypes(64, 256)

    def forward(self, a, b, label):
        self.prototypes.normalize()
        z = F.normalize(self.head(self.network(torch.cat([a, b]))), dim=1)
        return self.criterion(list(self.prototypes(z).chunk(2)), [])


class DINO(nn.Module):
    """Caron et al. 2021: a student says of one view what its own running average (0.99) says of the
    other."""

    def __init__(self, network, dim: int, classes: int):
        from lightly.loss import DINOLoss
        from lightly.models.modules import DINOProjectionHead

        super().__init__()
        self.network, self.head = network, DINOProjectionHead(dim, 256, 64, 1024)
        slow = DINOProjectionHead(
            dim, 256, 64, 1024
        )  # not a deep copy, which its weight norm forbids
        slow.load_state_dict(self.head.state_dict())
        self.teacher = nn.Sequential(copy.deepcopy(network), slow).requires_grad_(False)
        self.criterion = DINOLoss(1024, warmup_teacher_temp_epochs=0)

    @torch.no_grad()
    def follow(self):
        student = nn.Sequential(self.network, self.head).parameters()
        for slow, fast in zip(self.teacher.parameters(), student):
            slow.lerp_(fast, 0.01)

    def forward(self, a, b, label):
        self.follow()
        both = torch.cat([a, b])
        with torch.no_grad():
            wanted = list(self.teacher(both).chunk(2))
        return self.criterion(wanted, list(self.head(self.network(both)).chunk(2)))


WAYS = {"supervised": Supervised, "dino": DINO, "barlow-twins": BarlowTwins, "swav": SwAV}


def train(out: Path, name: str, x: torch.Tensor, label: torch.Tensor, **size) -> nn.Module:
    """The encoder `name` in NAMES, from the views x of its shape; size: steps, batch (pictures, two
    views of each), lr, muon, seed."""
    shape, strategy = parts_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(size["seed"])
        network = new_mini(shape)
        inner = (
            InBfloat16(network.to(memory_format=torch.channels_last))
            if shape == "resnet-mini"
            else network
        )
        way = WAYS[strategy](inner, network.num_features, int(label.max()) + 1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    used = torch.nonzero(label >= 0)[:, 0] if strategy == "supervised" else torch.arange(len(x))

    def terms(places, step):
        rows, chance = used[places], torch.Generator().manual_seed(step)
        picks = torch.rand(len(rows), VIEWS, generator=chance).argsort(1)
        pair = [x[rows, picks[:, k]].float() for k in (0, 1)]
        if shape == "resnet-mini":
            pair = [
                ((v / 255 - mean) / std).contiguous(memory_format=torch.channels_last) for v in pair
            ]
        return dict(loss=way(*pair, label[rows]))

    loop(out, way, terms, dict(loss=1.0), n=len(used), **size)
    return network.eval()


def export(out: Path, name: str, network: nn.Module, recipe: dict) -> Path:
    """out/NAME.safetensors, float16, batch norms folded into their convolutions, the recipe in the
    header."""
    network = copy.deepcopy(network).eval()
    fold_norms(network)
    return common.export(out / f"{name}.safetensors", network.state_dict(), recipe)


def main(given: list[str] | None = None) -> None:
    parser = arguments(__doc__, steps=0, batch=64, lr=1e-3, muon=0.03, seed=0)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="NAME",
        help="train these, not all eight",
    )
    a = parser.parse_args(given)  # steps 0: those of STEPS
    if a.images is None:
        parser.error("the categories need --images, a folder with a sub-folder for each")
    pictures, away = parted(a.images)
    label = labels(pictures, a.images)
    known = int((label >= 0).sum())
    if known < a.batch or label.max() < 1:
        parser.error(
            f"--images needs pictures of at least two categories, and {a.batch} to train on, one"
            f" batch: {a.images} has {known} of {int(label.max()) + 1}"
        )
    recipe = dict(
        pictures=len(pictures),
        with_category=known,
        categories=int(label.max()) + 1,
        held_out=len(away),
        views=VIEWS,
        seed=a.seed,
    )
    one_recipe(a.out, recipe, parser)
    for shape in SHAPES:
        names = [name for name in a.only if parts_of(name)[0] == shape]
        if not names:
            continue
        size = dict(steps=a.steps or STEPS[shape], batch=a.batch, lr=a.lr, muon=a.muon, seed=a.seed)
        for name in names:
            one_recipe(a.out / name, recipe | size, parser)
        x = views(a.out / "pictures", pictures, a.seed, a.workers, shape)
        for name in names:
            network = train(a.out / name, name, x, label, **size)
            print(export(a.out, name, network, recipe | size), flush=True)


if __name__ == "__main__":
    main()
