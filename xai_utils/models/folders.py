"""Models in the hub's format: the folder of a name, and which of its files are not there."""

import json
from pathlib import Path

import huggingface_hub
from huggingface_hub.utils import HFValidationError, validate_repo_id

from .published import weights_folder

# each a choice of sets of files, one of which must lie there; the first is the one that is named
WEIGHTS = (("model.safetensors",), ("pytorch_model.bin",))
INDEX = ".index.json"  # of weights in several files
TOKENIZER = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
)
PICTURES = (("preprocessor_config.json",), ("processor_config.json",))


def model_folder(name: str) -> Path | None:
    """The folder that `name` is, or that lies as XAI_WEIGHTS/`name`; None where neither does."""
    if not name:
        raise ValueError("a model of transformers is named transformers/FOLDER-OR-NAME")
    places = (Path(name).expanduser(), weights_folder() / name)
    return next((p for p in places if p.is_dir()), None)


def cached_folder(name: str) -> Path | None:
    """The hub's own cache of a repository, at the version that was fetched last."""
    if not is_hub_name(name):
        return None
    config = huggingface_hub.try_to_load_from_cache(name, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def is_hub_name(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def missing_file(folder: Path, *, weights=True, tokenizer=False, pictures=False) -> str:
    """The first file that a model needs and that the folder lacks, with what may lie there in its
    place; "" where nothing is missing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if weights and (lost := missing_weights(folder)):
        return lost
    for wanted, choices in [(tokenizer, TOKENIZER), (pictures, PICTURES)]:
        if wanted and not any(all((folder / f).is_file() for f in files) for files in choices):
            return " or ".join(" and ".join(files) for files in choices)
    return ""


def missing_weights(folder: Path) -> str:
    for (file,) in WEIGHTS:
        if (folder / file).is_file():
            return ""
        if (folder / f"{file}{INDEX}").is_file():
            return missing_part(folder, f"{file}{INDEX}")
    return " or ".join(file for (file,) in WEIGHTS)


def missing_part(folder: Path, index: str) -> str:
    """The first of the files that an index of weights names and that is not there."""
    try:
        parts = set(json.loads((folder / index).read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return f"a readable {index}"
    return next((str(p) for p in sorted(parts) if not (folder / str(p)).is_file()), "")
