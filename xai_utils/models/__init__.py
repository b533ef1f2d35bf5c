"""`load_model` by name, `wrap` for what you bring."""

import difflib
import logging
from contextlib import contextmanager
from pathlib import Path

import httpx
import huggingface_hub
import torch
from huggingface_hub import constants as hub
from torch import nn

from ..types import DualEncoder, ImageEncoder, TextEncoder
from .clip import wrap_open_clip
from .embedded import conse_lite0, efficientnet_lite0, vit_stamps
from .hf_text import text_encoder
from .published import CARRIED, CHECKPOINTS, PAPER_NAMES, one_line, published, weight_file
from .strategies import NAMES as STRATEGY_NAMES
from .strategies import strategy_encoder
from .vision import wrap_timm
from .wrapping import rescaled, wrap_callable

EMBEDDED = {
    "conse-lite0": conse_lite0,
    "efficientnet-lite0": efficientnet_lite0,
    "vit-stamps": vit_stamps,
}

__all__ = ["EMBEDDED", "load_model", "rescaled", "wrap"]


def load_model(
    name: str, *, pretrained: str | None = None, device=None
) -> DualEncoder | ImageEncoder:
    """A model by name.

    name        "conse-lite0", "vit-stamps" (dual encoders), "efficientnet-lite0" (image encoder
                with a head), "vit-mini-dino" and the like, see models/strategies.py,
                "open_clip/NAME", "timm/NAME", or one of the papers' own, see models/published.py:
                "clip-vit-b-32" (dual encoder), "vgg16", "resnet50", "vit-b-16", "dino-vit-b-16",
                "dino-resnet50", "dinov2-vit-b-14", "beit-base", "barlow-twins-resnet50",
                "swav-resnet50", "ibot-vit-b-16", "ibot-vit-s-16"
    pretrained  open_clip's tag ("openai"); for timm "yes" loads its weights. None: random weights
                (seed 0), but for the papers' and strategies' names the trained ones. "random":
                random weights for all of these
    device      None: the GPU if there is one, else the CPU
    Raises ValueError for a name or tag that is not known, FileNotFoundError where weights or a
    tokenizer cannot be had.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind, _, inner = name.partition("/") if isinstance(name, str) else ("", "", "")
    if name in EMBEDDED:
        return EMBEDDED[name](device)
    if name in PAPER_NAMES:
        return load_paper(name, pretrained, device)
    if name in STRATEGY_NAMES:
        check_tag(name, pretrained)
        return strategy_encoder(name, device, untrained=pretrained == "random")
    pretrained = None if pretrained == "random" else pretrained
    if kind == "open_clip":
        return load_open_clip(inner, pretrained, device)
    if kind == "timm":
        return load_timm(inner, pretrained, device)
    raise ValueError(
        f"unknown model {name!r}: one of {', '.join([*EMBEDDED, *STRATEGY_NAMES, *PAPER_NAMES])},"
        " open_clip/NAME or timm/NAME"
    )


def check_tag(name, pretrained):
    if pretrained not in (None, "random"):
        raise ValueError(
            f'pretrained must be None (the trained weights) or "random" for {name}, got'
            f" {pretrained!r}"
        )


def load_paper(name, pretrained, device):
    """An encoder by the name that a paper gives it: trained, from its file if that is there, else
    from its library's hub."""
    check_tag(name, pretrained)
    if name in CHECKPOINTS:
        with seeded():
            return wrap_timm(published(name, trained=pretrained is None).to(device), name)
    row, file = CARRIED[name], weight_file(name)
    tag = None if pretrained else str(file) if file.is_file() else row.tag
    if row.library == "open_clip":
        return load_open_clip(row.model, tag, device, paper=name)
    return load_timm(row.model, tag, device, paper=name, **row.options)


def load_open_clip(name, pretrained, device, paper=None):
    import open_clip

    known(name, open_clip.list_models(), "open_clip")
    tags = open_clip.list_pretrained_tags_by_model(name)
    file = pretrained if pretrained and Path(pretrained).is_file() else None
    if pretrained and pretrained not in tags and not file:
        raise ValueError(
            f"open_clip has no weights {pretrained!r} for {name}: one of"
            f" {', '.join(tags) or 'none'}, or a file"
        )
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
    if pretrained not in (None, "yes") and not file:
        raise ValueError(f'pretrained must be None or "yes" for timm models, got {pretrained!r}')
    known(name.split(".")[0], timm.list_models(), "timm")
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


