"""`load_model` by name, `wrap` for what you bring."""

import difflib
import logging
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch
from torch import nn

from ..types import DualEncoder, ImageEncoder, TextEncoder
from .clip import wrap_open_clip
from .embedded import conse_lite0, efficientnet_lite0
from .text import wrap_bert
from .vision import fit, wrap_callable, wrap_timm

EMBEDDED = {"conse-lite0": conse_lite0, "efficientnet-lite0": efficientnet_lite0}

__all__ = ["EMBEDDED", "fit", "load_model", "wrap"]


def load_model(name: str, *, pretrained: str | None = None, device=None) -> DualEncoder | ImageEncoder:
    """A model by name.

    name        "conse-lite0" (dual encoder), "efficientnet-lite0" (image encoder with a head), "open_clip/NAME",
                "timm/NAME"
    pretrained  open_clip's tag ("openai"); for timm "yes" loads its weights. None: random weights (seed 0)
    device      None: the GPU if there is one, else the CPU
    Raises ValueError for a name or tag that is not known, FileNotFoundError where weights or a tokenizer cannot be had.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind, _, inner = name.partition("/") if isinstance(name, str) else ("", "", "")
    if name in EMBEDDED:
        return EMBEDDED[name](device)
    if kind == "open_clip":
        return load_open_clip(inner, pretrained, device)
    if kind == "timm":
        return load_timm(inner, pretrained, device)
    raise ValueError(f"unknown model {name!r}: one of {', '.join(EMBEDDED)}, open_clip/NAME or timm/NAME")


def load_open_clip(name, pretrained, device):
    import open_clip

    known(name, open_clip.list_models(), "open_clip")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained and pretrained not in tags and not Path(pretrained).is_file():
        raise ValueError(f"open_clip has no weights {pretrained!r} for {name}: one of {', '.join(tags) or 'none'}, or a file")
    with seeded(), from_hub(f"open_clip/{name}, pretrained={pretrained!r}"):
        model = open_clip.create_model(name, pretrained=pretrained, load_weights=pretrained is not None)
        tokenizer = open_clip.get_tokenizer(name)
    return wrap_open_clip(model.to(device), tokenizer, f"open_clip/{name}")


def load_timm(name, pretrained, device):
    import timm

    if pretrained not in (None, "yes"):
        raise ValueError(f'pretrained must be None or "yes" for timm models, got {pretrained!r}')
    known(name.split(".")[0], timm.list_models(), "timm")
    with seeded(), from_hub(f"timm/{name}"):
        model = timm.create_model(name, pretrained=pretrained is not None)
    return wrap_timm(model.to(device), f"timm/{name}")


def known(name, names, library):
    if name not in names:
        near = difflib.get_close_matches(name, names, 3) or list(names)[:3]
        raise ValueError(f"{library} has no model {name!r}; near to it: {', '.join(near)}")


@contextmanager
def from_hub(what: str):
    """One message for the many ways in which a hub cannot be reached; no log beside it, nor that weights are random as asked."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except (OSError, RuntimeError, httpx.HTTPError) as error:  # what the hub libraries and open_clip make of it
        hint = "with a network it is fetched once and kept (HF_HOME names the folder)"
        raise FileNotFoundError(f"cannot get {what} from its hub: {hint}. {type(error).__name__}: {error}") from error
    finally:
        logging.disable(before)


@contextmanager
def seeded():
    """Random weights that are the same every time, without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def wrap(model, *, tokenizer=None, name: str | None = None, image_size=None, transform=None):
    """Bring your own encoder.

    model       an open_clip model (give `tokenizer`): a DualEncoder; a timm model: an ImageEncoder with splits and, if
                it classifies, a head; a transformers BERT (give `tokenizer`): a TextEncoder; any other nn.Module or
                function (B, 3, H, W) -> (B, D): an ImageEncoder without splits
    image_size  (H, W) or one number, only for the last kind; None: any size
    transform   PIL -> (3, H, W), only for the last kind; None: resize and crop to `image_size`, values 0 to 1
    The kit works on a frozen copy that shares the weights' memory; your model stays as it is.
    """
    if isinstance(model, (ImageEncoder, TextEncoder, DualEncoder)):
        return model
    origin = type(model).__module__.split(".")[0]
    if origin == "open_clip" and hasattr(model, "encode_text"):
        if tokenizer is None:
            raise ValueError("wrap needs tokenizer= for an open_clip model: open_clip.get_tokenizer(NAME)")
        return wrap_open_clip(model, tokenizer, name or "open_clip")
    if origin == "transformers" and hasattr(model, "embeddings") and hasattr(getattr(model, "encoder", None), "layer"):
        if tokenizer is None:
            raise ValueError("wrap needs tokenizer= for a text model: transformers.AutoTokenizer.from_pretrained(...)")
        return wrap_bert(model, tokenizer, name=name or "text")
    if isinstance(model, nn.Module) and hasattr(model, "forward_features") and hasattr(model, "pretrained_cfg"):
        return wrap_timm(model, name)
    if not callable(model):
        raise TypeError(f"wrap takes a model or a function, got {type(model).__name__}")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    return wrap_callable(model, name=name, image_size=size and tuple(size), transform=transform)
