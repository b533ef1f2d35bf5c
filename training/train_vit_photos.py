"""Train vit-photos: a ViT behind efficientnet-lite0's first six stages, taught by the rest of that
network.

    XAI_DATA=FOLDER python -m training.train_vit_photos --out build/vit-photos [--images FOLDER]

No labels and no captions: a picture is worth what efficientnet-lite0 and lit-lite0 say of it. The
student sees what the stages make of a photograph or of a scene made of stamps, so that the
teacher's answer can be computed anew for features that were mirrored, or put together of two
pictures (Beyer et al. 2022 call it function matching). Features are computed once, in shards; the
training goes on from its last checkpoint.

A map of a layer can only say where if the tokens there do. So at every other step two pictures are
put together behind block LATE instead, where the class token is replaced by another picture's: what
the tokens hold is then about their own places, and the class token collects it in the last blocks.
The tokens' mean over pictures and places is kept near 0, and their scale is set at the end, because
a bottleneck puts 0 or noise of variance 1 in their place.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from xai_utils.data import load_dataset
from xai_utils.models.embedded import efficientnet_lite0, lit_image, new_vit_photos
from xai_utils.models.training import loop

from . import common
from .common import arguments, one_recipe, with_features
from .photographs import STAGES, features, photographs

SCENES = 3000
TEMPERATURE = 1.5  # of the softmax over the 1000 classes
MIXED = 0.5  # of the pictures, which have a rectangle of another one
LATE = 10  # blocks before the place where every other step mixes
SCALED = 9  # blocks before the place where tokens have variance 1
WEIGHTS = dict(logits=1.0, space=1.0, pooled=0.5, cells=1.0, offset=1.0)


class Teacher:
    """What follows efficientnet-lite0's stages, on features (B, 192, 7, 7).

    A call gives the last stage's features (B, 320, 7, 7) and the embedding (B, 1280).
    """

    def __init__(self):
        encoder = efficientnet_lite0(torch.device("cpu"))
        self.stage, self.rest = encoder.parts.blocks[STAGES], encoder.split(STAGES + 1).suffix
        self.head, self.space = encoder.head, lit_image(encoder.head)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cells = [self.stage(few.to(memory_format=torch.channels_last)) for few in x.split(8)]
        return torch.cat(cells).contiguous(), torch.cat([self.rest(few) for few in cells])


class Student(nn.Module):
    """The ViT without its stages, its classifier, and what only training needs: factors on what its
    blocks add (LayerScale), and two layers that read the teacher's last features off the tokens and
    its embedding off the ViT's."""

    def __init__(self):
        super().__init__()
        self.vit, self.classifier = new_vit_photos(init_values=0.1)
        self.cells, self.pooled = nn.Linear(self.vit.embed_dim, 320), nn.Linear(384, 1280)

    def forward(self, x: torch.Tensor, other: torch.Tensor | None = None) -> tuple:
        """(embedding, logits, pooled, cells, offset) of features (B, 192, 7, 7).

        other   (B, 7, 7) bool: which tokens are the next picture's behind block LATE, where the
                class token is the previous picture's; None: no change there
        offset  the square of the tokens' mean beside their variance, a mean over blocks
        """
        vit, offsets = self.vit, []
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed.proj(x).flatten(2).mT))
        for i, block in enumerate(vit.blocks):
            if i == LATE and other is not None:
                cells = mixed(tokens[:, 1:], other.flatten(1)[..., None])
                tokens = torch.cat([tokens[:, :1].roll(1, 0), cells], 1)
            tokens = block(tokens)
            cells = tokens[:, 1:].float()
            offsets.append(cells.mean((0, 1)).square().sum() / cells.var((0, 1)).sum())
        z = vit.norm(tokens)
        h = vit.head(z[:, 0])  # (B, 384), the embedding
        return (
            h,
            self.classifier(h),
            self.pooled(h),
            self.cells(z[:, 1:]),
            torch.stack(offsets).mean(),
        )


