"""Models in the hub's format: the folder of a name, and which of its files are not there."""

import json
from pathlib import Path

import huggingface_hub
from huggingface_hub.utils import HFValidationError, validate_repo_id

from .published import weights_folder

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"  # of weights in several files
TOKENIZER = (  # the files of one row must lie there, as of PICTURES
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tokenizer.model",),
)
PICTURES = (("preprocessor_config.json",), ("processor_config.json",))


def model_folder(name: str) -> Path | None:
    """The folder that `name` is, or that lies as XAI_WEIGHTS/`name`; None for a name on the hub.
    Raises FileNotFoundError for what is none of these."""
    if not name:
        raise ValueError("a model of transformers is named transformers/FOLDER-OR-NAME")
    places = (Path(name).expanduser(), weights_folder() / name)
    folder = next((p for p in places if p.is_dir()), None)
    if not folder and not is_hub_name(name):
        raise FileNotFoundError(f"there is no folder {name}, and no name on the hub is like that")
    return folder


def cached_folder(name: str) -> Path | None:
    """The hub's own cache of a repository, at the version that was fetched last."""
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
        if wanted and (lost := missing_choice(folder, choices)):
            return lost
    return ""


def missing_choice(folder: Path, choices: tuple[tuple[str, ...], ...]) -> str:
    """What a folder lacks where no row is whole: the rest of a row that is there in part, else any
    row; "" where one is whole."""
    lost = [tuple(f for f in files if not (folder / f).is_file()) for files in choices]
    if not all(lost):
        return ""
    begun = [rest for rest, files in zip(lost, choices) if rest != files]
    return ", or ".join(" and ".join(files) for files in begun or choices)


def missing_weights(folder: Path) -> str:
    file = weights_in(folder)
    if file.endswith(INDEX):
        return missing_part(folder, file)
    return "" if file else " or ".join(WEIGHTS)


def weights_in(folder: Path) -> str:
    """The file of weights that transformers reads, or the index of several; "" where there is
    none."""
    files = (f"{file}{end}" for file in WEIGHTS for end in ("", INDEX))
    return next((f for f in files if (folder / f).is_file()), "")


def missing_part(folder: Path, index: str) -> str:
    """The first of the files that an index of weights names and that is not there."""
    try:
        parts = set(json.loads((folder / index).read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return f"a readable {index}"
    return next((str(p) for p in sorted(parts) if not (folder / str(p)).is_file()), "")
