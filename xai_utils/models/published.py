"""The papers' own encoders by short names: which library carries each, or which file its authors
publish.

A name means the trained weights. Files lie in the folder that XAI_WEIGHTS names (default: "weights"
in the cache), as NAME.pth or NAME.safetensors, or by the name that their authors gave them where it
says whose they are; one that is not there is fetched. What P-IBISA, which names architectures only,
leaves open:

resnet50, vgg16      torchvision's first weights. vgg16's embedding is the 4096 numbers that enter
                     the classifier
vit-b-16             AugReg (Steiner et al. 2021), ImageNet-21k, then ImageNet
dinov2-vit-b-14      at 224 pixels like the others, 16 x 16 patches, for which timm shrinks the
                     position embedding: its own default is 518
beit-base            fine-tuned on ImageNet; P-IBISA's retrieval model behind it is not published
ibot-vit-b-16        the teacher trained with blockwise masks on ImageNet-1k
"""

import os
import pickle
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from ..data.cache import cache_folder, clear_parts


@dataclass(frozen=True)
class Carried:
    """An encoder that a library knows: `tag` is what load_model's `pretrained` says for it,
    `options` go to timm, `terms` are those of its authors."""

    library: str
    model: str
    terms: str
    tag: str = "yes"
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A file that a paper's authors publish.

    url   as in the authors' own code, which `seen` names
    terms under which they give it
    arch  the timm model, without a classifier, that it fits
    drop  how the names begin that are left out on purpose: heads and projectors of the training
    file  the authors' own name for the file, unless others have files of that name too
    std   what the authors divide the colours by; their mean is ImageNet's in every recipe
    """

    url: str
    seen: str
    terms: str
    arch: str
    drop: tuple[str, ...]
    file: str = ""
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD


CARRIED = {
    "clip-vit-b-32": Carried(
        "open_clip", "ViT-B-32-quickgelu", "MIT", tag="openai"
    ),  # OpenAI trained with QuickGELU
    "vgg16": Carried("timm", "vgg16.tv_in1k", "BSD-3-Clause"),
    "resnet50": Carried("timm", "resnet50.tv_in1k", "BSD-3-Clause"),
    "vit-b-16": Carried("timm", "vit_base_patch16_224.augreg_in21k_ft_in1k", "Apache-2.0"),
    "dino-vit-b-16": Carried("timm", "vit_base_patch16_224.dino", "Apache-2.0"),
    "dinov2-vit-b-14": Carried(
        "timm", "vit_base_patch14_dinov2.lvd142m", "Apache-2.0", options={"img_size": 224}
    ),
    "beit-base": Carried("timm", "beit_base_patch16_224.in22k_ft_in22k_in1k", "Apache-2.0"),
}

META = "https://dl.fbaipublicfiles.com"
IBOT = "https://lf3-nlp-opensource.bytetos.com/obj/nlp-opensource/archive/2022/ibot"

CHECKPOINTS = {
    "barlow-twins-resnet50": Checkpoint(
        f"{META}/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth",
        "facebookresearch/barlowtwins hubconf.py",
        "the LICENSE of github.com/facebookresearch/barlowtwins",
        "resnet50",
        ("fc.", "projector.", "bn."),
    ),
    "swav-resnet50": Checkpoint(
        f"{META}/deepcluster/swav_800ep_pretrain.pth.tar",
        "facebookresearch/swav hubconf.py",
        "CC BY-NC 4.0",
        "resnet50",
        ("fc.", "projection_head.", "prototypes."),
        "swav_800ep_pretrain.pth.tar",
        std=(0.228, 0.224, 0.225),  # so in src/multicropdataset.py, not ImageNet's 0.229
    ),
    "dino-resnet50": Checkpoint(
        f"{META}/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
        "facebookresearch/dino hubconf.py",
        "Apache-2.0",
        "resnet50",
        ("fc.", "head."),
        "dino_resnet50_pretrain.pth",
    ),
    "ibot-vit-b-16": Checkpoint(
        f"{IBOT}/vitb_16/checkpoint_teacher.pth",
        "bytedance/ibot README.md",
        "Apache-2.0",
        "vit_base_patch16_224",
        ("head.", "masked_embed"),
    ),
    "ibot-vit-s-16": Checkpoint(
        f"{IBOT}/vits_16/checkpoint_teacher.pth",
        "bytedance/ibot README.md",
        "Apache-2.0",
        "vit_small_patch16_224",
        ("head.", "masked_embed"),
    ),
}

INSTEAD = {  # taken in place of a library's copy where the authors' file is there
    "dino-vit-b-16": Checkpoint(
        f"{META}/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
        "facebookresearch/dino hubconf.py",
        "Apache-2.0",
        "vit_base_patch16_224",
        ("head.",),
        "dino_vitbase16_pretrain.pth",
    ),
}

PAPER_NAMES = (*CARRIED, *CHECKPOINTS)
WRAPPERS = (
    "state_dict",
    "teacher",
    "model",
)  # entries that hold the weights in files which hold more
PREFIXES = ("module.", "backbone.", "encoder.")  # what training wrappers put in front of every name


def weights_folder() -> Path:
    """`XAI_WEIGHTS`, else "weights" in the cache."""
    return Path(os.environ.get("XAI_WEIGHTS") or cache_folder() / "weights").expanduser()


def weight_file(name: str) -> Path:
    """Where the weights of a paper's name lie, or belong."""
    row = row_of(name)
    names = [f"{name}.safetensors"] if name in CARRIED else []
    names += [f"{name}.pth", row.file] if row else []
    places = [weights_folder() / n for n in names if n]
    return next((p for p in places if p.is_file()), places[0])


