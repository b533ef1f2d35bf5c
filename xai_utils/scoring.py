"""Cases -> explain -> score: maps by label, then one row per case, method and metric."""

import inspect
import warnings
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from .batching import QUIET, progress, row_groups
from .cases import Cases
from .keys import inner, keywords_of, takes
from .metrics.base import LEVELS, NEEDS, SET_NEEDS, SIDES, sharing
from .stats import min_max
from .types import Attribution

COLUMNS = ["dataset", "model", "modality", "sample", "cluster", "target", "method", "metric"]
COLUMNS += ["value", "error", "forwards", "backwards", "seed"]


def explain(methods: dict[str, Callable], cases: Cases) -> dict[str, Attribution]:
    """The maps of all cases by every method: label -> Attribution.

    methods  label -> function (encoder, inputs, targets, ...) -> Attribution, or a partial of
             one; where it takes a seed and none is fixed, it gets that of the cases
    A method that fails raises: `evaluate` is what goes on with the rest.
    """
    check_methods(methods)
    check_cases(cases)
    bar = progress(methods.items(), "explain")
    return {label: attribution(label, method, cases) for label, method in bar}


def check_cases(cases) -> None:
    if not isinstance(cases, Cases):
        raise TypeError(f"cases must come from xai_utils.cases, got {type(cases).__name__}")


def attribution(label: str, method: Callable, cases: Cases) -> Attribution:
    """One method's maps of the cases, checked."""
    own = (
        dict(seed=cases.seed) if takes(method, "seed") and "seed" not in keywords_of(method) else {}
    )
    quiet = QUIET.set(True)
    try:
        a = method(cases.encoder, cases.inputs, cases.targets, **own)
    finally:
        QUIET.reset(quiet)
    if not isinstance(a, Attribution):
        raise TypeError(f"methods[{label!r}] must return an Attribution, got {type(a).__name__}")
    check_map_of(label, a.map, cases)
    return a


def check_map_of(label: str, map: Tensor, cases: Cases) -> None:
    if isinstance(cases.inputs, Tensor):
        wanted = (len(cases), *cases.inputs.shape[-2:])
        finite = torch.isfinite(map).all() if isinstance(map, Tensor) else True
    else:
        lengths = torch.tensor([len(words) for words in cases.tokens])
        wanted = (len(cases), int(lengths.max()))
        finite = True
        if isinstance(map, Tensor) and tuple(map.shape) == wanted:
            real = torch.arange(wanted[1]) < lengths[:, None]
            finite = torch.isfinite(map.cpu()[real]).all()
    if not isinstance(map, Tensor) or tuple(map.shape) != wanted:
        got = tuple(map.shape) if isinstance(map, Tensor) else type(map).__name__
        raise ValueError(f"maps[{label!r}] must have shape {wanted} for these cases, got {got}")
    if not finite:
        raise ValueError(f"maps[{label!r}] holds NaN or infinite values")


def score(maps: dict[str, Attribution | Tensor], cases: Cases, metrics) -> pd.DataFrame:
    """Judge maps: one row per case, method and metric.

    maps     label -> what `explain` gave, or a tensor of maps of your own, (n, H, W) or (n, T)
    metrics  metric functions of xai_utils.metrics, or label -> function or partial; a metric of
             sets judges all cases of a method together
    Returns the columns dataset, model, modality, sample, cluster, target, method, metric, value,
    error, forwards, backwards, seed. A value that cannot be had is NaN, with its error; where all
    values of a method failed, a warning says so.
    """
    check_cases(cases)
    labelled = label_metrics(metrics)
    if not isinstance(maps, dict) or not maps:
        raise TypeError(f"maps must be a dict of label -> Attribution or tensor, got {maps!r}")
    check_metrics(labelled, cases.modality, cases.masks is not None, cases.others is not None)
    found = {k: as_attribution(v) for k, v in maps.items()}
    for label, a in found.items():
        check_map_of(label, a.map, cases)
    alone, together = by_level(labelled)
    rows = []
    for i in range(len(cases)) if alone else ():
        one = cases.take([i])
        for label, a in found.items():
            values = judge_one(one, map_of(a, i, one), alone)
            rows += [tidy(one, 0, label, m, v, e, a.cost) for m, (v, e) in values.items()]
    with sharing():
        for label, a in found.items():
            for metric, function in together.items():
                rows += set_rows(cases, label, a, metric, function)
    table = pd.DataFrame(rows, columns=COLUMNS)
    warn_of_failures(table)
    return table


