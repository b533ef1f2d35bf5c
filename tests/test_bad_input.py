"""Bad input to every public function: one clear ValueError or TypeError that names the argument,
before any pass of an encoder. Every parameter of every function has its pool of bad values."""

import inspect
from dataclasses import replace
from functools import cache
from math import inf, nan

import numpy as np
import planted
import pytest
import timm
import torch

import xai_utils as xu
from xai_utils import methods, metrics
from xai_utils.methods.explainers import Explainer
from xai_utils.types import Parts

B, SIZE, WORDS = 2, (32, 24), ["a zebra", "two ripe strawberries"]
COUNT = [0, -1, 1.5, nan, "3", True, [2]]
POSITIVE = [0, -1.0, nan, inf, "1", True, [1.0]]
NOT_NEGATIVE = [-1.0, nan, inf, "1", True, [1.0]]
FLAG = ["no", 1, 0, None, [True]]
CHOICE = ["bogus", 3, ["cosine"], True]
SEED = [-1, 1.5, nan, "0", True, 2**40, None, [1]]
LAYER = [-1, 99, 1.0, True, "1", [1]]
PERCENT = [-1, 100.5, nan, "75", True, [50]]
FUNCTION = [None, 3, "p_ibisa", torch.nn.ReLU]
ENCODER = [None, 3, "conse-lite0", torch.nn.Linear(2, 2), lambda x: x]


