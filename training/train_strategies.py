"""Train the encoders of models/strategies.py: the same start, the same views of the same pictures,
four ways to learn.

    python -m training.train_strategies --out build/strategies
        [--images FOLDER] [--only vit-mini-dino ...]

Every picture is one stamp on a texture (or, half of them, on a crop of one of --images), cropped
and recoloured at random a few times over. The supervised encoder learns the stamp's caption; the
others see that two views belong together. The losses are lightly's (`pip install -e '.[train]'`).
Views are written once; every training goes on from its checkpoint.
"""

import copy
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

from xai_utils.data.scenes import ground
from xai_utils.data.stamps import paste
from xai_utils.models.embedded import efficientnet_lite0, fold_norms
from xai_utils.models.strategies import NAMES, new_mini, parts_of
from xai_utils.models.training import loop

from .common import arguments, one_recipe, sharded, split_images
from .train_vit import Pictures

VIEWS = 6  # of each picture
STEPS = {"vit-mini": 800, "resnet-mini": 1200}  # the second has no trained stem to stand on
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


class Views(Pictures):
    """Picture i, from the seed: uint8 views (VIEWS, 3, 224, 224) of one stamp, and which caption is
    the stamp's."""

    def __getitem__(self, i: int):
        rng = np.random.default_rng([PLACE, self.seed, i])
        under = self.crop(rng) if self.files and rng.random() < 0.5 else ground(rng)
        image, thing = paste(under, self.rows[rng.integers(len(self.rows))], rng, (0.4, 0.9))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return torch.stack([augment(image) for _ in range(VIEWS)]), self.captions.index(
                thing.caption
            )


def views(
    folder: Path, n: int, files: list[Path], seed: int, workers: int, keys: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """Of n pictures: vit-mini (n, VIEWS, 112, 14, 14), the frozen stem's features in float16;
    resnet-mini (n, VIEWS, 3, 112, 112), the views at half their size in uint8; label (n,), the
    caption."""
    pictures, stem = Views(n, files, seed, None), efficientnet_lite0(torch.device("cpu")).split(5)
    normal = v2.Normalize(MEAN, STD)

    @torch.no_grad()
    def make(rows: range) -> dict[str, np.ndarray]:
        made = []
        for images, label in torch.utils.data.DataLoader(
            torch.utils.data.Subset(pictures, rows), 4, num_workers=workers
        ):
            flat = images.flatten(0, 1)
            x = stem.prefix(normal(flat / 255)).half().unflatten(0, images.shape[:2])
            small = F.avg_pool2d(flat.float(), 2).round().byte().unflatten(0, images.shape[:2])
            made.append([v.numpy() for v in (x, small, label)])
        return dict(zip(("vit-mini", "resnet-mini", "label"), map(np.concatenate, zip(*made))))

    return sharded(folder, n, make, keys)


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
    """Cross-entropy over the captions."""

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


def train(out: Path, name: str, data: dict[str, torch.Tensor], classes: int, **size) -> nn.Module:
    """The encoder `name` in NAMES; size: steps, batch (pictures, two views of each), lr, seed."""
    shape, strategy = parts_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(size["seed"])
        network = new_mini(shape)
        inner = (
            InBfloat16(network.to(memory_format=torch.channels_last))
            if shape == "resnet-mini"
            else network
        )
        way = WAYS[strategy](inner, network.num_features, classes)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def terms(rows, step):
        picks = torch.rand(len(rows), VIEWS, generator=torch.Generator().manual_seed(step)).argsort(
            1
        )
        pair = [data[shape][rows, picks[:, k]].float() for k in (0, 1)]
        if shape == "resnet-mini":
            pair = [
                ((v / 255 - mean) / std).contiguous(memory_format=torch.channels_last) for v in pair
            ]
        return dict(loss=way(*pair, data["label"][rows]))

    loop(out, way, terms, dict(loss=1.0), n=len(data["label"]), **size)
    return network.eval()


def export(out: Path, name: str, network: nn.Module, recipe: dict) -> Path:
    """out/NAME.safetensors, float16, batch norms folded into their convolutions, the recipe in the
    header."""
    network = copy.deepcopy(network).eval()
    fold_norms(network)
    weights = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    save_file(weights, out / f"{name}.safetensors", metadata=dict(recipe=json.dumps(recipe)))
    return out / f"{name}.safetensors"


def main(given: list[str] | None = None) -> None:
    parser = arguments(__doc__, pictures=4096, steps=0, batch=64, lr=1e-3, seed=0)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="NAME",
        help="train these, not all eight",
    )
    a = parser.parse_args(given)  # steps 0: those of STEPS
    files, _ = split_images(a.images)
    recipe = dict(pictures=a.pictures, views=VIEWS, seed=a.seed, images=len(files))
    one_recipe(a.out, recipe, parser)
    for name in a.only:
        shape, _ = parts_of(name)
        size = dict(steps=a.steps or STEPS[shape], batch=a.batch, lr=a.lr, seed=a.seed)
        one_recipe(a.out / name, recipe | size, parser)
        data = views(a.out / "pictures", a.pictures, files, a.seed, a.workers, (shape, "label"))
        classes = len(Views(0, files, a.seed, None).captions)
        print(
            export(a.out, name, train(a.out / name, name, data, classes, **size), recipe | size),
            flush=True,
        )


if __name__ == "__main__":
    main()
