"""What a row of results depends on, written down so that it can be part of the row's key.

A value's description is made of lists and strings alone, so that JSON writes it the same way every
time. Functions are described by what they do, not by where they stand: their bytecode, their
constants, what they close over, and every function and value of the user's own that they name.
"""

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from .types import DualEncoder, Encoder, ImageEncoder

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, torch.dtype, torch.device)
PLAIN = (*PLAIN, Path, Enum, range, slice, type(Ellipsis), torch.Size)
PROBE_TEXTS = ["a photo of a cat", "two red cars in front of an old house", "no"]


def describe(value, seen: tuple[int, ...] = ()) -> list | str:
    """A description of `value` that differs where anything that it computes may differ.

    seen  ids of the functions, classes and modules that are being described: a recursive one is
          named, not described again
    Raises TypeError for what cannot be described; a string attribute `key` speaks for its object.
    """
    if isinstance(value, PLAIN):
        return [type(value).__name__, repr(value)]
    if isinstance(getattr(value, "key", None), str) and not isinstance(value, type):
        return ["key", name_of(type(value)), value.key]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return ["tensor", str(value.dtype), str(tuple(value.shape)), digest(tensor_bytes(value))]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return ["array", str(value.dtype), str(value.shape), digest(np.ascontiguousarray(value))]
    if isinstance(value, (DualEncoder, Encoder)):
        return ["model", model_key(value)]
    if id(value) in seen:
        return ["again", name_of(value)]
    seen = (*seen, id(value))
    if isinstance(value, (list, tuple, np.ndarray)):
        return [type(value).__name__, *(describe(v, seen) for v in value)]
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted((describe(v, seen) for v in value), key=repr)]
    if isinstance(value, dict):
        items = [[describe(k, seen), describe(v, seen)] for k, v in value.items()]
        return ["dict", *sorted(items, key=repr)]
    if isinstance(value, partial):
        return ["partial", *(describe(v, seen) for v in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", describe(value.__func__, seen), describe(value.__self__, seen)]
    if isinstance(value, types.FunctionType):
        return ["function", *function_key(value, seen)]
    if isinstance(value, types.ModuleType):
        return ["module", *module_key(value.__name__)]
    if isinstance(value, (types.BuiltinFunctionType, np.ufunc, types.MethodDescriptorType)):
        return ["builtin", name_of(value)]
    if isinstance(value, type):
        return ["class", *class_key(value, seen)]
    if isinstance(value, nn.Module):
        return ["network", *network_key(value, seen)]
    if isinstance(value, Image.Image):
        return ["picture", value.mode, str(value.size), digest(value.tobytes())]
    if is_dataclass(value):
        own = [[f.name, describe(getattr(value, f.name), seen)] for f in fields(value)]
        return ["dataclass", describe(type(value), seen), *own]
    if isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # functools.cache
        return ["wrapped", name_of(type(value)), describe(value.__wrapped__, seen)]
    if isinstance(value, (pd.DataFrame, pd.Series, pd.Index)):
        rows = pd.util.hash_pandas_object(value).to_numpy()
        return ["frame", repr(getattr(value, "columns", "")), digest(rows)]
    if callable(value) and hasattr(value, "__name__") and is_library(value.__module__ or ""):
        return ["library", name_of(value)]  # such as numpy's functions
    raise TypeError(
        f"{value!r} of type {name_of(type(value))} cannot be part of a row's key: give it a string"
        " attribute `key` that names all it depends on"
    )


def function_key(function: types.FunctionType, seen) -> list:
    home = function.__globals__.get("__name__", "")
    if hasattr(function, "__wrapped__"):  # a decorator's function, and what it decorates
        outside = module_key(home) if is_library(home) else [describe(function.__code__.co_code)]
        return [name_of(function), outside, describe(function.__wrapped__, seen)]
    if is_library(home):
        return [name_of(function), *module_key(home)]
    cells = [c.cell_contents for c in function.__closure__ or ()]
    used = []
    for name in sorted(names_in(function.__code__) & set(function.__globals__)):
        value = function.__globals__[name]
        if isinstance(value, types.ModuleType) and not is_library(value.__name__):
            inside = sorted(names_in(function.__code__) & set(vars(value)))
            used += [[name, n, describe(vars(value)[n], seen)] for n in inside]
        else:
            used.append([name, describe_global(function, name, seen)])
    given = [describe(v, seen) for v in (function.__defaults__, function.__kwdefaults__, cells)]
    return [function.__name__, code_digest(function.__code__), given, used]


def describe_global(function: types.FunctionType, name: str, seen) -> list | str:
    try:
        return describe(function.__globals__[name], seen)
    except TypeError as error:
        raise TypeError(f"{function.__name__} uses {name}: {error}") from error


def code_digest(code: types.CodeType) -> list:
    """Bytecode, names and constants, those of inner functions too."""
    constants = [
        code_digest(c) if isinstance(c, types.CodeType) else describe(c) for c in code.co_consts
    ]
    return [digest(code.co_code), list(code.co_names), list(code.co_varnames), constants]


def names_in(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(names_in, inner))


def class_key(cls: type, seen) -> list:
    if is_library(cls.__module__):
        return [name_of(cls), *module_key(cls.__module__)]
    left_out = ("__module__", "__dict__", "__weakref__", "__doc__", "__annotations__")
    own = {k: v for k, v in vars(cls).items() if k not in left_out}
    found = [name_of(cls), *(describe(base, seen) for base in cls.__bases__)]
    for name, value in sorted(own.items()):
        value = getattr(value, "__func__", getattr(value, "fget", None) or value)
        if isinstance(value, (types.FunctionType, *PLAIN, list, tuple, dict)):
            found.append([name, describe(value, seen)])
    return found


def network_key(module: nn.Module, seen) -> list:
    """Structure, weights and buffers, mode, and the code of classes that are not a library's."""
    state = [[k, describe(v)] for k, v in sorted(module.state_dict().items())]
    kinds = sorted({type(m) for m in module.modules()}, key=name_of)
    classes = [describe(c, seen) for c in kinds]
    own = [
        [name, {k: v for k, v in vars(part).items() if not k.startswith("_")}]
        for name, part in module.named_modules()
    ]
    return [repr(module), state, classes, describe(own, seen)]


def module_key(name: str) -> list:
    return [name, code_key(name)] if name.split(".")[0] == "xai_utils" else [name]


def is_library(name: str) -> bool:
    """Whether a module is installed, the kit among it, as opposed to written by the user."""
    if name.split(".")[0] == "xai_utils":
        return True
    module = sys.modules.get(name)
    if module is None or name == "__main__":
        return False
    file = getattr(module, "__file__", None)
    return not file or any(Path(file).is_relative_to(folder) for folder in library_folders())


@cache
def library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")})


@cache
def code_key(module: str) -> str:
    """SHA-256 over the code of one of the kit's modules and of all that it uses of the kit."""
    seen, waiting = {}, [module]
    while waiting:
        name = waiting.pop()
        source = sys.modules.get(name)
        if name in seen or source is None or not getattr(source, "__file__", None):
            continue
        seen[name] = bare_code(source.__file__)
        used = (
            getattr(v, "__module__", None) or getattr(v, "__name__", "")
            for v in vars(source).values()
        )
        waiting += [u for u in used if isinstance(u, str) and u.startswith("xai_utils.")]
    return digest(b"".join(seen[name] for name in sorted(seen)))


@cache
def bare_code(file: str) -> bytes:
    """A module's code without docstrings and comments, whatever its layout: what it computes."""
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).encode()


@torch.no_grad()
def model_key(model) -> str:
    """Name, weights and behaviour: what the towers make of fixed probes, on one thread.

    Weights and structure do not show what lies behind a function, in a buffer or in an activation;
    the embeddings of a fixed picture and of fixed texts do, as do the transform's pixels.
    """
    towers = (model.image, model.text) if isinstance(model, DualEncoder) else (model,)
    told, threads = hashlib.sha256(), torch.get_num_threads()
    torch.set_num_threads(1)  # another number of threads may round in another way
    try:
        for tower in towers:
            for name, p in sorted(tower.weights.items()):
                told.update(name.encode())
                told.update(tensor_bytes(p.detach().cpu()))
            for found in behaviour(tower):
                told.update(tensor_bytes(found.cpu()))
    finally:
        torch.set_num_threads(threads)
    return f"{model.name}@{told.hexdigest()}"


def behaviour(tower: Encoder) -> list[torch.Tensor]:
    if not isinstance(tower, ImageEncoder):
        return [tower([text]) for text in PROBE_TEXTS]
    x = tower.transform(probe_picture())[None]  # (1, 3, H, W)
    h = tower(x)
    return [x, h] if tower.head is None else [x, h, tower.head(h)]


def probe_picture() -> Image.Image:
    """A fixed picture of 224 x 256 pixels, smooth and fine structures in all colours."""
    rows, columns = np.mgrid[:224, :256]
    waves = [np.sin(rows / (5 + 9 * c) + columns / (31 - 8 * c)) for c in range(3)]
    return Image.fromarray(np.uint8(127.5 + 120 * np.stack(waves, -1)))


def sample_key(sample) -> str:
    """A sample's picture, words, label and the places of its things."""
    places = [[t.caption, describe(t.mask), describe(t.boxes)] for t in sample.things]
    words = [sample.id, sample.caption, repr(sample.label), repr(sample.matched), places]
    return digest(repr([words, sample.image.mode, sample.image.size]).encode(), sample.image)


def digest(*parts) -> str:
    told = hashlib.sha256()
    for part in parts:
        told.update(part.tobytes() if isinstance(part, Image.Image) else part)
    return told.hexdigest()


def tensor_bytes(value: torch.Tensor) -> bytes:
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def name_of(value) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))}"


def keywords_of(function) -> dict:
    return function.keywords if isinstance(function, functools.partial) else {}


def inner(function):
    """The function itself, where it stands in a functools.partial."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def takes(function, name: str) -> bool:
    """Whether a call may give the keyword `name`."""
    return name in inspect.signature(function).parameters