def tabulate(values: dict[str, dict[str, Tensor]], cases: Cases) -> pd.DataFrame:
    """Values that were computed otherwise, as rows like those of `score`.

    values  method -> metric -> (n,), one value a case
    """
    cost, rows = dict(forwards=0, backwards=0), []
    for label, found in values.items():
        for metric, column in found.items():
            if len(column) != len(cases):
                raise ValueError(
                    f"values[{label!r}][{metric!r}] must hold {len(cases)} values, one a case, got"
                    f" {len(column)}"
                )
            rows += [
                tidy(cases, i, label, metric, float(v), "", cost) for i, v in enumerate(column)
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_attribution(value) -> Attribution:
    if isinstance(value, Attribution):
        return value
    return Attribution(map=value, unit="", signed=True, cost=dict(forwards=0, backwards=0))


def map_of(a: Attribution, i: int, one: Cases) -> Tensor:
    """The map of case i alone, (1, H, W), or (1, T) cut to the case's own length."""
    map = a.map[i : i + 1]
    return map if isinstance(one.inputs, Tensor) else map[:, : len(one.tokens[0])]


def judge_one(one: Cases, map: Tensor, metrics: dict[str, Callable]) -> dict:
    """metric -> (value, error) of one map; a metric that fails leaves the others alone."""
    found = {}
    with sharing():
        for label, metric in metrics.items():
            try:
                value = metric(one.encoder, one.inputs, one.targets, map, **offered(metric, one))
                found[label] = single(value)
            except Exception as error:
                found[label] = float("nan"), f"{type(error).__name__}: {error}"
    return found


def single(value) -> tuple[float, str]:
    if not isinstance(value, Tensor) or value.shape != (1,):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"a metric must return one value a case, shape (1,), got {got}")
    value = float(value[0])
    return value, "" if value == value else "the metric returned NaN"


def offered(metric: Callable, one: Cases) -> dict:
    """What `needs` of a metric of single maps asks for."""
    given = {}
    for need in needs_of(metric):
        value = one.embeddings if need == "whole" else getattr(one, need)
        if value is None:
            raise ValueError(f"{one.names[0]} has no {need}: its sample has no things")
        given[need] = value
    return given


def set_rows(
    cases: Cases, label: str, a: Attribution, metric: str, function: Callable
) -> list[dict]:
    """The rows of a metric that judges all cases of a method together: one a case, or one for each
    of its repeats, or a single one."""
    try:
        values = function(**offered_together(function, cases, a))
        values = torch.as_tensor(values[:1] if isinstance(values, tuple) else values).float()
        lost = torch.isnan(values)
        found = [(v, "the metric returned NaN" * bool(m)) for v, m in zip(values.tolist(), lost)]
    except Exception as error:
        found = [(float("nan"), f"{type(error).__name__}: {error}")]
    if len(found) == len(cases):
        return [tidy(cases, i, label, metric, v, e, a.cost) for i, (v, e) in enumerate(found)]
    names = ["all"] if len(found) == 1 else [f"repeat {i}" for i in range(len(found))]
    return [
        tidy(cases, None, label, metric, v, e, a.cost, name=name)
        for name, (v, e) in zip(names, found)
    ]


def offered_together(metric: Callable, cases: Cases, a: Attribution) -> dict:
    """The arguments of a metric of sets, by name."""
    asked = needs_of(metric)
    given = {k: getattr(cases, k) for k in ("model", "masks", "others", "places") if k in asked}
    if takes(metric, "encoder"):
        given |= dict(encoder=cases.encoder, inputs=cases.inputs, targets=cases.targets, map=a.map)
    if "whole" in asked:
        given["whole"] = cases.embeddings
    if "images" in asked:
        given |= dict(images=cases.images, texts=words_of(cases))
    if "image_map" in asked:
        given[f"{cases.modality}_map"] = a.map
    if "embeddings" in asked:
        given |= caption_gallery(cases, a.map)
    if "losses" in asked:
        losses = final_loss(a, len(cases))
        if losses.isnan().any():
            raise ValueError("this method has no loss that could tell matched from mismatched")
        given |= dict(losses=losses, matched=cases.matched)
    return given


def final_loss(a: Attribution, n: int) -> Tensor:
    """The loss of each case after the last step, (n,), its mean over masks where there are several;
    NaN for methods without one."""
    loss = a.trace.get("loss")
    return torch.full((n,), float("nan")) if loss is None else loss[-1].reshape(n, -1).mean(1)


def words_of(cases: Cases) -> list[str]:
    """The text of every case: its input, or what its target is called."""
    return cases.texts if isinstance(cases.inputs, Tensor) else cases.inputs


@torch.no_grad()
def caption_gallery(cases: Cases, map: Tensor) -> dict:
    """What `caption_ranks` needs: what the maps keep, all different texts, which is whose."""
    kept = cases.inputs * min_max(map)[:, None]
    parts = row_groups(cases.encoder, len(cases), 1, 64)
    gallery = list(dict.fromkeys(cases.texts))
    return dict(
        embeddings=torch.cat([cases.encoder(kept[rows]) for rows in parts]),
        captions=torch.cat([cases.model.encode_text([text]) for text in gallery]),
        right=[[gallery.index(text)] for text in cases.texts],
    )


