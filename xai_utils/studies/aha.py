"""What AHA's tables and claims rest on.

Of AHA there is a review page without a table: what a text is silent about is read as docs/papers.md
says. Curves take 10 steps, and the main table averages black, mean and blurred references, as the
page's Figure 6 does; refinement and training are judged with the blurred one alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from .. import metrics
from ..cases import Cases, cases
from ..corruption import reference_image
from ..methods import (
    aha,
    attention_rollout,
    chefer,
    grad_cam,
    integrated_gradients,
    legrad,
    load_explainer,
    random_map,
    rise,
)
from ..methods.aha import ranking_loss, refined_maps, to_pixels
from ..methods.explainers import Explainer, standard
from ..methods.soft_sort import levels, soft_topk
from ..models.embedded import checksums
from ..scoring import score
from ..stats import ranked
from ..types import Attribution
from . import sets, shortcut
from .base import Judged, Measured, Part, Study

VIT, CNN = "vit-photos", "efficientnet-lite0"
STEPS = (0, 1, 3, 5)  # T
TAUS = (1.0, 0.1, 0.03)
CLASS = "sunglasses"  # of the shortcut, as in the paper
SETTINGS = {  # masks: of RISE; curve: its steps; s: values of k in a step of refinement
    "embedded": dict(data="scenes", n=100, masks=500, curve=10, s=2),
    "captioned": dict(data="flickr8k", n=100, masks=500, curve=10, s=2),
    "paper": dict(data="imagenet", n=100, masks=6000, curve=56, s=4),
}
SHORTCUTS = {  # sizes: pictures with the disc, without it, held out
    "embedded": dict(data="scenes", sizes=(32, 64, 100), steps=40),
    "captioned": dict(data="flickr8k", sizes=(64, 128, 100), steps=80),
    "paper": dict(data="imagenet", sizes=(200, 800, 100), steps=200),
}


@dataclass(frozen=True)
class Trained:
    """One of the kit's explainers, loaded where it is needed."""

    name: str

    @property
    def key(self) -> str:
        """What rows depend on."""
        return f"{self.name} {checksums().get(f'aha-{self.name}.safetensors'.replace('/', '-'))}"


loaded = cache(partial(load_explainer, device="cpu"))


def drawn(encoder, inputs, targets, *, explainer: Trained, **options) -> Attribution:
    """`aha` with an explainer by its name."""
    return aha(encoder, inputs, targets, explainer=loaded(explainer.name), **options)


def untrained(encoder, inputs, targets) -> Attribution:
    """`aha` before any training, when the evidence of single cells alone makes the map."""
    return aha(encoder, inputs, targets, explainer=new_explainer(encoder))


def new_explainer(encoder) -> Explainer:
    with torch.random.fork_rng(devices=[]):
        return Explainer(encoder).eval()


def curves(steps: int, reference: str = "all") -> dict:
    options = dict(reference=reference, steps=steps)
    return {
        "deletion-auc": partial(metrics.deletion_auc, **options),
        "insertion-auc": partial(metrics.insertion_auc, **options),
    }


def places(data: str) -> dict:
    """What scenes are judged by beside the curves: their masks."""
    known = metrics.iou, metrics.energy_in_mask, metrics.boundary_f
    return {metric.slug: metric for metric in known} if data == "scenes" else {}


def pictures(profile: str) -> Callable:
    """Of which both models are sure."""
    of = SETTINGS[profile]
    return partial(sets.sure, of["data"], (VIT, CNN), of["n"])