def row_of(name: str) -> Checkpoint | None:
    return CHECKPOINTS.get(name) or INSTEAD.get(name)


def is_authors(name: str) -> bool:
    """Whether the weights of a paper's name are a file of its authors, there or to be fetched."""
    return name in CHECKPOINTS or (name in INSTEAD and weight_file(name).suffix != ".safetensors")


def published(name: str, trained: bool) -> nn.Module:
    """The timm model of a checkpoint's name, (B, 3, 224, 224) -> (B, D), with its weights or with
    random ones.

    Raises FileNotFoundError where the file is not there and cannot be fetched, ValueError where it
    cannot be read or holds anything but the architecture's weights and what `drop` names.
    """
    row = row_of(name)
    weights = fitting_weights(name) if trained else None
    colours = {
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": row.std,
    }  # timm's vit_base_patch16_224 would say 0.5
    model = timm.create_model(row.arch, num_classes=0, pretrained_cfg_overlay=colours)
    if trained:
        check_fit(weights, model.state_dict(), name)
        model.load_state_dict(weights)
    return model


def fitting_weights(name: str) -> dict[str, Tensor]:
    row, path = row_of(name), weight_file(name)
    if not path.is_file():
        fetch(name)
    try:
        state = bare(read(path))
    except ValueError as error:
        raise ValueError(
            f"the weights of {name} at {path} {error}. Remove the file; {row.url} is a whole one"
        ) from error
    return {k: v for k, v in state.items() if not k.startswith(row.drop)}


def fetch(name: str) -> None:
    """Download the file of `name`. It gets its place when it is whole and readable; before that it
    has another name."""
    url, path = row_of(name).url, weight_file(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_parts(path.parent, path.name)
        prefix = f"{path.name}.part-{os.getpid()}-"
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as aside:
            part = Path(aside) / path.name
            torch.hub.download_url_to_file(
                url, str(part), progress=os.environ.get("XAI_PROGRESS") != "0"
            )
            read(part)  # a connection that breaks off can leave a short file without an error
            part.rename(path)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        where = f"put the file at {path} (XAI_WEIGHTS names the folder)"
        raise FileNotFoundError(
            f"cannot get {name} from {url}: {where}. {one_line(error)}"
        ) from error


def read(path: Path) -> dict:
    """What a weight file holds: tensors and plain containers, never code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # whatever torch says of a file cut short, or of one that holds more than weights
        raise ValueError(f"cannot be read ({one_line(error, 120)})") from error


def bare(state: dict) -> dict:
    """The weights without what training and saving put around them, under timm's names.

    Those are torchvision's for a ResNet and DINO's and iBOT's for a ViT, so nothing else is
    renamed. Raises ValueError where two weights get one name.
    """
    while isinstance(state, dict) and (
        inside := next((w for w in WRAPPERS if isinstance(state.get(w), dict)), None)
    ):
        state = state[inside]

    def strip(key: str) -> str:
        front = next((p for p in PREFIXES if key.startswith(p)), None)
        return strip(key.removeprefix(front)) if front else key

    if not isinstance(state, dict):
        return {}
    names = [strip(str(k)) for k in state]
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise ValueError(f"holds two weights for {few(twice)}")
    return dict(zip(names, state.values()))


def check_fit(weights: dict, wanted: dict[str, Tensor], name: str) -> None:
    shapes = {k: tuple(getattr(v, "shape", ("no tensor",))) for k, v in weights.items()}
    faults = {
        "missing": sorted(wanted.keys() - shapes.keys()),
        "unexpected": sorted(shapes.keys() - wanted.keys()),
        "of another shape": sorted(
            k for k in wanted.keys() & shapes.keys() if shapes[k] != tuple(wanted[k].shape)
        ),
    }
    if any(faults.values()):
        said = "; ".join(f"{what}: {few(keys)}" for what, keys in faults.items() if keys)
        inside = sorted(k for k, v in weights.items() if isinstance(v, dict))
        hint = f" (weights are looked for in {', '.join(WRAPPERS)})" if inside else ""
        raise ValueError(
            f"the file {weight_file(name)} does not fit {row_of(name).arch} of {name}: {said}{hint}"
        )


def few(keys: list[str], most: int = 4) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def one_line(error: Exception, most: int = 300) -> str:
    """What an exception says, without line breaks; of what torch.load refuses, only what it is."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL (\S+)", str(error))
        return f"it holds {found[1]}, which is not run" if found else "it holds no tensors"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return said if len(said) <= most else said[: most - 3] + "..."