def tidy(cases: Cases, i: int | None, label, metric, value, error, cost, name: str = "") -> dict:
    """One row; i None: of the whole set."""
    return dict(
        dataset=cases.dataset,
        model=cases.model.name,
        modality=cases.modality,
        sample=name if i is None else cases.names[i],
        cluster=name if i is None else cases.clusters[i],
        target="" if i is None else cases.texts[i],
        method=label,
        metric=metric,
        value=value,
        error=error,
        forwards=cost.get("forwards", 0),
        backwards=cost.get("backwards", 0),
        seed=cases.seed,
    )


def warn_of_failures(table: pd.DataFrame) -> None:
    """One warning for each method of which not one value could be had."""
    for label, rows in table.groupby("method", sort=False):
        if (rows.error != "").all():
            warnings.warn(
                f"all {len(rows)} values of {label!r} failed, the first with {rows.error.iloc[0]}",
                stacklevel=3,
            )


def label_metrics(metrics) -> dict[str, Callable]:
    """label -> metric; a list is labelled by slugs."""
    if isinstance(metrics, dict):
        labelled = metrics
    else:
        metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
        for f in metrics:
            if not hasattr(inner(f), "slug"):
                raise TypeError(f"metrics must be metric functions or label -> function, got {f!r}")
        labelled = {inner(f).slug: f for f in metrics}
        if len(labelled) < len(metrics):
            raise ValueError("two metrics have one slug: give a dict of label -> metric")
    if not labelled or not all(map(callable, labelled.values())):
        raise TypeError(f"metrics must be a dict of label -> function, got {metrics!r}")
    return labelled


def check_methods(methods) -> None:
    if not isinstance(methods, dict) or not methods:
        raise TypeError(f"methods must be a dict of label -> function, got {methods!r}")
    for label, method in methods.items():
        if not isinstance(label, str) or not callable(method):
            raise TypeError(f"methods[{label!r}] must be a function, got {method!r}")
        check_keywords(f"methods[{label!r}]", method, ("encoder", "inputs", "targets"), ())


def check_metrics(metrics, modality: str, masks: bool, others: bool) -> None:
    """One clear error for metrics that cannot judge such cases, before any work."""
    for label, metric in metrics.items():
        what, function = f"metrics[{label!r}]", inner(metric)
        if modality not in getattr(function, "sides", SIDES):
            raise ValueError(
                f"{what} judges maps of {' and '.join(function.sides)}, not {modality}"
            )
        if getattr(function, "level", "map") == "map":
            if not {"encoder", "inputs", "targets", "map"} <= set(signature(what, function)):
                raise ValueError(f"{what} does not judge single maps: call it on its own")
            check_keywords(what, metric, ("encoder", "inputs", "targets", "map"), needs_of(metric))
        else:
            check_keywords(what, metric, (), None)
        if "others" in needs_of(metric) and not others:
            raise ValueError(f'{what} needs others, the sample\'s other things: target="things"')
        places = {"masks", "places"} & set(needs_of(metric))
        if places and not masks:
            raise ValueError(f"{what} needs {min(places)}: samples with things")


def signature(what: str, function: Callable):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} has no signature that could be read: {error}") from error


def check_keywords(what: str, function: Callable, positional, given) -> None:
    """A misspelt or missing keyword is an error here, not a failure of every case.

    given  keywords that will be filled in; None: only misspelt ones are looked for
    """
    known = signature(what, inner(function))
    named = keywords_of(function)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    if not open_ended and (unknown := [k for k in named if k not in known]):
        raise TypeError(f"{what} has no argument {', '.join(unknown)}; it takes {', '.join(known)}")
    if given is None:
        return
    try:
        inspect.signature(function).bind(*positional, **dict.fromkeys(given))
    except TypeError as error:
        raise TypeError(f"{what} cannot be called: {error}") from error


def needs_of(metric: Callable) -> tuple[str, ...]:
    """What a metric asks for: as declared, else those of its keywords that `score` can fill in."""
    function, fixed = inner(metric), keywords_of(metric)
    known = SET_NEEDS if getattr(function, "level", LEVELS[0]) == "set" else NEEDS
    asked = getattr(function, "needs", None)
    if asked is None:
        asked = tuple(k for k in known if takes(function, k))
    return tuple(k for k in asked if k not in fixed)


def by_level(metrics) -> tuple[dict, dict]:
    """(metrics of single maps, metrics of sets)."""
    sets = {k: f for k, f in metrics.items() if getattr(inner(f), "level", "map") == "set"}
    return {k: f for k, f in metrics.items() if k not in sets}, sets
