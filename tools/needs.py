"""Which data sets and models a notebook asks for by its parameters, and the page of those that are
not there.

The last word of a parameter's name says what it holds: data sets in `data` and `things_data`,
models in `model_name`, `cnn_names`, `photo_model`, `models` and `tower`. Several are a list, a
dictionary from names to sizes, or a string with blanks between them. `pretrained` is the tag of
`model_name`.
"""

import os
import textwrap
from typing import NamedTuple

MODEL_WORDS = ("model", "models", "name", "names", "tower")
WIDTH = 96


class Need(NamedTuple):
    kind: str  # "data" or "model"
    name: str
    pretrained: str = ""

    def __str__(self):
        return f"{self.name} ({self.pretrained})" if self.pretrained else self.name


def kind(parameter: str) -> str:
    """ "data" or "model", "" where the parameter is neither."""
    word = parameter.split("_")[-1]
    if word == "data":
        return "data"
    return "model" if word in MODEL_WORDS else ""


def needs(parameters: dict) -> list[Need]:
    """The data sets and models of a notebook that runs with these parameters."""
    found = []
    for parameter, value in parameters.items():
        tag = parameters.get("pretrained", "") if parameter == "model_name" else ""
        found += [Need(kind(parameter), name, tag) for name in names(parameter, value)]
    return list(dict.fromkeys(found))


def names(parameter: str, value) -> list[str]:
    if not kind(parameter) or not value:
        return []
    if isinstance(value, str):  # the folder of a single model may have blanks in it
        single = kind(parameter) == "model" and not parameter.endswith("s")
        return [value] if single else value.split()
    return list(value) if isinstance(value, (list, dict)) else [value]


def lacks(need: Need) -> str:
    """A sentence that says where it belongs and is to be had, "" where it can be read."""
    from xai_utils import data, models

    if need.kind == "data":
        return data.lacks(need.name)
    return models.lacks(need.name, need.pretrained or None)


def missing(asked: dict[str, list[Need]]) -> dict[Need, str]:
    """What notebooks ask for and is not there, each with the sentence that `lacks` has for it.
    Raises ValueError, with the notebook, for a name that is not known."""
    said = {}
    for notebook, wanted in asked.items():
        try:
            said |= {need: lacks(need) for need in wanted if need not in said}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{notebook}: {error}") from None
    return {need: sentence for need, sentence in sorted(said.items()) if sentence}


def page(profile: str, asked: dict[str, list[Need]], missing: dict[Need, str]) -> str:
    """Each missing thing with its notebooks, then every notebook with what it lacks."""
    lacking = {notebook: [n for n in wanted if n in missing] for notebook, wanted in asked.items()}
    stopped = sum(map(bool, lacking.values()))
    text = [f"Profile {profile}: {stopped} of {len(asked)} notebooks cannot run for want of this."]
    if any(n.kind == "data" for n in missing) and not os.environ.get("XAI_DATA"):
        text += ["XAI_DATA is not set: it names the folder in which the data sets lie."]
    for sentence in dict.fromkeys(missing.values()):  # one for all splits of a set
        things = [need for need in missing if missing[need] == sentence]
        users = [k.split("_")[0] for k, wanted in lacking.items() if set(things) & set(wanted)]
        what = "data set" if things[0].kind == "data" else "model"
        head = f"{', '.join(map(str, things))} ({what}), needed by {', '.join(users)}"
        text += ["", wrapped(head), wrapped(sentence, "    ", "    ")]
    text += [""]
    column = max(map(len, asked)) + 2
    for notebook, things in lacking.items():
        line = f"lacks {', '.join(map(str, things))}" if things else "runs"
        text += [wrapped(line, notebook.ljust(column), " " * column)]
    return "\n".join(text) + "\n"


def wrapped(text: str, first: str = "", rest: str = "    ") -> str:
    """Lines of at most WIDTH characters, none broken inside an address or a path."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
