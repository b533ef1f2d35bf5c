"""Train vit-photos: a ViT behind efficientnet-lite0's first six stages, taught by the rest of that
network.

    XAI_DATA=FOLDER python -m training.train_vit_photos --out build/vit-photos [--images FOLDER]

No labels and no captions: a picture is worth what efficientnet-lite0 and lit-lite0 say of it. The
student sees what the stages make of a photograph, so that the teacher's answer can be computed anew
for features that were mirrored, or put together of two photographs (Beyer et al. 2022 call it
function matching). Features are computed once, in shards; the training goes on from its last
checkpoint.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from xai_utils.models.embedded import efficientnet_lite0, lit_image, new_vit_photos
from xai_utils.models.training import loop

from . import common
from .common import arguments, one_recipe, with_features
from .photographs import STAGES, features, photographs

TEMPERATURE = 1.5  # of the softmax over the 1000 classes
MIXED = 0.3  # of the pictures, which have a rectangle of another one
WEIGHTS = dict(logits=1.0, space=1.0, pooled=0.5, cells=1.0)


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
    """The ViT without its stages, its classifier, and two layers that only training needs: they
    read the teacher's last features off the tokens and its embedding off the ViT's."""

    def __init__(self):
        super().__init__()
        self.vit, self.classifier = new_vit_photos()
        self.cells, self.pooled = nn.Linear(self.vit.embed_dim, 320), nn.Linear(384, 1280)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        vit = self.vit
        tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed.proj(x).flatten(2).mT))
        z = vit.norm(vit.blocks(tokens))
        h = vit.head(z[:, 0])  # (B, 384), the embedding
        return h, self.classifier(h), self.pooled(h), self.cells(z[:, 1:])


class Losses:
    """The terms of the loss, each a mean over the batch.

    logits  KL between softmaxes at TEMPERATURE, teacher's to student's, times TEMPERATURE squared
    space   1 - cosine to lit-lite0's embedding
    pooled  squared error of the teacher's embedding, each number standardised
    cells   the same of the teacher's last features, cell by cell
    """

    def __init__(self, student: Student, x: torch.Tensor, seed: int):
        self.student, self.x, self.seed, self.teacher = student, x, seed, Teacher()
        some = x[torch.linspace(0, len(x) - 1, min(len(x), 500)).long(), 0].float()
        cells, h = self.teacher(some)
        self.cells = cells.mean((0, 2, 3))[:, None, None], cells.std((0, 2, 3))[:, None, None]
        self.h = h.mean(0), h.std(0) + 0.02
        begin(student.vit.patch_embed.proj, some)

    def __call__(self, rows: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        x = self.views(rows, step)
        cells, h = self.teacher(x)
        with torch.autocast("cpu", torch.bfloat16):
            said = self.student(x.contiguous())
        embedding, logits, pooled, tokens = (v.float() for v in said)
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
        )

    def views(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        """(B, 192, 7, 7): of each row one view, half of them mirrored, MIXED of them with a
        rectangle of the next one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 100_003 + step)
            x = self.x[rows, torch.randint(self.x.shape[1], (len(rows),))].float()
            mirrored, mixed = torch.rand(len(x)) < 0.5, torch.rand(len(x)) < MIXED
            edges = torch.rand(2, 2, len(x)).mul(8).long().sort(1).values  # (2, 2, B), 0 to 7
        x[mirrored] = x[mirrored].flip(-1)
        cell = torch.arange(7)
        across, down = ((cell >= e[0, :, None]) & (cell < e[1, :, None]) for e in edges)  # (B, 7)
        other = (down[:, :, None] & across[:, None]) & mixed[:, None, None]
        return torch.where(other[:, None], x.roll(-1, 0), x)


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


def export(out: Path, student: Student, recipe: dict) -> Path:
    """out/vit-photos.safetensors, float16, with the recipe in its header; what only training needs
    is left out."""
    weights = {f"vit.{k}": v for k, v in student.vit.state_dict().items()}
    weights |= {f"classifier.{k}": v for k, v in student.classifier.state_dict().items()}
    return common.export(out / "vit-photos.safetensors", weights, recipe)


def main(given: list[str] | None = None) -> None:
    parser = with_features(arguments(__doc__, steps=4000, batch=96, lr=1.5e-3, muon=0.03, seed=0))
    a = parser.parse_args(given)
    pictures = photographs(a.images)
    size = dict(steps=a.steps, batch=a.batch, lr=a.lr, muon=a.muon, seed=a.seed)
    recipe = dict(pictures=len(pictures), mixed=MIXED, weights=WEIGHTS) | size
    one_recipe(a.out, recipe, parser)
    x = features(a.features / "stages", pictures, 0, a.workers)
    print(export(a.out, train(a.out, x, **size), recipe))


if __name__ == "__main__":
    main()