class Losses:
    """The terms of the loss, each a mean over the batch.

    logits  KL between softmaxes at TEMPERATURE, teacher's to student's, times TEMPERATURE squared
    space   1 - cosine to lit-lite0's embedding
    pooled  squared error of the teacher's embedding, each number standardised
    cells   the same of the teacher's last features, cell by cell
    offset  `Student`'s
    """

    def __init__(self, student: Student, x: torch.Tensor, seed: int):
        self.student, self.x, self.seed, self.teacher = student, x, seed, Teacher()
        some = x[torch.linspace(0, len(x) - 1, min(len(x), 500)).long(), 0].float()
        cells, h = self.teacher(some)
        self.cells = cells.mean((0, 2, 3))[:, None, None], cells.std((0, 2, 3))[:, None, None]
        self.h = h.mean(0), h.std(0) + 0.02
        begin(student.vit.patch_embed.proj, some)

    def __call__(self, rows: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        x, other = self.views(rows, step)
        both = mixed(x, other[:, None])
        cells, h = self.teacher(both)
        with torch.autocast("cpu", torch.bfloat16):
            said = self.student(x, other) if step % 2 else self.student(both)
        embedding, logits, pooled, tokens, offset = (v.float() for v in said)
        wanted = (self.teacher.head(h) / TEMPERATURE).log_softmax(1)
        found = (logits / TEMPERATURE).log_softmax(1)
        kl = F.kl_div(found, wanted, log_target=True, reduction="batchmean")
        apart = 1 - F.cosine_similarity(embedding, self.teacher.space(h))
        cells = standardised(cells, self.cells).flatten(2).mT  # (B, 49, 320)
        return dict(
            logits=kl * TEMPERATURE**2,
            space=apart.mean(),
            pooled=F.mse_loss(pooled, standardised(h, self.h)),
            cells=F.mse_loss(tokens, cells),
            offset=offset,
        )

    def views(self, rows: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 192, 7, 7): of each row one view, half of them mirrored; and (B, 7, 7) bool, a
        rectangle in MIXED of them, where the next one belongs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 100_003 + step)
            x = self.x[rows, torch.randint(self.x.shape[1], (len(rows),))].float()
            mirrored, chosen = torch.rand(len(x)) < 0.5, torch.rand(len(x)) < MIXED
            edges = torch.rand(2, 2, len(x)).mul(8).long().sort(1).values  # (2, 2, B), 0 to 7
        x[mirrored] = x[mirrored].flip(-1)
        cell = torch.arange(7)
        across, down = ((cell >= e[0, :, None]) & (cell < e[1, :, None]) for e in edges)  # (B, 7)
        return x, (down[:, :, None] & across[:, None]) & chosen[:, None, None]


def mixed(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """x with the next one's values, along the batch, where `other` says so."""
    return torch.where(other, x.roll(-1, 0), x)


def standardised(values: torch.Tensor, by: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return (values - by[0]) / by[1]


@torch.no_grad()
def begin(proj: nn.Conv2d, x: torch.Tensor) -> None:
    """The tokens begin as the features x themselves, standardised channel by channel."""
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    proj.weight.copy_(torch.diag(1 / std)[:, :, None, None])
    proj.bias.copy_(-mean / std)


def train(out: Path, x: torch.Tensor, **size) -> Student:
    """A student from the seed, taught by `Losses`; size: steps, batch, lr, muon, seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(size["seed"])
        student = Student()
    losses = Losses(student, x, size["seed"])
    return loop(out, student, losses, WEIGHTS, n=len(x), **size)


@torch.no_grad()
def folded(vit: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights of a ViT without LayerScale that says the same, and whose tokens of the features
    x have variance 1 behind block SCALED.

    A norm comes before all that reads the tokens, so that their scale changes nothing else.
    """
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed.proj(x).flatten(2).mT))
    scale = vit.blocks[:SCALED](tokens)[:, 1:].std()
    weights = {k: v.clone() for k, v in vit.state_dict().items()}
    for i in range(len(vit.blocks)):
        for layer, factors in (("attn.proj", "ls1.gamma"), ("mlp.fc2", "ls2.gamma")):
            factor = weights.pop(f"blocks.{i}.{factors}") / scale
            weights[f"blocks.{i}.{layer}.weight"] *= factor[:, None]
            weights[f"blocks.{i}.{layer}.bias"] *= factor
    for k in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
        weights[k] /= scale
    return weights


def export(out: Path, student: Student, x: torch.Tensor, recipe: dict) -> Path:
    """out/vit-photos.safetensors, float16, with the recipe in its header; what only training needs
    is left out or folded in. x: features (n, VIEWS, 192, 7, 7), whose first views set the scale."""
    some = x[torch.linspace(0, len(x) - 1, min(len(x), 500)).long(), 0].float()
    weights = {f"vit.{k}": v for k, v in folded(student.vit, some).items()}
    weights |= {f"classifier.{k}": v for k, v in student.classifier.state_dict().items()}
    return common.export(out / "vit-photos.safetensors", weights, recipe)


def main(given: list[str] | None = None) -> None:
    parser = with_features(arguments(__doc__, steps=5500, batch=96, lr=1.5e-3, muon=0.03, seed=0))
    a = parser.parse_args(given)
    pictures = photographs(a.images)
    scenes = load_dataset("scenes", split="train", n=SCENES)
    size = dict(steps=a.steps, batch=a.batch, lr=a.lr, muon=a.muon, seed=a.seed)
    recipe = dict(pictures=len(pictures), scenes=SCENES, mixed=MIXED, weights=WEIGHTS) | size
    one_recipe(a.out, recipe, parser)
    made = [(scenes, i) for i in range(len(scenes))]
    x = torch.cat(
        [
            features(a.features / "stages", pictures, 0, a.workers),
            features(a.features / "scenes", made, 0, a.workers),
        ]
    )
    print(export(a.out, train(a.out, x, **size), x, recipe))


if __name__ == "__main__":
    main()