def scores(profile: str) -> list[Judged]:
    """Figure 6: two models, and for the ViT two kinds of class."""
    of, samples = SETTINGS[profile], pictures(profile)
    cheap = {"grad-cam": grad_cam, "random": random_map}
    dear = {"rise": partial(rise, masks=of["masks"]), "integrated-gradients": integrated_gradients}
    attention = {"chefer": chefer, "legrad": legrad, "attention-rollout": attention_rollout}
    own = {name: {"aha": partial(drawn, explainer=Trained(name))} for name in (VIT, CNN)}
    by_curves = curves(of["curve"])
    predicted = Judged(
        name="predicted",
        model=VIT,
        samples=samples,
        target="predicted",
        methods=own[VIT] | cheap | attention | dear,
        metrics=by_curves | places(of["data"]),
    )
    of_the_cnn = Judged(
        name="predicted, CNN",
        model=CNN,
        samples=samples,
        target="predicted",
        methods=own[CNN] | cheap | dear,
        metrics=by_curves,
    )
    labelled = Judged(
        name="labelled",
        model=VIT,
        samples=samples,
        target="label",
        methods=own[VIT] | {"grad-cam": grad_cam, "chefer": chefer, "legrad": legrad},
        metrics=by_curves,
    )
    has_labels = of["data"] != "flickr8k"
    return [predicted, of_the_cnn, *([labelled] if has_labels else [])]


def case(data: str, model: str, n: int, unit: int) -> Cases:
    """One picture of `sets.sure` with the class that the model predicts."""
    sample = sets.sure(data, (VIT, CNN), n)[unit]
    return cases(sets.classifier(model), [sample], target="predicted")


def refined(unit: int, *, explainer: Trained, data: str, n: int, curve: int, s: int) -> list[dict]:
    """Rows of `score` of a picture's maps after T steps, T of STEPS, all of one run."""
    c = case(data, VIT, n, unit)
    a = drawn(c.encoder, c.inputs, c.targets, explainer=explainer, refine=max(STEPS), s=s)
    rows = score(at_steps(a), c, curves(curve, "blur") | places(data))
    return rows.assign(dataset=data).to_dict("records")


def at_steps(a: Attribution) -> dict[str, Tensor]:
    """The maps before refinement and after T steps of it, T of STEPS."""
    after = refined_maps(a, tuple(a.map.shape[-2:]))
    return {f"T={t}": after[t] for t in STEPS}


def refinement(profile: str) -> list[Part]:
    """Figures 3 and 4: steps T of refinement, and S of the training at an equal budget."""
    of = SETTINGS[profile]
    common = {k: of[k] for k in ("data", "n", "curve", "s")}
    variants = {f"S={s}": Trained(f"{VIT}/s{s}") for s in (1, 2, 4, 8)}
    variants["S=2, Gumbel noise"] = Trained(f"{VIT}/noise")
    return [
        Measured(name="T", n=of["n"], measure=partial(refined, explainer=Trained(VIT), **common)),
        Judged(
            name="S",
            model=VIT,
            samples=pictures(profile),
            target="predicted",
            methods={k: partial(drawn, explainer=e) for k, e in variants.items()},
            metrics=curves(of["curve"], "blur"),
        ),
    ]


def soft_and_hard(unit: int, *, explainer: Trained, data: str, n: int, curve: int) -> list[dict]:
    """The training's soft score, deletion less insertion, of three maps of a picture at each of
    TAUS, beside their hard deletion and insertion; all with the blurred reference."""
    c = case(data, VIT, n, unit)
    call = c.encoder, c.inputs, c.targets
    blurred = reference_image(c.encoder, c.inputs, "blur")
    with torch.no_grad():
        cells = loaded(explainer.name)(c.inputs, c.targets)
        fresh = new_explainer(c.encoder)(c.inputs, c.targets)
    noise = torch.randn(cells.shape, generator=torch.Generator().manual_seed(unit))
    g, rows = round(cells.shape[1] ** 0.5), []
    for method, a in {"trained": cells, "untrained": fresh, "random": standard(noise)}.items():
        map = to_pixels(a, c.encoder.image_size)
        hard = {k: f(*call, map).item() for k, f in curves(curve, "blur").items()}
        for tau in TAUS:
            m = soft_topk(a, levels(g * g, 4), tau=tau).unflatten(2, (g, g))
            soft = ranking_loss(*call, m, blurred, 64)[0].item()
            rows.append(dict(sample=c.names[0], method=method, tau=tau, soft=soft) | hard)
    return rows


