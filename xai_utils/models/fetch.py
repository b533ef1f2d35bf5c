"""Where weights come from: a hub, a file or chance. One message for what goes wrong."""

import difflib
import logging
from contextlib import contextmanager
from pathlib import Path

import httpx
import huggingface_hub
import torch
from huggingface_hub import constants as hub

from .published import CARRIED, one_line, weight_file


def check_tag(name, pretrained):
    if pretrained not in (None, "random"):
        raise ValueError(
            f'pretrained must be None (the trained weights) or "random" for {name}, got'
            f" {pretrained!r}"
        )


def check_no_tag(name, pretrained):
    if pretrained is not None:
        raise ValueError(
            f"pretrained must be None for {name}, whose weights come along, got {pretrained!r}:"
            ' random weights of its kind are "timm/tf_efficientnet_lite0"'
        )


def known(name, names, library):
    if name not in names:
        near = difflib.get_close_matches(name, names, 3) or list(names)[:3]
        raise ValueError(f"{library} has no model {name!r}; near to it: {', '.join(near)}")


def file_of_open_clip(name: str, pretrained: str | None) -> str | None:
    """The file that `pretrained` names for an open_clip model, None where it is a tag or None."""
    import open_clip

    known(name, open_clip.list_models(), "open_clip")
    tags = open_clip.list_pretrained_tags_by_model(name)
    file = pretrained if pretrained and Path(pretrained).is_file() else None
    if pretrained and pretrained not in tags and not file:
        raise ValueError(
            f"open_clip has no weights {pretrained!r} for {name}: one of"
            f" {', '.join(tags) or 'none'}, or a file"
        )
    return file


def check_timm(name: str, pretrained: str | None):
    import timm

    if pretrained not in (None, "yes"):
        raise ValueError(f'pretrained must be None or "yes" for timm models, got {pretrained!r}')
    known(name.split(".")[0], timm.list_models(), "timm")


@contextmanager
def from_hub(what: str, paper: str | None = None, asks: bool = True, folder: Path | None = None):
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
        if folder:
            hint += f"; or put its folder at {folder} (XAI_WEIGHTS names the outer one)"
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