def known(name, names, library):
    if name not in names:
        near = difflib.get_close_matches(name, names, 3) or list(names)[:3]
        raise ValueError(f"{library} has no model {name!r}; near to it: {', '.join(near)}")


@contextmanager
def from_hub(what: str, paper: str | None = None, asks: bool = True):
    """One message for the many ways in which a hub cannot be reached; no log beside it, nor that
    weights are random as asked.

    Where the hub does not answer at once only its cache is asked: its client would try again and
    again for most of a minute.
    """
    before, offline = logging.root.manager.disable, hub.HF_HUB_OFFLINE
    logging.disable(logging.ERROR)
    hub.HF_HUB_OFFLINE = offline or (asks and not hub_answers())
    try:
        yield
    except (
        OSError,
        RuntimeError,
        httpx.HTTPError,
    ) as error:  # what the hub libraries and open_clip make of it
        hint = "with a network it is fetched once and kept (HF_HOME names the folder)"
        if paper:
            what = f"{paper} ({what})"
            hint += (
                f"; or put the hub's .safetensors file at {weight_file(paper)} (XAI_WEIGHTS names"
                " the folder)"
            )
        raise FileNotFoundError(
            f"cannot get {what} from {hub_of(paper)}: {hint}. {one_line(error)}"
        ) from error
    finally:
        hub.HF_HUB_OFFLINE = offline
        logging.disable(before)


def hub_answers() -> bool:
    try:
        huggingface_hub.get_session().head(hub.ENDPOINT, timeout=5)
    except Exception:  # of whichever HTTP library the hub's client is built on
        return False
    return True


def hub_of(paper: str | None) -> str:
    """Where a hub keeps the weights of a paper's name."""
    if paper is None:
        return "its hub"
    import open_clip
    import timm

    row = CARRIED[paper]
    if row.library == "open_clip":
        repository = open_clip.get_pretrained_cfg(row.model, row.tag)["hf_hub"].strip("/")
        return f"{hub.ENDPOINT}/{repository}"
    return f"{hub.ENDPOINT}/{timm.models.get_pretrained_cfg(row.model).hf_hub_id}"


@contextmanager
def from_file(file: str, what: str):
    """One message for the many ways in which a file of weights can be wrong."""
    try:
        yield
    except Exception as error:  # whatever safetensors, torch, timm and open_clip say of it
        raise ValueError(
            f"{file} does not hold the weights of {what}: {one_line(error)}"
        ) from error


@contextmanager
def seeded():
    """Random weights that are the same every time, without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def wrap(model, *, tokenizer=None, name: str | None = None, image_size=None, transform=None):
    """Bring your own encoder.

    model       an open_clip model (give `tokenizer`): a DualEncoder; a timm model: an ImageEncoder
                with splits and, if it classifies, a head; a transformers BERT (give `tokenizer`): a
                TextEncoder; any other nn.Module or function (B, 3, H, W) -> (B, D): an ImageEncoder
                without splits
    image_size  (H, W) or one number, only for the last kind; None: any size
    transform   PIL -> (3, H, W), only for the last kind; None: resize and crop to `image_size`,
                values 0 to 1
    The kit works on a frozen copy that shares the weights' memory; your model stays as it is.
    """
    if isinstance(model, (ImageEncoder, TextEncoder, DualEncoder)):
        return model
    origin = type(model).__module__.split(".")[0]
    if origin == "open_clip" and hasattr(model, "encode_text"):
        if tokenizer is None:
            raise ValueError(
                "wrap needs tokenizer= for an open_clip model: open_clip.get_tokenizer(NAME)"
            )
        return wrap_open_clip(model, tokenizer, name or "open_clip")
    if (
        origin == "transformers"
        and hasattr(model, "embeddings")
        and hasattr(getattr(model, "encoder", None), "layer")
    ):
        if tokenizer is None:
            raise ValueError(
                "wrap needs tokenizer= for a text model:"
                " transformers.AutoTokenizer.from_pretrained(...)"
            )
        return text_encoder(model, tokenizer, name=name or "text")
    if (
        isinstance(model, nn.Module)
        and hasattr(model, "forward_features")
        and hasattr(model, "pretrained_cfg")
    ):
        return wrap_timm(model, name)
    if not callable(model):
        raise TypeError(f"wrap takes a model or a function, got {type(model).__name__}")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    return wrap_callable(model, name=name, image_size=size and tuple(size), transform=transform)
