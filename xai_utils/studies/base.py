"""Studies: what is compared, and on what, declared once. Their rows are the evidence that
notebooks, claims and documents read.

A study has parts, and a part is one of two kinds. `Judged` judges methods on a data set: one call
of `evaluate`. `Measured` measures something else of each of n units, such as pairs of pictures.
Both can compute any of their units again, alone, which is how evidence is checked.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from ..cases import Names, things_of
from ..evaluate import evaluate
from ..keys import describe, inner, keywords_of
from ..scoring import by_level, label_metrics
from ..shards import read_shards, sweep, write_shard

PROFILES = ("embedded", "captioned", "paper")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Methods on a data set, judged by metrics.

    name      of the part, and what its rows have as their `dataset`
    model     a name for `load_model`
    samples   gives the samples, whose ids are all different
    methods, metrics, modality, target, seed  as in `evaluate`
    """

    name: str
    model: str
    samples: Callable[[], Sequence]
    methods: dict[str, Callable]
    metrics: dict[str, Callable] | Sequence[Callable]
    modality: str = "image"
    target: str = "caption"
    seed: int = 0

    @cached_property
    def dataset(self) -> Sequence:
        return self.samples()

    def declared(self) -> dict:
        """The part in words."""
        told = dict(model=self.model, samples=in_words(self.samples), seed=self.seed)
        told |= dict(modality=self.modality, target=self.target)
        told["methods"] = {k: in_words(f) for k, f in self.methods.items()}
        told["metrics"] = {k: in_words(f) for k, f in label_metrics(self.metrics).items()}
        return told

    def described(self) -> list:
        """What the rows depend on beside the data and the weights."""
        return [describe(f) for f in (self.methods, label_metrics(self.metrics), self.samples)]

    def compute(self, folder: Path, client=None) -> pd.DataFrame:
        """All rows, with the column unit, the place of the sample; those in `folder` are taken from
        there."""
        rows = self.judged(self.methods, self.dataset, folder, client)
        place = {}
        for i, sample in enumerate(self.dataset):
            names = Names()
            names = [names.of(sample, thing) for thing in things_of(sample, self.target)]
            if twice := place.keys() & set(names):
                raise ValueError(f"{self.name}: two samples are called {min(twice)}")
            place |= dict.fromkeys(names, i)
        return rows.assign(unit=rows["sample"].map(place).fillna(-1).astype(int))

    def checkable(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The part's rows that `again` computes: those of metrics of single maps."""
        alone, _ = by_level(label_metrics(self.metrics))
        return rows[rows.metric.isin(alone)]

    def again(self, row: pd.Series) -> pd.DataFrame:
        """The rows of one sample by one method, computed again; `row` is any of them."""
        one = {row.method: self.methods[row.method]}
        with tempfile.TemporaryDirectory() as folder:
            rows = self.judged(one, self.dataset[row.unit : row.unit + 1], Path(folder), None)
        return self.checkable(rows).assign(unit=row.unit)

    def amplifies(self, row: pd.Series) -> bool:
        """Whether the row's method makes more of a difference in rounding."""
        return "ibisa" in in_words(self.methods[row.method])

    def judged(self, methods: dict, samples: Sequence, folder: Path, client) -> pd.DataFrame:
        options = dict(modality=self.modality, target=self.target, seed=self.seed)
        rows = evaluate(
            methods, self.model, samples, self.metrics, out=folder, client=client, **options
        )
        return rows.assign(dataset=self.name)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rows of n units, made by a function.

    name     of the part
    n        how many units
    measure  (unit) -> list of rows, dicts of numbers, words and truth values; a function of the
             package or a partial of one. What is random follows from the unit
    loose    columns that differ from run to run, such as seconds: they are not compared
    """

    name: str
    n: int
    measure: Callable[[int], list[dict]]
    loose: tuple[str, ...] = ()

    def declared(self) -> dict:
        return dict(units=self.n, measure=in_words(self.measure))

    def described(self) -> list:
        return [describe(self.measure)]

    def compute(self, folder: Path, client=None) -> pd.DataFrame:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        done, key = read_shards(folder), repr(self.described())
        missing = [i for i in range(self.n) if f"{i} {key}" not in done]
        for i, rows in mapped(client, self.measure, missing):
            shard = [dict(key=f"{i} {key}", error="", unit=i, rows=to_json(rows))]
            write_shard(folder, shard)
            done |= {row["key"]: row for row in shard}
        frames = [from_json(done[f"{i} {key}"]["rows"]).assign(unit=i) for i in range(self.n)]
        return pd.concat(frames, ignore_index=True)

    def checkable(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows

    def again(self, row: pd.Series) -> pd.DataFrame:
        rows = from_json(to_json(self.measure(int(row.unit))))
        return rows.drop(columns=list(self.loose)).assign(unit=row.unit)

    def amplifies(self, row: pd.Series) -> bool:
        """Whether a measure makes more of a difference in rounding cannot be seen from here."""
        return True


Part = Judged | Measured


@dataclass(frozen=True, kw_only=True)
class Study:
    """name   also its file's
    asks   what it is to answer, one sentence
    parts  (profile) -> the parts; () for a profile that it has none for
    """

    name: str
    asks: str
    parts: Callable[[str], Sequence[Part]]


def mapped(client, function: Callable, units: list):
    """(unit, function(unit)) of all units, as they come; on the workers of a dask client where
    there is one."""
    if client is None:
        yield from ((unit, function(unit)) for unit in units)
        return
    from distributed import as_completed

    flight = {client.submit(function, unit, pure=False): unit for unit in units}
    for future in as_completed(list(flight)):
        yield flight.pop(future), future.result()


def to_json(rows: list[dict]) -> str:
    """Numbers as they are, infinite ones and NaN too; what is a tensor's or an array's, as Python
    has it."""
    return json.dumps(rows, default=lambda value: value.item())


def from_json(text: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads(text))


def in_words(function: Callable) -> str:
    """A function and the keywords that are fixed, such as p_ibisa(masks=20, beta=2.0)."""
    named = ", ".join(f"{k}={worded(v)}" for k, v in keywords_of(function).items())
    places = ", ".join(map(worded, function.args)) if isinstance(function, partial) else ""
    return f"{inner(function).__name__}({', '.join(filter(None, (places, named)))})"


def worded(value) -> str:
    return in_words(value) if callable(value) else repr(value)
