"""`load_model` by name, `wrap` for what you bring."""

from pathlib import Path

import torch

from ..types import DualEncoder, ImageEncoder, TextEncoder
from .availability import lacks, unknown
from .blip import load_blip
from .bring import wrap
from .clip import wrap_open_clip
from .embedded import EMBEDDED
from .fetch import (
    check_no_tag,
    check_tag,
    check_timm,
    file_of_open_clip,
    from_file,
    from_hub,
    seeded,
)
from .hf import load_transformers
from .published import CARRIED, CHECKPOINTS, PAPER_NAMES, is_authors, published, weight_file
from .strategies import NAMES as STRATEGY_NAMES
from .strategies import strategy_encoder
from .vision import wrap_timm
from .wrapping import as_device, rescaled

__all__ = ["EMBEDDED", "lacks", "load_blip", "load_model", "rescaled", "wrap"]


def load_model(
    name: str, *, pretrained: str | None = None, device=None
) -> DualEncoder | ImageEncoder | TextEncoder:
    """A model by name.

    name        "lit-lite0", "conse-lite0", "vit-photos" (dual encoders),
                "efficientnet-lite0" (image encoder with a head), see models/embedded.py;
                "vit-mini-dino" and the like, see models/strategies.py,
                "open_clip/NAME", "timm/NAME", "transformers/FOLDER-OR-NAME" in the hub's format, or
                one of the papers' own, see models/published.py:
                "clip-vit-b-32" (dual encoder), "vgg16", "resnet50", "vit-b-16", "dino-vit-b-16",
                "dino-resnet50", "dinov2-vit-b-14", "beit-base", "barlow-twins-resnet50",
                "swav-resnet50", "ibot-vit-b-16", "ibot-vit-s-16"
    pretrained  open_clip's tag ("openai"); for timm "yes" loads its weights. None: random weights
                (seed 0), but for transformers and the papers' and strategies' names the trained
                ones. "random": random weights for all but those of
                models/embedded.py, whose weights come along
    device      None: the GPU if there is one, else the CPU
    Raises ValueError for a name or tag that is not known and for files that do not hold such a
    model, FileNotFoundError where weights or a tokenizer cannot be had, which `lacks` says before.
    """
    device = as_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind, _, inner = name.partition("/") if isinstance(name, str) else ("", "", "")
    if name in EMBEDDED:
        check_no_tag(name, pretrained)
        return EMBEDDED[name](device)
    if name in PAPER_NAMES:
        return load_paper(name, pretrained, device)
    if name in STRATEGY_NAMES:
        check_tag(name, pretrained)
        return strategy_encoder(name, device, untrained=pretrained == "random")
    if kind == "transformers":
        return load_transformers(inner, pretrained, device)
    pretrained = None if pretrained == "random" else pretrained
    if kind == "open_clip":
        return load_open_clip(inner, pretrained, device)
    if kind == "timm":
        return load_timm(inner, pretrained, device)
    raise unknown(name)


def load_paper(name, pretrained, device):
    """An encoder by the name that a paper gives it: trained, from its file if that is there, else
    from its library's hub."""
    check_tag(name, pretrained)
    if name in CHECKPOINTS or (pretrained is None and is_authors(name)):
        with seeded():
            return wrap_timm(published(name, trained=pretrained is None).to(device), name)
    row, file = CARRIED[name], weight_file(name)
    tag = None if pretrained else str(file) if file.is_file() else row.tag
    if row.library == "open_clip":
        return load_open_clip(row.model, tag, device, paper=name)
    return load_timm(row.model, tag, device, paper=name, **row.options)


def load_open_clip(name, pretrained, device, paper=None):
    import open_clip

    file = file_of_open_clip(name, pretrained)
    what = f"open_clip/{name}, pretrained={pretrained!r}"
    quick = open_clip.get_pretrained_cfg(name, pretrained or "").get(
        "quick_gelu", False
    )  # what the weights were trained with
    with (
        seeded(),
        from_file(file, what) if file else from_hub(what, paper, asks=pretrained is not None),
    ):
        model = open_clip.create_model(
            name, pretrained=pretrained, load_weights=pretrained is not None, force_quick_gelu=quick
        )
    with from_hub(
        f"the tokenizer of open_clip/{name}", asks=False
    ):  # those of CLIP come with open_clip
        tokenizer = open_clip.get_tokenizer(name)
    return wrap_open_clip(model.to(device), tokenizer, paper or f"open_clip/{name}")


def load_timm(name, pretrained, device, paper=None, **options):
    import timm

    file = pretrained if paper and pretrained and Path(pretrained).is_file() else None
    check_timm(name, "yes" if file else pretrained)
    options |= {"pretrained_cfg_overlay": {"file": file}} if file else {}
    with (
        seeded(),
        (
            from_file(file, name)
            if file
            else from_hub(f"timm/{name}", paper, asks=pretrained is not None)
        ),
    ):
        model = timm.create_model(name, pretrained=pretrained is not None, **options)
    return wrap_timm(model.to(device), paper or f"timm/{name}")