def training(profile: str) -> list[Part]:
    """Whether the soft score is a good stand-in for the hard one, what training adds to its start,
    and whether an explainer serves another model."""
    of = SETTINGS[profile]
    common = {k: of[k] for k in ("data", "n", "curve")}
    methods = {name: partial(drawn, explainer=Trained(name)) for name in (VIT, CNN)}
    methods |= {"untrained": untrained, "grad-cam": grad_cam}
    swapped = [
        Judged(
            name=f"explainers on {model}",
            model=model,
            samples=pictures(profile),
            target="predicted",
            methods=methods,
            metrics=curves(of["curve"], "blur"),
        )
        for model in (VIT, CNN)
    ]
    measure = partial(soft_and_hard, explainer=Trained(VIT), **common)
    return [Measured(name="soft and hard", n=of["n"], measure=measure), *swapped]


def spent(unit: int, *, explainers: tuple[Trained, ...], data: str, masks: int) -> list[dict]:
    """What the maps of the first picture cost on one model: medians of five runs, of RISE one."""
    explainer = explainers[unit]
    c = case(data, explainer.name, 1, 0)
    methods = {"aha": partial(drawn, explainer=explainer), "grad-cam": grad_cam}
    methods |= {"chefer": chefer, "legrad": legrad} if c.encoder.tokens else {}
    methods["rise"] = partial(rise, masks=masks)
    rows = []
    for method, function in methods.items():
        repeats = 1 if method == "rise" else 5
        cost = metrics.cost(function, c.encoder, c.inputs, c.targets, repeats=repeats)
        numbers = {k: cost[k] for k in ("forwards", "backwards", "seconds", "ratio")}
        rows.append(dict(model=explainer.name, method=method) | numbers)
    return rows


def costs(profile: str) -> list[Measured]:
    """What a map costs. RISE is timed at 100 masks: its time is that of its passes."""
    explainers, data = (Trained(VIT), Trained(CNN)), SETTINGS[profile]["data"]
    measure = partial(spent, explainers=explainers, data=data, masks=100)
    return [Measured(name="cost", n=2, measure=measure, loose=("seconds", "ratio"))]


def shortcuts(profile: str) -> list[Measured]:
    """Figure 5: a clean model's explainer, refined on a copy that has learned a shortcut."""
    of = SHORTCUTS[profile] | dict(model=VIT, caption=CLASS, layer=8)
    n, maps = of["sizes"][2], dict(explainer=Trained(VIT), s=SETTINGS[profile]["s"])
    return [
        Measured(name="answers", n=n, measure=partial(shortcut.answers, **of)),
        Measured(name="maps", n=n, measure=partial(on_the_disc, **maps, **of)),
    ]


def on_the_disc(unit: int, *, explainer: Trained, s: int, **of) -> list[dict]:
    """How much of each map for the shortcut's class lies on the disc, and the disc's mean rank, of
    the clean model and of the tuned one. The explainer sees the picture through the clean one."""
    _, marked, disc = shortcut.held_out(of["data"], of["sizes"], unit)
    target, rows = shortcut.class_of(of["caption"]), []
    for name, encoder in shortcut.models(**of).items():
        call = encoder, encoder.transform(marked)[None], target
        maps = at_steps(drawn(*call, explainer=explainer, refine=max(STEPS), s=s))
        rivals = {"grad-cam": grad_cam, "chefer": chefer, "legrad": legrad, "random": random_map}
        maps |= {k: f(*call).map for k, f in rivals.items()}
        for method, map in maps.items():
            share = metrics.energy_in_mask(*call, map, masks=disc[None]).item()
            rank, area = ranked(map)[0, disc].mean().item(), disc.double().mean().item()
            rows.append(dict(model=name, method=method, share=share, rank=rank, area=area))
    return rows


STUDIES = [
    Study(
        name="aha-scores",
        asks="Does a learned ranking delete and insert better than other methods?",
        parts=scores,
    ),
    Study(
        name="aha-refinement",
        asks="What do steps of refinement, and perturbation steps in training, add?",
        parts=refinement,
    ),
    Study(
        name="aha-training",
        asks="Does training on soft scores better the hard ones, on its own model and on others?",
        parts=training,
    ),
    Study(name="aha-cost", asks="What does a map cost?", parts=costs),
    Study(
        name="aha-shortcut",
        asks="Does refinement on a tuned model bring out the shortcut that it has learned?",
        parts=shortcuts,
    ),
]
