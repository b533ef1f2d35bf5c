"""Methods x samples x metrics -> one tidy table, in pieces that survive whatever stops the run."""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .batching import QUIET
from .checks import check_number
from .models import load_model
from .shards import describe, model_key, picture_key, read_shards, sweep, write_shard
from .stats import mean_interval
from .types import DualEncoder, ImageEncoder

TARGETS = ("caption", "things", "self", "predicted", "label")
SHARD = 16  # cases a shard, so at most that many maps are lost when a run is stopped


def evaluate(
    methods: dict[str, Callable],
    model,
    dataset,
    metrics,
    *,
    out,
    modality: str = "image",
    target: str = "caption",
    seed: int = 0,
    batch: int = 1,
    client=None,
) -> pd.DataFrame:
    """Judge methods on a data set. Rows that lie in `out` already are not computed again.

    methods   label -> function (encoder, inputs, targets, ...) -> Attribution, or a
              functools.partial of one
    model     a name for load_model, or a model
    dataset   a sequence of Sample
    metrics   metric functions of xai_utils.metrics, or label -> function or partial; those with
              `masks` or `others` among their arguments get the exact masks or boxes of the named
              thing and of the others
    out       folder for the shards
    modality  "image" or "text" (text: the image's embedding is the target)
    target    "caption": the sample's caption; "things": each object's caption, one case each; and
              for images alone "self": the image's own embedding; "predicted", "label": a class
              index
    batch     cases given to a method at once; the result does not depend on it on a CPU
    client    a dask.distributed Client: the same, spread over its workers; then `model` must be a
              name
    Returns one row per method, case and metric: dataset, model, modality, sample, target, method,
    metric, value, error, forwards, backwards, seed. A case that fails has value NaN and its error;
    it is tried again by the next call.

    Each shard is written whole (temporary file, fsync, rename) under a name that holds its SHA-256,
    so a cut or damaged one is noticed and computed again, and runs at the same time do each other
    no harm. A row's key covers the model's weights, the function and its arguments, the sample,
    seed, torch's version and all source files that the functions use.
    """
    labelled = metrics if isinstance(metrics, dict) else {f.slug: f for f in metrics}
    task = dict(modality=modality, target=target, seed=seed)
    loaded = worker_model(model) if isinstance(model, str) else model
    check_arguments(methods, model, loaded, dataset, labelled, task, batch, client)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    device = (loaded.image if isinstance(loaded, DualEncoder) else loaded).device.type
    name = getattr(dataset, "name", type(dataset).__name__)
    home = dict(task, dataset=name, model=model_key(loaded), device=device, torch=torch.__version__)
    wanted = Wanted(methods, labelled, home, read_shards(folder))
    results = run(client, partial(run_unit, model, task, batch), wanted.units(dataset, target))
    with tqdm(
        total=len(dataset) * len(methods),
        desc="evaluate",
        disable=os.environ.get("XAI_PROGRESS") == "0",
    ) as bar:
        for rows in results:
            write_shard(folder, rows)
            wanted.done.update({row["key"]: row for row in rows})
            bar.initial = (
                wanted.skipped
            )  # the time left follows from what was computed, not from what was found
            bar.n = round(wanted.skipped + wanted.finished(rows), 1)
            bar.refresh()
    return wanted.table()


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % bootstrap interval of each dataset, method and metric; n counts values, failed
    the cases without one."""
    rows = []
    for key, group in table.groupby(
        ["dataset", "model", "modality", "method", "metric"], sort=False
    ):
        values = group.value.dropna()
        mean, low, high = mean_interval(values) if len(values) else (np.nan,) * 3
        row = dict(zip(["dataset", "model", "modality", "method", "metric"], key))
        rows.append(
            row
            | dict(
                n=len(values), failed=int((group.error != "").sum()), mean=mean, low=low, high=high
            )
        )
    return pd.DataFrame(rows)


class Wanted:
    """What the table will hold, in its order, and which of it is there already."""

    def __init__(self, methods, metrics, home, done: dict[str, dict]):
        self.methods, self.metrics, self.home, self.done = methods, metrics, home, done
        self.method_keys = {label: describe(f) for label, f in methods.items()}
        self.metric_keys = {label: describe(f) for label, f in metrics.items()}
        self.order: dict[str, dict] = {}
        self.weight: dict[
            str, float
        ] = {}  # of each row in the progress: one sample and method in all
        self.skipped = self.computed = 0.0

    def units(self, dataset, target: str) -> Iterator[list]:
        """Lists of (method, metrics, key of each row, sample, thing): what is missing, a shard's
        worth of one method at a time."""
        waiting: dict[str, list] = {label: [] for label in self.methods}
        for i in range(len(dataset)):
            sample = dataset[i]
            picture = picture_key(sample)
            things = range(len(sample.things)) if target == "things" else (None,)
            for thing in things:
                for label, method in self.methods.items():
                    missing = self.note(label, sample, picture, thing)
                    if not missing:
                        self.skipped += 1 / len(things)
                        continue
                    self.weight.update(
                        {key: 1 / len(things) / len(missing) for key in missing.values()}
                    )
                    waiting[label].append(
                        (method, {m: self.metrics[m] for m in missing}, missing, sample, thing)
                    )
                    if len(waiting[label]) == SHARD:
                        yield waiting[label]
                        waiting[label] = []
        yield from (cases for cases in waiting.values() if cases)

    def note(self, label: str, sample, picture: str, thing: int | None) -> dict[str, str]:
        """Put the rows of a case in the table's order; metric -> key of those that are not there or
        failed."""
        missing = {}
        text = sample.caption if thing is None else sample.things[thing].caption
        for metric in self.metrics:
            what = dict(
                self.home,
                sample=sample.id,
                picture=picture,
                thing=thing,
                text=text,
                method=self.method_keys[label],
                metric=self.metric_keys[metric],
            )
            key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
            self.order[key] = {k: self.home[k] for k in ("dataset", "model", "modality")} | dict(
                sample=sample.id if thing is None else f"{sample.id}/{thing}",
                target=text,
                method=label,
                metric=metric,
            )
            if key not in self.done or self.done[key]["error"]:
                missing[metric] = key
        return missing

    def finished(self, rows: list[dict]) -> float:
        self.computed += sum(self.weight.pop(row["key"]) for row in rows)
        return self.computed

    def table(self) -> pd.DataFrame:
        columns = ("value", "error", "forwards", "backwards")
        rows = [row | {c: self.done[key][c] for c in columns} for key, row in self.order.items()]
        table = pd.DataFrame(rows)
        table["seed"] = self.home["seed"]
        table["model"] = self.home["model"].split("@")[0]
        return table


def run(client, unit: Callable, units: Iterator) -> Iterator[list[dict]]:
    if client is None:
        yield from map(unit, units)
        return
    from distributed import as_completed

    width = 2 * max(
        1, sum(client.nthreads().values())
    )  # units in flight: samples are not all in memory at once
    flight = as_completed([client.submit(unit, u, pure=False) for _, u in zip(range(width), units)])
    for future in flight:
        yield future.result()
        if (more := next(units, None)) is not None:
            flight.add(client.submit(unit, more, pure=False))


def run_unit(model, task: dict, batch: int, cases: list) -> list[dict]:
    """Maps and metric values of some cases of one method."""
    model = worker_model(model) if isinstance(model, str) else model
    rows = []
    for i in range(0, len(cases), batch):
        some = cases[i : i + batch]
        quiet = QUIET.set(True)
        try:
            rows += judge(model, task, some)
        except Exception as error:
            if len(some) > 1:
                rows += run_unit(model, task, 1, some)
            else:
                none = dict(forwards=0, backwards=0)
                rows += [
                    row(key, np.nan, f"{type(error).__name__}: {error}", none)
                    for key in some[0][2].values()
                ]
        finally:
            QUIET.reset(quiet)
    return rows


@cache
def worker_model(name: str):
    return load_model(name)


def judge(model, task: dict, cases: list) -> list[dict]:
    method = cases[0][0]
    encoder, inputs, targets, things = load(model, task, cases)
    options = (
        dict(seed=task["seed"])
        if accepts(method, "seed") and "seed" not in getattr(method, "keywords", {})
        else {}
    )
    a = method(encoder, inputs, targets, **options)
    rows = []
    for i, (_, metrics, keys, _, _) in enumerate(cases):
        one = slice(i, i + 1)
        length = a.map.shape[1] if a.tokens is None else len(a.tokens[i])
        for label, metric in metrics.items():
            masks = {k: v[one] for k, v in things.items() if accepts(metric, k)}
            value = metric(encoder, inputs[one], targets[one], a.map[one, :length], **masks)
            rows.append(row(keys[label], float(value[0]), "", a.cost))
    return rows


def row(key: str, value: float, error: str, cost: dict[str, int]) -> dict:
    return dict(
        key=key, value=value, error=error, forwards=cost["forwards"], backwards=cost["backwards"]
    )


def load(model, task: dict, cases: list):
    """(encoder, inputs, targets, masks) of some cases."""
    samples = [(sample, thing) for *_, sample, thing in cases]
    image = model.image if isinstance(model, DualEncoder) else model
    x = torch.stack([image.transform(s.image) for s, _ in samples])
    texts = [s.caption if k is None else s.things[k].caption for s, k in samples]
    things = {}
    if task["target"] == "things":
        all_masks = [s.masks(tuple(x.shape[-2:])) for s, _ in samples]
        things["masks"] = torch.stack([m[k] for m, (_, k) in zip(all_masks, samples)])
        rest = [torch.cat([m[:k], m[k + 1 :]]) for m, (_, k) in zip(all_masks, samples)]
        things["others"] = torch.stack([m.any(0) for m in rest])
    if task["modality"] == "text":
        return model.text, texts, torch.cat([model.encode_image(one[None]) for one in x]), {}
    with torch.no_grad():
        if task["target"] in ("caption", "things"):
            targets = torch.cat(
                [model.encode_text([text]) for text in texts]
            )  # alone: no rounding by company
        elif task["target"] == "label":
            targets = torch.tensor([s.label for s, _ in samples])
        else:
            targets = torch.cat([image(one[None]) for one in x])
            if task["target"] == "predicted":
                targets = image.head(targets).argmax(1)
    return image, x, targets, things


def accepts(function: Callable, name: str) -> bool:
    return name in inspect.signature(function).parameters


def check_arguments(methods, model, loaded, dataset, metrics, task, batch, client) -> None:
    """One clear error before any work starts."""
    for what, functions in (("methods", methods), ("metrics", metrics)):
        if not isinstance(functions, dict) or not functions:
            raise TypeError(f"{what} must be a dict of label -> function, got {functions!r}")
        for label, f in functions.items():
            inner = f.func if isinstance(f, partial) else f
            if (
                not inspect.isfunction(inner)
                or inner.__name__ == "<lambda>"
                or "<locals>" in inner.__qualname__
            ):
                raise TypeError(
                    f"{what}[{label!r}] must be a function at the top of a module, or a"
                    " functools.partial of one: its name and arguments are the key of its rows"
                )
    for label, f in metrics.items():
        if not {"encoder", "inputs", "targets", "map"} <= set(inspect.signature(f).parameters):
            raise ValueError(f"metrics[{label!r}] does not judge single maps: call it on its own")
        for need in {"masks", "others"} & set(inspect.signature(f).parameters):
            if task["target"] != "things":
                raise ValueError(f'metrics[{label!r}] needs {need}: target="things"')
    if task["modality"] not in ("image", "text"):
        raise ValueError(f'modality must be "image" or "text", got {task["modality"]!r}')
    if task["target"] not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {task['target']!r}")
    check_number("batch", batch, 1, integer=True)
    if client is not None and not isinstance(model, str):
        raise TypeError(
            "with client=, model must be a name for load_model, so that each worker loads its own"
        )
    if not isinstance(loaded, (DualEncoder, ImageEncoder)):
        raise TypeError(
            f"model must be a name, a dual encoder or an image encoder, got {type(model).__name__}"
        )
    if (task["modality"] == "text" or task["target"] in ("caption", "things")) and not isinstance(
        loaded, DualEncoder
    ):
        raise ValueError(
            f'{loaded.name} has no text tower: target must be "self", "predicted" or "label"'
        )
    if task["modality"] == "text" and task["target"] not in ("caption", "things"):
        raise ValueError(
            f'texts are judged with target="caption" or "things", got {task["target"]!r}'
        )
    image = loaded.image if isinstance(loaded, DualEncoder) else loaded
    if task["target"] in ("predicted", "label") and image.head is None:
        raise ValueError(
            f"{loaded.name} has no classifier head: target={task['target']!r} cannot be"
        )
    if not len(dataset):
        raise ValueError("dataset is empty")
