"""Whether a model's weights can be had, before anything is built or read."""

import threading
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import huggingface_hub
from huggingface_hub import constants as hub

from .embedded import EMBEDDED
from .fetch import check_no_tag, check_tag, check_timm, file_of_open_clip, hub_of
from .folders import cached_folder, is_hub_name, model_folder
from .hf import folder_lacks
from .published import CARRIED, CHECKPOINTS, INSTEAD, PAPER_NAMES, weight_file, weights_folder
from .strategies import NAMES as STRATEGY_NAMES

PATIENCE = 3  # seconds in which a host must answer
TERMS = {
    "timm/vit_base_patch32_clip_224.openai": "MIT",
    "openai/clip-vit-base-patch32": "MIT",
    "Salesforce/blip-image-captioning-base": "BSD-3-Clause",
    "Salesforce/blip-image-captioning-large": "BSD-3-Clause",
}
ELSEWHERE = "with a network it is fetched once and kept (HF_HOME names the folder)"


def lacks(name: str, pretrained: str | None = None) -> str:
    """What `load_model(name, pretrained=pretrained)` would miss, in one sentence: the file or
    repository, who distributes it under which terms, and where it belongs. "" where the weights
    are there or can be fetched.

    name  as load_model takes it; OWNER/NAME, a captioner on the hub, is transformers/OWNER/NAME
    No model is built and no weights are read, so a damaged file is not noticed. Each host is asked
    once in a process and has three seconds to answer; the hub is not asked where HF_HUB_OFFLINE is
    set. Raises ValueError for a name or tag that load_model does not know.
    """
    kind, _, inner = name.partition("/") if isinstance(name, str) else ("", "", "")
    if name in EMBEDDED:
        check_no_tag(name, pretrained)
        return ""
    if name in STRATEGY_NAMES:
        check_tag(name, pretrained)
        return ""
    if name in PAPER_NAMES:
        check_tag(name, pretrained)
        return "" if pretrained else paper_lacks(name)
    if kind == "open_clip":
        return open_clip_lacks(inner, None if pretrained == "random" else pretrained)
    if kind == "timm":
        return timm_lacks(inner, None if pretrained == "random" else pretrained)
    if kind == "transformers":
        check_tag(name, pretrained)
        return transformers_lacks(inner, weights=pretrained is None)
    if inner:
        check_tag(name, pretrained)
        return transformers_lacks(name, weights=pretrained is None)
    raise unknown(name)


def unknown(name) -> ValueError:
    names = ", ".join([*EMBEDDED, *STRATEGY_NAMES, *PAPER_NAMES])
    return ValueError(
        f"unknown model {name!r}: one of {names}, open_clip/NAME, timm/NAME or"
        " transformers/FOLDER-OR-NAME"
    )


def paper_lacks(name: str) -> str:
    path = weight_file(name)
    if path.is_file():
        return ""
    if name in CHECKPOINTS:
        row = CHECKPOINTS[name]
        if answers(row.url):
            return ""
        return f"{name} lacks {place(path)}: {row.url} is that file, under {row.terms}"
    row = CARRIED[name]
    lost = (open_clip_lacks if row.library == "open_clip" else timm_lacks)(row.model, row.tag)
    if not lost:
        return ""
    other = f", or {INSTEAD[name].file} from {INSTEAD[name].url}" if name in INSTEAD else ""
    return (
        f"{name} lacks {place(path)}: the .safetensors file of {hub_of(name)} is that file, under"
        f" {row.terms}{other}; {ELSEWHERE}"
    )


def open_clip_lacks(name: str, tag: str | None) -> str:
    import open_clip

    file = file_of_open_clip(name, tag)
    text = open_clip.get_model_config(name)["text_cfg"]
    needs = [
        (text.get("hf_tokenizer_name"), ("tokenizer.json", "tokenizer_config.json")),
        (text.get("hf_model_name"), ("config.json",)),
    ]
    if tag and not file:
        repository, _, file = open_clip.get_pretrained_cfg(name, tag)["hf_hub"].rpartition("/")
        needs += [(repository, safe_first(file or "open_clip_pytorch_model.bin"))]
    what = f"open_clip/{name}" + (f" with the weights {tag!r}" if tag else "")
    said = (repository_lacks(what, r, files) for r, files in needs if r)
    return next((s for s in said if s), "")


def timm_lacks(name: str, tag: str | None) -> str:
    import timm

    check_timm(name, tag)
    if tag is None:
        return ""
    row = timm.models.get_pretrained_cfg(name)
    if row is None or not row.has_weights:
        return f"timm/{name} lacks weights: timm has none for it"
    if row.hf_hub_id:
        files = safe_first(row.hf_hub_filename or "pytorch_model.bin")
        return repository_lacks(f"timm/{name}", row.hf_hub_id, files, row.license)
    if in_torch_cache(row.url) or answers(row.url):
        return ""
    return f"timm/{name} lacks {row.url}, under {row.license or 'no stated terms'}"


def transformers_lacks(name: str, *, weights: bool) -> str:
    """The same for a model in the hub's format, by folder or by name on the hub."""
    what = f"transformers/{name}"
    try:
        folder = model_folder(name)
    except FileNotFoundError as error:
        return f"{what} lacks its folder: {error}"
    if folder:
        lost = folder_lacks(folder, weights=weights)
        return lost and f"{what} lacks {lost} in {folder}: {source(name)}"
    folder = cached_folder(name)
    if (folder and not folder_lacks(folder, weights=weights)) or hub_can_be_reached():
        return ""
    return f"{what} lacks {place(weights_folder() / name)}: {source(name)}; {ELSEWHERE}"


def source(name: str) -> str:
    """Who distributes a model of the hub's format, and under which terms."""
    if not is_hub_name(name):
        return "its source has that file"
    terms = TERMS.get(name, "the terms on that page")
    return f"{hub.ENDPOINT}/{name} distributes it, under {terms}"


def repository_lacks(
    what: str, repository: str, files: tuple[str, ...], terms: str | None = None
) -> str:
    cached = (huggingface_hub.try_to_load_from_cache(repository, file) for file in files)
    if any(isinstance(path, str) for path in cached) or hub_can_be_reached():
        return ""
    return (
        f"{what} lacks {' or '.join(files)} of {hub.ENDPOINT}/{repository}, distributed under"
        f" {terms or TERMS.get(repository, 'the terms on that page')}: {ELSEWHERE}"
    )


def safe_first(file: str) -> tuple[str, ...]:
    """A file of a hub and, before it, the one in safetensors' format that its library prefers."""
    stem = file.rpartition(".")[0]
    safe = {"pytorch_model": "model", "open_clip_pytorch_model": "open_clip_model"}.get(stem, stem)
    return tuple(dict.fromkeys((f"{safe}.safetensors", file)))


def in_torch_cache(url: str) -> bool:
    import torch

    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name).is_file()


def place(path: Path) -> str:
    return f"{path} (XAI_WEIGHTS names the folder)"


def hub_can_be_reached() -> bool:
    return not hub.HF_HUB_OFFLINE and answers(hub.ENDPOINT)


def answers(url: str) -> bool:
    parts = urlsplit(url)
    return host_answers(f"{parts.scheme}://{parts.netloc}")


@cache
def host_answers(host: str) -> bool:
    """Whether a host says anything at all within PATIENCE, the look-up of its name included."""
    said = []

    def ask():
        try:
            said.append(httpx.head(host, timeout=PATIENCE))
        except (httpx.HTTPError, OSError):
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(said)
