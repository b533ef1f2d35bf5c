"""Train lit-lite0: conse-lite0 after it has read captions (Zhai et al. 2022, LiT: the image tower
stays as it is).

    XAI_DATA=FOLDER python -m training.train_lit --out build/lit-lite0 [--images FOLDER]

Two linear maps learn, one behind efficientnet-lite0's pooled features and one behind MiniLM; both
begin where they change nothing, so that the encoder begins as conse-lite0. Pictures and captions
that belong together are Flickr8k's for training. Of other photographs the prompts of the 1000
classes must go on to say what efficientnet-lite0 says. Features are computed once, in shards; the
training goes on from its last checkpoint. The constants were chosen on the captions of Flickr8k's
pictures for development and on a fifth of FOLDER's categories, which those trials left out.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from xai_utils.data import load_dataset
from xai_utils.models.embedded import class_embeddings, conse, efficientnet_lite0, minilm
from xai_utils.models.lit import LitImage, LitText
from xai_utils.models.training import loop

from . import common
from .common import arguments, one_recipe, sharded, with_features
from .photographs import STAGES, features, photographs

KEPT = 3.0  # how much the answer of efficientnet-lite0 counts beside the captions
CROPPED = 0.5  # of the pictures that are shown with a caption
DROPOUT = 0.3
DECAY = 0.3
PUSH = 30.0  # logits, at most


@torch.no_grad()
def pooled(folder: Path, x: torch.Tensor) -> torch.Tensor:
    """(n, VIEWS, 1280) float16: efficientnet-lite0's embeddings, from its features x."""
    rest = efficientnet_lite0(torch.device("cpu")).split(STAGES)

    def make(rows: range) -> dict[str, np.ndarray]:
        parts = x[rows.start : rows.stop].flatten(0, 1).float().split(32)
        h = torch.cat([rest.suffix(part) for part in parts])
        return dict(h=h.half().unflatten(0, (len(rows), -1)).numpy())

    return sharded(folder, len(x), make, ("h",))["h"]


@torch.no_grad()
def sentences(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Of Flickr8k's training captions MiniLM's unit vectors (captions, 384), and which picture each
    belongs to."""
    said = [(i, c) for i, s in enumerate(load_dataset("flickr8k/train")) for c in s.captions]
    text = minilm(torch.device("cpu"))

    def make(rows: range) -> dict[str, np.ndarray]:
        return dict(t=F.normalize(text([said[i][1] for i in rows]), dim=-1).numpy())

    return sharded(folder, len(said), make, ("t",))["t"], torch.tensor([i for i, _ in said])


class Lit(nn.Module):
    """Both maps, and the temperatures of the two terms of the loss."""

    def __init__(self, h: torch.Tensor, dropout: float):
        super().__init__()
        classifier = efficientnet_lite0(torch.device("cpu")).head
        self.image = LitImage(conse(classifier), dropout)
        self.text = LitText(class_embeddings().mean(0))
        self.scales = nn.Parameter(torch.tensor([0.07, 0.07]).log().neg())
        seen = h.flatten(0, 1).float()
        self.image.mean.copy_(seen.mean(0))
        self.image.std.copy_(seen.std(0) + 0.02)


class Losses:
    """The terms of the loss, each a mean over the batch.

    pairs    symmetric InfoNCE (Radford et al. 2021) of one view and one caption of each picture
    classes  KL from efficientnet-lite0's softmax to the softmax over the prompts' cosines, on views
             of the photographs that come without captions, behind those with them; half of their
             embeddings are pushed towards one of the classes, for the photographs show few of them
    Each has a temperature of its own, which is learned, from 0.07.
    """

    def __init__(self, model: Lit, h: torch.Tensor, t: torch.Tensor, of: torch.Tensor, seed: int):
        self.model, self.h, self.t, self.seed = model, h, t, seed
        self.captions = [torch.nonzero(of == i)[:, 0] for i in range(int(of.max()) + 1)]
        self.classifier = efficientnet_lite0(torch.device("cpu")).head
        self.prompts = class_embeddings()

    def __call__(self, rows: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        n, views = self.h.shape[:2]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 100_003 + step)
            said = [c[torch.randint(len(c), ())] for c in (self.captions[i] for i in rows)]
            view = torch.randint(views, (len(rows),)) * (torch.rand(len(rows)) < CROPPED)
            other = torch.randint(len(self.captions), n, (len(rows),))
            seen = torch.randint(views, (len(rows),))
            image = self.model.image(self.h[rows, view].float())  # (B, 384)
            h = self.pushed(self.h[other, seen].float())
            named = self.model.image(h) @ self.model.text(self.prompts).T  # (B, 1000)
        pairs, classes = self.model.scales.exp()
        cosines = image @ self.model.text(self.t[torch.stack(said)]).T * pairs  # (B, B)
        own = torch.arange(len(rows))
        told = self.classifier(h).log_softmax(1)
        kl = F.kl_div(
            (named * classes).log_softmax(1), told, log_target=True, reduction="batchmean"
        )
        return dict(
            pairs=(F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own)) / 2, classes=kl
        )

    def pushed(self, h: torch.Tensor) -> torch.Tensor:
        """Half of the embeddings (B, 1280), whose class's logit becomes up to PUSH higher."""
        towards = self.classifier.weight[torch.randint(1000, (len(h),))]
        by = PUSH * torch.rand(len(h), 1) / towards.square().sum(1, keepdim=True)
        return torch.where(torch.rand(len(h), 1) < 0.5, h, (h + by * towards).clamp(0, 6))


def train(out: Path, h: torch.Tensor, t: torch.Tensor, of: torch.Tensor, **size) -> Lit:
    """Both maps, taught by `Losses`; size: steps, batch, lr, seed."""
    model = Lit(h, DROPOUT)
    losses, weights = Losses(model, h, t, of, size["seed"]), dict(pairs=1.0, classes=KEPT)
    return loop(out, model, losses, weights, n=len(losses.captions), decay=DECAY, **size)


def export(out: Path, model: Lit, recipe: dict) -> Path:
    """out/lit-lite0.safetensors, float16, with the recipe in its header."""
    weights = {f"image.{k}": v for k, v in model.image.state_dict().items()}
    weights |= {f"text.{k}": v for k, v in model.text.state_dict().items()}
    return common.export(out / "lit-lite0.safetensors", weights, recipe)


def main(given: list[str] | None = None) -> None:
    parser = with_features(arguments(__doc__, steps=480, batch=500, lr=1e-3, seed=0))
    a = parser.parse_args(given)
    pictures = photographs(a.images)
    recipe = dict(pictures=len(pictures), steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed)
    recipe |= dict(kept=KEPT, cropped=CROPPED, dropout=DROPOUT, decay=DECAY, push=PUSH)
    one_recipe(a.out, recipe, parser)
    h = pooled(a.features / "pooled", features(a.features / "stages", pictures, 0, a.workers))
    t, of = sentences(a.features / "sentences")
    size = dict(steps=a.steps, batch=a.batch, lr=a.lr, seed=a.seed)
    print(export(a.out, train(a.out, h, t, of, **size), recipe))


if __name__ == "__main__":
    main()
