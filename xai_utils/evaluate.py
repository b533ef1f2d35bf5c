"""Methods x samples x metrics -> one tidy table, in pieces that survive whatever stops the run."""

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from .cases import (
    Names,
    check_sample,
    check_task,
    checked_dataset,
    gather,
    join,
    name_of_set,
    things_of,
)
from .checks import check_counts, check_folder, check_seed
from .keys import code_key, describe, model_key, sample_key
from .models import load_model
from .rehearsal import rehearse
from .scoring import (
    COLUMNS,
    attribution,
    by_level,
    check_methods,
    check_metrics,
    final_loss,
    judge_one,
    label_metrics,
    map_of,
    set_rows,
    warn_of_failures,
)
from .shards import read_shards, sweep, write_shard
from .stats import Estimate, choices, estimate
from .types import Attribution, DualEncoder

SHARD = 16  # maps a shard, so at most that many are lost when a run is stopped
MAP = "the map itself"  # what is kept of a case for the metrics of sets


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
    dataset   a list of Sample, a Dataset or anything else with a length whose items are Samples,
              or a name for load_dataset
    metrics   metric functions of xai_utils.metrics, or label -> function or partial. One of single
              maps gets what it `needs` of each case; one of sets judges all cases of a method
              together, and may give one value a case, one for each of its repeats, or a single one
    out       folder for the shards; of other files in it none is read, changed or removed
    modality  "image" or "text" (text: the image's embedding is the target)
    target    "caption": the sample's caption; "things": each thing's caption, one case each; and
              for images alone "self": the image's own embedding; "predicted", "label": a class
              index
    batch     cases given to a method at once; the result does not depend on it on a CPU
    client    a dask.distributed Client: the same, spread over its workers; then `model` must be a
              name
    Returns one row per method, case and metric: dataset, model, modality, sample, cluster, target,
    method, metric, value, error, forwards, backwards, seed. What fails, a sample that cannot be
    read, a method, a metric or a value that is NaN, has value NaN and its error, and is tried again
    by the next call; the rest goes on. A method of which nothing could be had ends in a warning.

    Each shard is written whole (temporary file, fsync, rename) under a name that holds its SHA-256,
    so a cut or damaged one is noticed and computed again, and runs at the same time do each other
    no harm. A row's key covers the model's weights and behaviour, the sample, the seed, torch's
    version, and the functions: their arguments, and the code of all that they use (keys.py).
    Raises TypeError for a function or argument that no key can tell from others; misspelt keywords
    and hyper-parameters that a method or metric refuses are errors before the run.
    """
    labelled = label_metrics(metrics)
    check_methods(methods)
    if client is not None and not isinstance(model, str):
        raise TypeError(
            "with client=, model must be a name for load_model, so that each worker loads its own"
        )
    loaded = worker_model(model) if isinstance(model, str) else model
    check_task(loaded, modality, target)
    check_metrics(labelled, modality, masks=True, others=target == "things")
    check_counts(batch=batch)
    check_seed(seed)
    check_folder("out", out)
    dataset = checked_dataset(dataset)
    task = dict(modality=modality, target=target, seed=int(seed), dataset=name_of_set(dataset))
    wanted = Wanted(methods, labelled, task, loaded)
    rehearse(methods, labelled, loaded, modality, target)

    folder = Path(out)
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / "maps"):
        sweep(place)
    wanted.done = read_shards(folder)
    wanted.maps = read_shards(folder / "maps") if wanted.together else {}
    done = 0.0
    work = partial(run_unit, model, task, batch, methods, wanted.alone)
    with tqdm(
        total=len(dataset) * len(methods),
        desc="evaluate",
        disable=os.environ.get("XAI_PROGRESS") == "0",
    ) as bar:
        for rows, maps, weight in run(client, work, wanted.units(dataset)):
            wanted.keep(folder, rows, maps)
            done += weight
            bar.initial = wanted.found  # the time left follows from what was computed
            bar.n = round(wanted.found + done, 1)
            bar.refresh()
        for rows in run(client, partial(run_set, model, task), wanted.sets()):
            wanted.keep(folder, rows, [])
    table = wanted.table()
    warn_of_failures(table)
    return table


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval of each dataset, method and metric; n counts values, failed the cases
    without one. Samples of one picture (`cluster`) count as one in the interval."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a DataFrame from score or evaluate, got {table!r:.100}")
    rows, by = [], ["dataset", "model", "modality", "method", "metric"]
    among = {m: possible(m, part.value) for m, part in table.groupby("metric", sort=False)}
    for key, group in table.groupby(by, sort=False):
        known = group.dropna(subset="value")
        ends = estimate_rows(known, among[key[-1]]).ends if len(known) else (np.nan,) * 3
        counts = dict(n=len(known), failed=int((group.error != "").sum()))
        rows.append(dict(zip(by, key)) | counts | dict(zip(("mean", "low", "high"), ends)))
    return pd.DataFrame(rows)


YES_NO = {"conf-incr": (0.0, 100.0), "pointing-hit": (0.0, 1.0)}  # metrics of yes and no


def possible(metric: str, values) -> tuple[float, ...]:
    """The only values that a metric can have, (0, yes), or () for any number; `values` of all rows
    of a table. All 0, they do not tell: then the name does."""
    values = np.asarray(values, float)
    found = choices(values[~np.isnan(values)])
    named = [among for name, among in YES_NO.items() if metric.startswith(name)]
    return found or (named[0] if named and not np.nansum(np.abs(values)) else ())


def estimate_rows(rows: pd.DataFrame, among=None) -> Estimate:
    """The mean value of some rows of one metric, none of them empty; samples of one picture
    (`cluster`) count as one. `among` as in `estimate`: yes/no values are known by all rows of the
    metric."""
    clusters = None
    if "cluster" in rows:
        own = rows.cluster.fillna(rows["sample"]) if "sample" in rows else rows.cluster
        clusters = own.astype(str) + "/" + (rows.dataset if "dataset" in rows else "")
    return estimate(rows.value, clusters=clusters, among=among)


class Wanted:
    """What the table will hold, in its order, and which of it is there already."""

    def __init__(self, methods, metrics, task, model):
        self.methods, self.task = methods, task
        self.alone, self.together = by_level(metrics)
        self.name = model.name
        device = (model.image if isinstance(model, DualEncoder) else model).device.type
        self.home = [
            *(f"{k}={v}" for k, v in task.items()),
            f"python={sys.version_info[:2]} torch={torch.__version__} device={device}",
            model_key(model),
            code_key("xai_utils.scoring"),  # and so of cases and encoders
        ]
        self.method_keys = {k: key_of(describe(f)) for k, f in methods.items()}
        self.metric_keys = {k: key_of(describe(f)) for k, f in metrics.items()}
        self.order: list[tuple[str, dict]] = []  # (key, what stands in the row whatever its value)
        self.cases: list[tuple] = []  # (sample, thing, name, key) of all that could be read
        self.found = 0.0  # samples times methods that needed no computing
        self.of_sets: list[tuple[str, str, str]] = []  # (key, method, metric)
        self.done: dict[str, dict] = {}
        self.maps: dict[str, dict] = {}

    def units(self, dataset) -> Iterator[list]:
        """Lists of (sample, thing, {method: {metric: key}}) of what is missing, a shard's worth."""
        waiting, names, asked = [], Names(), set()
        for i in range(len(dataset)):
            try:
                sample = check_sample(dataset[i], i)
                picture = sample_key(sample)
                things = things_of(sample, self.task["target"])
            except Exception as error:
                self.broken(f"{self.task['dataset']}[{i}]", f"{type(error).__name__}: {error}")
                continue
            for thing in things:
                missing = self.note(sample, thing, names.of(sample, thing), picture, asked)
                self.found += (len(self.methods) - len(missing)) / len(things)
                if missing:
                    waiting.append((sample, thing, missing, len(missing) / len(things)))
                if sum(len(case[2]) for case in waiting) >= SHARD:
                    yield waiting
                    waiting = []
        if waiting:
            yield waiting

    def note(self, sample, thing, name, picture, asked) -> dict[str, dict[str, str]]:
        """Put a case's rows in the table's order; method -> metric -> key of what is missing."""
        case = key_of([picture, repr(thing), self.home])
        row = self.head(name, sample.source or sample.id, words_for(sample, thing))
        if self.together:
            self.cases.append((sample, thing, name, case))
        missing = {}
        for label in self.methods:
            mine = [case, self.method_keys[label]]
            keys = {m: key_of([*mine, self.metric_keys[m]]) for m in self.alone}
            self.order += [(k, row | dict(method=label, metric=m)) for m, k in keys.items()]
            new = {m: k for m, k in keys.items() if self.lacks(k) and k not in asked}
            kept = self.map_key(case, label)
            if self.together and kept not in self.maps and kept not in asked:
                new[MAP] = kept
            asked |= set(new.values())
            if new:
                missing[label] = new
        return missing

    def lacks(self, key: str) -> bool:
        return key not in self.done or bool(self.done[key]["error"])

    def map_key(self, case: str, label: str) -> str:
        return key_of([case, self.method_keys[label], MAP])

    def head(self, sample: str, cluster: str, target: str) -> dict:
        return dict(
            dataset=self.task["dataset"],
            model=self.name,
            modality=self.task["modality"],
            sample=sample,
            cluster=cluster,
            target=target,
            seed=self.task["seed"],
        )

    def broken(self, name: str, error: str) -> None:
        """A sample that cannot be read: one failed row for each method and metric."""
        row = self.head(name, name, "") | dict(value=np.nan, error=error, forwards=0, backwards=0)
        self.order += [
            ("", row | dict(method=label, metric=m))
            for label in self.methods
            for m in (*self.alone, *self.together)
        ]
        self.found += len(self.methods)

    def sets(self) -> Iterator[tuple]:
        """(method, metric -> function, metric -> key, picks, maps) of what is missing of sets."""
        cases = [case for *_, case in self.cases]
        picks = [(sample, thing) for sample, thing, *_ in self.cases]
        for label in self.methods if self.together and cases else ():
            mine = [cases, self.method_keys[label]]
            keys = {m: key_of([*mine, self.metric_keys[m]]) for m in self.together}
            self.of_sets += [(k, label, m) for m, k in keys.items()]
            missing = {m: k for m, k in keys.items() if self.lacks(f"{k}/0")}
            if missing:
                maps = [self.maps[self.map_key(case, label)] for case in cases]
                yield label, {m: self.together[m] for m in missing}, missing, picks, maps

    def keep(self, folder: Path, rows: list[dict], maps: list[dict]) -> None:
        for place, found, known in ((folder / "maps", maps, self.maps), (folder, rows, self.done)):
            whole = [r for r in found if known is self.done or not r["error"]]
            if whole:
                write_shard(place, whole)
            known.update({r["key"]: r for r in found})

    def table(self) -> pd.DataFrame:
        rows = [row | self.values(key) if key else row for key, row in self.order]
        heads = {
            name: self.head(name, sample.source or sample.id, words_for(sample, thing))
            for sample, thing, name, _ in self.cases
        }
        for key, label, metric in self.of_sets:
            for i in range(self.values_of_set(key)):
                name = self.done[f"{key}/{i}"]["sample"]
                row = heads.get(name) or self.head(name, name, "")
                rows.append(row | dict(method=label, metric=metric) | self.values(f"{key}/{i}"))
        return pd.DataFrame(rows, columns=COLUMNS)

    def values_of_set(self, key: str) -> int:
        return next(i for i in itertools.count() if f"{key}/{i}" not in self.done)

    def values(self, key: str) -> dict:
        found = self.done[key]
        known = ["target"] if found["target"] else []  # that of a failed case stands in its head
        return {k: found[k] for k in (*known, "value", "error", "forwards", "backwards")}


def key_of(what) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def words_for(sample, thing: int | None) -> str:
    return sample.caption if thing is None else sample.things[thing].caption


def run(client, unit: Callable, units: Iterator) -> Iterator:
    if client is None:
        yield from map(unit, units)
        return
    from distributed import as_completed

    # Twice as many units in flight as there are threads: samples are not all in memory at once.
    width = 2 * max(1, sum(client.nthreads().values()))
    flight = as_completed([client.submit(unit, u, pure=False) for _, u in zip(range(width), units)])
    for future in flight:
        yield future.result()
        if (more := next(units, None)) is not None:
            flight.add(client.submit(unit, more, pure=False))


def run_unit(model, task: dict, batch: int, methods, metrics, unit: list) -> tuple:
    """Some cases: (rows, maps that are kept for metrics of sets, share of the work)."""
    model = worker_model(model) if isinstance(model, str) else model
    rows, maps, ready = [], [], []
    for sample, thing, missing, _ in unit:
        try:
            ready.append((gather(model, [(sample, thing)], **task), missing))
        except Exception as error:
            for keys in missing.values():
                more = failed(keys, error)
                rows, maps = rows + more[0], maps + more[1]
    for label, method in methods.items():
        own = [(one, missing[label]) for one, missing in ready if label in missing]
        for i in range(0, len(own), batch):
            more = explained(label, method, metrics, own[i : i + batch])
            rows += more[0]
            maps += more[1]
    return rows, maps, sum(weight for *_, weight in unit)


def explained(label: str, method: Callable, metrics, own: list) -> tuple[list, list]:
    """(rows, maps) of some cases of one method; where it fails on several, each is tried alone."""
    try:
        a = attribution(label, method, join([one for one, _ in own]))
    except Exception as error:
        if len(own) == 1:
            return failed(own[0][1], error)
        parts = [explained(label, method, metrics, [case]) for case in own]
        return [r for rows, _ in parts for r in rows], [m for _, maps in parts for m in maps]
    rows, maps = [], []
    for i, (one, keys) in enumerate(own):
        map = map_of(a, i, one)
        found = judge_one(one, map, {m: metrics[m] for m in keys if m != MAP})
        named = dict(sample=one.names[0], target=one.texts[0])
        rows += [row(keys[m], v, error, a.cost, **named) for m, (v, error) in found.items()]
        if MAP in keys:
            maps.append(kept_map(keys[MAP], map, final_loss(a, len(own))[i], a.cost))
    return rows, maps


def failed(keys: dict[str, str], error: Exception) -> tuple[list, list]:
    """(rows, maps) of a case without a map."""
    text, none = f"{type(error).__name__}: {error}", dict(forwards=0, backwards=0)
    rows = [row(key, np.nan, text, none) for metric, key in keys.items() if metric != MAP]
    return rows, [dict(key=keys[MAP], error=text)] if MAP in keys else []


def row(key: str, value: float, error: str, cost: dict, sample: str = "", target: str = "") -> dict:
    passes = {k: cost.get(k, 0) for k in ("forwards", "backwards")}
    return dict(key=key, sample=sample, target=target, value=value, error=error, **passes)


def kept_map(key: str, map: torch.Tensor, loss: float, cost: dict[str, int]) -> dict:
    data = map.float().numpy().tobytes()
    passes = {k: cost.get(k, 0) for k in ("forwards", "backwards")}
    return dict(key=key, error="", map=data, shape=list(map.shape[1:]), loss=float(loss), **passes)


def run_set(model, task: dict, unit: tuple) -> list[dict]:
    """The rows of one method's metrics of sets."""
    label, metrics, keys, picks, maps = unit
    cost = next((m for m in maps if not m["error"]), dict(forwards=0, backwards=0))
    if lost := [m["error"] for m in maps if m["error"]]:
        error = f"{len(lost)} of {len(maps)} maps are missing, the first with {lost[0]}"
        return [row(f"{keys[m]}/0", np.nan, error, cost, "all") for m in metrics]
    model = worker_model(model) if isinstance(model, str) else model
    cases = gather(model, picks, **task)
    values = [torch.frombuffer(bytearray(m["map"]), dtype=torch.float32) for m in maps]
    shaped = [v.view(*m["shape"]) for v, m in zip(values, maps)]
    map = pad_sequence(shaped, batch_first=True, padding_value=float("nan"))
    loss = torch.tensor([m["loss"] for m in maps])
    trace = {} if loss.isnan().any() else {"loss": loss[None]}
    a = Attribution(map=map, unit="", signed=True, trace=trace, cost=cost)
    rows = []
    for metric, function in metrics.items():
        for i, r in enumerate(set_rows(cases, label, a, metric, function)):
            named = dict(sample=r["sample"], target=r["target"])
            rows.append(row(f"{keys[metric]}/{i}", r["value"], r["error"], cost, **named))
    return rows


@cache
def worker_model(name: str):
    return load_model(name)