def some(*shape, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def with_nan(t: torch.Tensor) -> torch.Tensor:
    t = t.clone()
    t.view(-1)[0] = nan
    return t


def zero_row(t: torch.Tensor) -> torch.Tensor:
    t = t.clone()
    t[0] = 0
    return t


IMAGES = [
    None,
    "a cat",
    np.zeros((B, 3, *SIZE)),
    some(3, *SIZE),
    some(B, 4, *SIZE),
    some(0, 3, *SIZE),
    some(B, 3, 16, 16),
    (some(B, 3, *SIZE) * 255).byte(),
    with_nan(some(B, 3, *SIZE)),
    inf * torch.ones(B, 3, *SIZE),
]
TEXTS = [
    None,
    "a zebra",
    [],
    ["a", ""],
    ["a", None],
    [3, 4],
    ["a", "  \n"],
    {"a": 1, "b": 2},
    b"ab",
]
EMBEDDINGS = [
    None,
    [[1.0] * 32] * B,
    some(B, 31),
    some(B, 1),
    some(1, 32),
    some(B, 32, 1),
    torch.ones(B, 32, dtype=torch.long),
    with_nan(some(B, 32)),
    zero_row(some(B, 32)),
]
CLASSES = [
    None,
    [1, 2],
    torch.tensor([1.0, 2.0]),
    torch.tensor([0, 10]),
    torch.tensor([-1, 0]),
    torch.tensor([1]),
    torch.tensor([True, False]),
]
MAPS = [
    None,
    np.zeros((B, *SIZE)),
    some(B, 16, 16),
    some(1, *SIZE),
    some(B, 1, *SIZE),
    with_nan(some(B, *SIZE)),
    -inf * torch.ones(B, *SIZE),
]
MASKS = [
    None,
    np.ones((B, *SIZE), bool),
    some(B, *SIZE),
    torch.ones(B, 16, 16, dtype=torch.bool),
    torch.zeros(B, *SIZE, dtype=torch.bool),
]
WHOLE = EMBEDDINGS[1:]  # None: not known


class Passes(torch.nn.Module):
    """A stem that counts."""

    def __init__(self, stem):
        super().__init__()
        self.stem, self.n = stem, 0

    def forward(self, *arguments):
        self.n += 1
        return self.stem(*arguments)


def counting(encoder):
    passes = Passes(encoder.parts.stem)
    return replace(encoder, parts=replace(encoder.parts, stem=passes)), passes


@cache
def towers() -> dict:
    """An image and a text encoder into 32 dimensions, the first with 10 classes, and the counters
    of their passes."""
    image, seen = counting(xu.wrap(planted.small_vit()))
    bert = planted.small_bert(width=32)
    text, read = counting(xu.wrap(bert, tokenizer=planted.tokenizer()))
    return dict(image=image, text=text, passes=(seen, read), dual=xu.DualEncoder(image, text))


def passes() -> int:
    return sum(p.n for p in towers()["passes"])


@cache
def explainer():
    return planted.seeded(lambda: Explainer(towers()["image"], grid=4).eval())


def image_call(**more) -> dict:
    return dict(encoder=towers()["image"], inputs=some(B, 3, *SIZE), targets=some(B, 32)) | more


def class_call(**more) -> dict:
    return image_call(targets=torch.tensor([1, 2])) | more


def text_call(**more) -> dict:
    return dict(encoder=towers()["text"], inputs=WORDS, targets=some(B, 32)) | more


def judged(**more) -> dict:
    """A metric of an image map; its masks, where it has any."""
    return image_call(map=some(B, *SIZE)) | more


def masks(**more) -> dict:
    left = torch.zeros(B, *SIZE, dtype=torch.bool)
    left[:, :, :8] = True
    return judged(masks=left) | more


# --- pools of bad values, by the parameter's name; those of one function alone further below

COMMON = dict(
    encoder=ENCODER,
    inputs=IMAGES,
    targets=EMBEDDINGS,
    chunk=COUNT,
    steps=COUNT,
    copies=COUNT,
    seed=SEED,
    layer=LAYER,
    noise=FLAG,
    lr=POSITIVE,
    sigma=POSITIVE,
    beta=NOT_NEGATIVE,
    map=MAPS,
    masks=MASKS,
    others=MASKS,
    percentile=PERCENT,
    whole=WHOLE,
    method=FUNCTION,
    cells=COUNT,
    block=COUNT,
    reference=CHOICE,
    first=CHOICE,
)
FIRST_BLOCK = [4, -5, 1.5, True, "0"]
OWN = {
    "p_ibisa": dict(
        masks=COUNT,
        phi=NOT_NEGATIVE,
        alpha=POSITIVE,
        rate=[0, -8, 2.5, 32, True, "8", nan],
        align=CHOICE,
        why=CHOICE,
        weights_lr=POSITIVE,
        t_min=POSITIVE,
        k=[-1, 0, nan, "3", True, inf],
    ),
    "ibisa": dict(masks=COUNT, phi=NOT_NEGATIVE, alpha=POSITIVE, rate=[0, -8, 2.5, "8"], each=FLAG),
    "adaib": dict(
        f=["l2", 0.0, -1.0, nan, None, True, [1]],
        g=["relu", -0.1, nan, None, True],
        beta=POSITIVE,
        normalise=FLAG,
        tau=POSITIVE,
        clip=POSITIVE,
    ),
    "aha": dict(
        explainer=[None, "vit-photos", torch.nn.Linear(2, 2)],
        refine=[-1, 0.5, nan, "1", True],
        s=COUNT,
        tau=POSITIVE,
    ),
    "mfaba": dict(rate=POSITIVE),
    "grad_cam": dict(pool=FLAG),
    "iba": dict(
        smooth=NOT_NEGATIVE,
        statistics=[
            3,
            "mean",
            (torch.zeros(1),),
            (torch.zeros(1), -torch.ones(1)),
            (torch.zeros(1), with_nan(torch.ones(2))),
        ],
    ),
    "rise": dict(masks=COUNT, p=[0, 1.5, -0.1, nan, "0.5", True]),
    "sbsm": dict(window=[0, 99, 2.5, "8", True], stride=[0, 99, 2.5, "8", True]),
    "kernel_shap": dict(samples=[1, 0, 2.5, nan, "8"], cells=[1, 99, 2.5, "3"]),
    "chefer": dict(first=FIRST_BLOCK),
    "legrad": dict(first=FIRST_BLOCK),
    "nib_path": dict(counts=[[], 3, [0], [1.5], "10", [True], None]),
    "confidence_drop": dict(protocol=CHOICE, similarity=CHOICE),
    "confidence_increase": dict(protocol=CHOICE, similarity=CHOICE),
    "perturbation_curve": dict(
        insert=FLAG, hits=FLAG, until=[0, 2, -0.5, nan, "1", True], steps=COUNT
    ),
    "miou": dict(threshold=[-0.1, 1.5, nan, "0.5", True]),
    "instance_recall": dict(part=[0, 1.5, nan, "0.5", True]),
    "mask_contrast": dict(scaled=FLAG),
    "evenness": dict(above_background=FLAG),
    "boundary_f": dict(reach=COUNT),
    "map_area": dict(above=[nan, inf, "0.5", True]),
    "zero_shot_roar": dict(
        direction=CHOICE,
        distractors=[some(3), some(3, 31), with_nan(some(3, 32)), [[1.0] * 32], 3],
    ),
    "hit_without": dict(direction=CHOICE, gallery=FUNCTION),
    "completeness_gap": dict(scores=[None, some(3, 5), some(2), with_nan(some(B, 5)), [[1.0]]]),
    "occlusion_drop": dict(
        targets=CLASSES,
        regions=[
            None,
            some(B, 1, *SIZE),
            torch.ones(B, *SIZE, dtype=torch.bool),
            torch.zeros(B, 1, *SIZE, dtype=torch.bool),
            torch.ones(B, 1, 4, 4, dtype=torch.bool),
        ],
    ),
    "randomisation_test": dict(cascading=FLAG),
    "randomised_maps": dict(cascading=FLAG),
    "randomised_map": dict(names=[["bogus"], ["norm.weight", 3]]),
    "cost": dict(repeats=COUNT),
    "caption_curve": dict(
        captioner=FUNCTION,
        score=CHOICE,
        references=["a cat", 3, [], [["a cat"]], [["a cat"], []], [["a cat"], ["a dog", 3]]],
    ),
    "cap_morf": dict(captioner=FUNCTION, score=CHOICE),
    "cap_lerf": dict(captioner=FUNCTION, score=CHOICE),
    "removed": dict(map=[None, some(4, 4), some(1, 3, 4, 4), with_nan(some(1, 4, 4))]),
    "caption_ranks": dict(
        embeddings=[None, some(B), some(B, 5), with_nan(some(B, 4)), zero_row(some(B, 4)), [[1.0]]],
        captions=[None, some(3), with_nan(some(3, 4)), zero_row(some(3, 4))],
        right=[[], [[0]], [[0], []], [[0], [3]], [[0], [-1]], [[0], [0.5]], [[0], [True]]],
    ),
    "knn_hits": dict(
        k=[*COUNT, 99],
        embeddings=[None, some(6), with_nan(some(6, 4)), zero_row(some(6, 4))],
        kinds=[[], ["a"], list("abcdefgh")],
    ),
    "mismatch_auc": dict(
        losses=[[1.0], [nan, 1.0, 2.0], [inf, 1.0, 2.0]],
        matched=[[True], [True] * 3, [False] * 3],
        clusters=[["a"]],
    ),
    "rank_correlation": dict(
        a=[None, some(B, 5), some(3), [[1.0]]], b=[None, some(B, 3), with_nan(some(B, 4))]
    ),
    "ssim": dict(
        a=[None, some(B, 9, 9), with_nan(some(B, 8, 8)), [[1.0]]],
        b=[None, some(B, 9, 9), with_nan(some(B, 8, 8))],
    ),
    "retrieval_captioner": dict(model=ENCODER, bank=TEXTS),
    "wrap": dict(
        model=[None, 3, "resnet18", torch.nn.Linear, [1]],
        tokenizer=["bert", 3, planted.tokenizer],
        processor=["clip", 3],
        name=[3, ["a"]],
        image_size=[0, -1, 1.5, (32,), (32, 0), (1, 2, 3), "32", True, (32, nan)],
        transform=[3, "resize"],
        device=["gpu", 3.5, "bogus"],
        mean=[1, (0.5,), "abc", (0.5, 0.5, nan), (1, 2, 3, 4), (True, 0, 0)],
        std=[1, (0.5,), (0, 1, 1), (-1, 1, 1), (1, 1, nan), "abc"],
        parts=[3, "stem", (1, 2, 3), Parts(None, (), None)],
        tokens=[(1, (4, 4)), 3, "4"],
    ),
    "load_model": dict(
        name=[None, 3, "bogus", "timm/bogus", "open_clip/bogus", "timm/", "", "conse-lite"],
        pretrained=["random", "bogus", 3, True],
        device=["gpu", 3.5, "bogus"],
    ),
    "cases": dict(
        model=[None, 3, "bogus"],
        dataset=[None, 3, "bogus", [], [1, 2]],
        modality=CHOICE,
        target=CHOICE,
        n=COUNT,
    ),
    "explain": dict(
        methods=[None, {}, {"a": 3}, [methods.random_map], {3: methods.random_map}],
        cases=[None, 3, [1]],
    ),
    "score": dict(
        maps=[None, {}, {"a": 3}, {"a": some(1, 4, 4)}],
        cases=[None, 3, [1]],
        metrics=[None, [], [3], ["iou"], {"iou": 3}],
    ),
    "evaluate": dict(
        methods=[None, {}, {"a": 3}, [methods.random_map], {3: methods.random_map}],
        model=[None, 3, "bogus"],
        dataset=[None, 3, "bogus", [], [1, 2]],
        metrics=[None, [], [3], ["iou"], {"iou": 3}],
        out=[None, 3, ["a"]],
        modality=CHOICE,
        target=CHOICE,
        batch=COUNT,
        client=[3, "client"],
    ),
    "load_dataset": dict(
        name=[None, 3, "bogus", ["photos"]],
        split=["bogus", 3],
        n=COUNT,
        root=[3, ["a"], b"a", "no such folder"],
        options=[{"a": 1}],
    ),
    "load_explainer": dict(name=[None, 3, "bogus", ""], device=["gpu", "bogus"]),
    "box_masks": dict(
        boxes=[None, 3, [[(0, 0, 1)]], [[(5, 5, 5, 9)]], [[(0, 0, nan, 5)]], [[(90, 90, 95, 95)]]],
        size=[None, 3, (0, 8), (8,), ("a", 8)],
    ),
    "summarise": dict(table=[None, 3, "table", {"a": 1}]),
}
FUNCTIONS = {
    **{
        name: (lambda n=name: method_call(n))
        for name in methods.__all__
        if name not in ("train_explainer", "load_explainer")
    },
    "confidence_drop": judged,
    "confidence_increase": judged,
    "deletion_drop": judged,
    "perturbation_curve": judged,
    "morf": judged,
    "lerf": judged,
    "deletion_auc": judged,
    "insertion_auc": judged,
    "positive_perturbation_auc": judged,
    "negative_perturbation_auc": judged,
    "map_area": judged,
    "map_total_variation": judged,
    "map_entropy": judged,
    "iou": masks,
    "pointing_game": masks,
    "mask_mean": masks,
    "mask_recall": masks,
    "instance_recall": masks,
    "localization_iou": masks,
    "miou": masks,
    "energy_in_mask": masks,
    "boundary_f": masks,
    "mask_contrast": lambda: masks(others=right_half()),
    "evenness": lambda: masks(others=right_half()),
    "weaker_thing": lambda: masks(others=right_half()),
    "zero_shot_roar": judged,
    "hit_without": lambda: judged(gallery=lambda: (some(3, 32), some(3, 32))),
    "completeness_gap": lambda: image_call(scores=some(B, 14), layer=1),
    "occlusion_drop": lambda: class_call(regions=masks()["masks"][:, None]),
    "randomisation_test": lambda: image_call(method=methods.saliency),
    "randomised_maps": lambda: image_call(method=methods.saliency),
    "randomised_map": lambda: image_call(method=methods.saliency, names=["norm.weight"]),
    "cost": lambda: image_call(method=methods.saliency),
    "caption_curve": lambda: judged(captioner=told),
    "cap_morf": lambda: judged(captioner=told),
    "cap_lerf": lambda: judged(captioner=told),
    "removed": lambda: dict(map=some(1, 16, 16)),
    "caption_ranks": lambda: dict(embeddings=some(B, 4), captions=some(3, 4), right=[[0], [1, 2]]),
    "knn_hits": lambda: dict(embeddings=some(6, 4), kinds=list("aabbcc"), k=2),
    "mismatch_auc": lambda: dict(losses=[0.1, 0.5, 0.4], matched=[True, False, True]),
    "rank_correlation": lambda: dict(a=some(B, 4), b=some(B, 4, seed=1)),
    "ssim": lambda: dict(a=some(B, 8, 8), b=some(B, 8, 8, seed=1)),
    "retrieval_captioner": lambda: dict(model=towers()["dual"], bank=WORDS),
    "wrap": lambda: dict(model=mean_colour),
    "load_model": lambda: dict(name="conse-lite0"),
    "cases": lambda: dict(model=towers()["dual"], dataset=one_sample(), target="caption"),
    "explain": lambda: dict(methods={"random": methods.random_map}, cases=one_case()),
    "score": lambda: dict(
        maps={"random": some(1, *SIZE)}, cases=one_case(), metrics=[metrics.confidence_drop]
    ),
    "evaluate": lambda: dict(
        methods={"random": methods.random_map},
        model=towers()["dual"],
        dataset=one_sample(),
        metrics=[metrics.confidence_drop],
        out="no folder of this name",
    ),
    "load_dataset": lambda: dict(name="photos"),
    "load_explainer": lambda: dict(name="efficientnet-lite0"),
    "box_masks": lambda: dict(boxes=[[(0, 0, 4, 4)]], size=(8, 8)),
    "summarise": lambda: dict(table=None),
}


def right_half() -> torch.Tensor:
    others = torch.zeros(B, *SIZE, dtype=torch.bool)
    others[:, :, 16:] = True
    return others


def told(images) -> list[str]:
    return ["a zebra"] * len(images)


def mean_colour(x):
    return x.mean((2, 3))


@cache
def one_sample() -> list:
    from PIL import Image

    return [xu.Sample(id="a", image=Image.new("RGB", (40, 50), "red"), caption="a red square")]


@cache
def one_case():
    return xu.cases(towers()["dual"], one_sample())


def method_call(name: str) -> dict:
    row = class_call() if name == "chefer_lrp" else image_call()
    return row | (dict(explainer=explainer()) if name == "aha" else {})


def function_of(name: str):
    for home in (methods, metrics, xu):
        if hasattr(home, name):
            return getattr(home, name)
    raise LookupError(name)


UNREAD = {"encoder", "targets"}  # of what only looks at maps and masks
JUDGES = {
    *("iou", "pointing_game", "mask_mean", "mask_recall", "instance_recall", "localization_iou"),
    *("miou", "energy_in_mask", "boundary_f", "mask_contrast", "evenness", "weaker_thing"),
    *("map_area", "map_total_variation", "map_entropy"),
}


def pools(name: str) -> dict:
    """Parameter -> bad values, of a function."""
    wanted = set(inspect.signature(function_of(name)).parameters)
    own = OWN.get(name, {})
    known = {p: own.get(p, COMMON.get(p)) for p in wanted - (UNREAD if name in JUDGES else set())}
    if name in JUDGES:
        known["inputs"] = [v for v in IMAGES if getattr(v, "ndim", 0) != 4 or len(v) != B]
    if name == "chefer_lrp":
        known["targets"] = CLASSES
    return known


def test_every_parameter_has_its_bad_values():
    for name in FUNCTIONS:
        missing = [p for p, values in pools(name).items() if not values]
        assert not missing, f"{name} has no bad values for {missing}"


def test_every_method_and_metric_is_here():
    asked = {n for n in methods.__all__ if n not in ("train_explainer", "load_explainer")}
    # a context manager, a statement about a method, helpers of other kinds, tested where they are
    elsewhere = {"fine_tuned", "properties", "roar_plus", "blip_captioner"}
    elsewhere |= {"match_without", "mean_interval", "min_max", "removal_map", "rewritten"}
    elsewhere |= {"sign_descent"}
    assert asked | (set(metrics.__all__) - elsewhere) <= set(FUNCTIONS)


CASES = [
    (name, parameter, i)
    for name in FUNCTIONS
    for parameter, values in pools(name).items()
    for i in range(len(values or ()))
]


def test_there_are_many():
    assert len(CASES) >= 300


ALSO = {  # parameters that an error may call by what they are to the user
    "inputs": ("images", "inputs", "map", "others"),
    "others": ("masks", "others"),
    "regions": ("masks", "regions"),
    "statistics": ("statistics",),
    "whole": ("whole",),
    "counts": ("counts",),
    "model": ("model", "unknown model", "encoder"),
    "name": ("name", "model"),
    "dataset": ("dataset", "photos"),
    "rate": ("rate",),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_input_is_refused_by_name_before_any_pass(name):
    function, faults = function_of(name), []
    for parameter, values in pools(name).items():
        for value in values:
            call = FUNCTIONS[name]() | {parameter: value}
            before = passes()
            try:
                got = function(**call)
                faults.append(f"{parameter}={short(value)} gives {short(got)}")
            except (ValueError, TypeError) as error:
                said = str(error)
                if not any(word in said for word in ALSO.get(parameter, (parameter,))):
                    faults.append(f"{parameter}={short(value)} is not named: {said[:150]}")
                if passes() != before:
                    faults.append(
                        f"{parameter}={short(value)} is refused after a pass: {said[:90]}"
                    )
            except Exception as error:  # whatever else comes is a fault
                faults.append(f"{parameter}={short(value)}: {type(error).__name__}: {error!s:.150}")
    assert not faults, "\n".join([f"{len(faults)} faults", *faults])


def short(value) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{value!r:.60}"


@pytest.mark.parametrize("name", ["p_ibisa", "m2ib", "nib", "rise", "random_map", "chefer"])
def test_bad_texts_are_refused_before_any_pass(name):
    for bad in TEXTS:
        before = passes()
        with pytest.raises((TypeError, ValueError), match="texts"):
            function_of(name)(**text_call(inputs=bad))
        assert passes() == before


@pytest.mark.parametrize("name", ["saliency", "rise", "ibisa", "iba", "chefer", "grad_cam", "aha"])
def test_bad_classes_are_refused_before_any_pass(name):
    method_call(name)
    for bad in CLASSES:
        before = passes()
        with pytest.raises((TypeError, ValueError), match="targets"):
            function_of(name)(**method_call(name) | dict(targets=bad))
        assert passes() == before


def test_generators_of_texts_are_not_used_up_by_the_check():
    encoder, h = towers()["text"], some(B, 32)
    for name in ("m2ib", "nib", "rise", "p_ibisa"):
        options = dict(masks=4) if name in ("rise", "p_ibisa") else dict(steps=2)
        maps = [
            function_of(name)(encoder, texts, h, **options).map
            for texts in (WORDS, tuple(WORDS), (word for word in WORDS))
        ]
        assert all(torch.equal(m.nan_to_num(), maps[0].nan_to_num()) for m in maps[1:])
    assert torch.equal(encoder(word for word in WORDS), encoder(WORDS))


TRAINING = dict(
    pictures=[None, some(8, 3, *SIZE), torch.zeros(8, 3, 16, 16, dtype=torch.uint8)],
    encoder=ENCODER,
    out=[None, 3, ["a"]],
    grid=[0, 1, -1, 2.5, "28", True],
    s=COUNT,
    tau=POSITIVE,
    noise=NOT_NEGATIVE,
    steps=COUNT,
    batch=COUNT,
    lr=POSITIVE,
    seed=SEED,
    chunk=COUNT,
)


@pytest.mark.parametrize("parameter", TRAINING)
def test_training_an_explainer_checks_before_it_writes(parameter, tmp_path):
    good = dict(
        encoder=towers()["image"],
        pictures=torch.zeros(8, 3, *SIZE, dtype=torch.uint8),
        out=tmp_path / "out",
    )
    for value in TRAINING[parameter]:
        before = passes()
        with pytest.raises((TypeError, ValueError), match=parameter):
            methods.train_explainer(**good | {parameter: value})
        assert passes() == before and not (tmp_path / "out").exists()


FEW = dict(epochs=COUNT, batch=[*COUNT, 1], lr=POSITIVE, seed=SEED)


@pytest.mark.parametrize("parameter", FEW)
def test_fine_tuning_checks_its_recipe(parameter):
    images, texts = some(10, 3, *SIZE), ["a zebra"] * 10
    for value in FEW[parameter]:
        with pytest.raises(ValueError, match=parameter):
            with metrics.fine_tuned(towers()["dual"], images, texts, **{parameter: value}):
                pass
        with pytest.raises(ValueError, match=parameter):
            metrics.roar_plus(
                towers()["dual"], images, texts, some(10, *SIZE), **{parameter: value}
            )


@pytest.mark.parametrize("few", [lambda x: ["a"], lambda x: "a cat", lambda x: [1] * len(x)])
def test_captioners_that_return_too_few(few):
    with pytest.raises((ValueError, TypeError), match="captioner must return"):
        metrics.cap_morf(**judged(captioner=few))


def test_options_that_a_kind_of_model_does_not_take():
    net = timm.create_model("resnet10t")
    for given in (dict(image_size=224), dict(tokenizer=planted.tokenizer()), dict(device="cpu")):
        with pytest.raises(ValueError, match=next(iter(given))):
            xu.wrap(net, **given)
    with pytest.raises(ValueError, match="tokenizer"):
        xu.wrap(mean_colour, tokenizer=planted.tokenizer())
    other = xu.wrap(net, mean=(0, 0, 0), std=(1, 1, 1))
    assert other.mean == (0, 0, 0) and other.std == (1, 1, 1)
