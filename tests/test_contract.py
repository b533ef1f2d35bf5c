"""What every attribution method keeps to, one table for all of them. Oracles and equations are in
the tests of each."""

import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
import planted
import pytest
import torch
from torch import nn

import xai_utils as xu
from xai_utils import methods
from xai_utils.methods.explainers import Explainer
from xai_utils.models.attention import attention_blocks

NOT_METHODS = {"load_explainer", "train_explainer"}  # they make what `aha` needs
NOT_METHODS |= {"nib_path"}  # what `nib` sums up, node by node
BOTH, EMBEDDING, CLASS = ("embedding", "class"), ("embedding",), ("class",)
TEXTS = ["a zebra", "two ripe strawberries and a small green frog", "an old field gun"]
NO_PLACE = "knows nothing of the input's content"


@dataclass(frozen=True)
class Row:
    """A method in this table.

    options   arguments that make it quick
    kinds     the small encoders it takes: a ViT, a CNN, a text tower
    needs     what an image encoder must have: "input" alone, a "split", or "attention" to read
    targets   what it takes for images; texts take embeddings
    signed    a bool, or a function of kind and target
    passes    its cost with `options`, forwards and backwards
    unseen    passes of these that do not run the last block forwards, or backwards
    trace     name -> number of entries, one a step
    places    the planted encoders on which the planted place comes first
    looks     what it takes beyond `options` to find the place
    cannot    why it fails on the other planted encoders that it takes
    target    whether another target gives another map
    chunk     False: it runs no encoder, so that there is nothing to bound
    exact     kinds for which the docstring has a sample's map independent of the rest of the batch
              to the last bit: each sample's passes are its own
    bad       arguments out of range, name -> values, or another word that the error must hold
    """

    options: dict = field(default_factory=dict)
    kinds: tuple[str, ...] = ("vit", "cnn", "text")
    needs: str = "input"
    targets: tuple[str, ...] = BOTH
    signed: bool | Callable = False
    passes: tuple[int, int] = (1, 1)
    unseen: tuple[int, int] = (0, 0)
    trace: dict = field(default_factory=dict)
    places: tuple[str, ...] = ("bright vit", "patch cnn", "word bert")
    looks: dict = field(default_factory=dict)
    cannot: str = ""
    target: bool = True
    chunk: bool = True
    exact: tuple[str, ...] = ()
    bad: dict = field(default_factory=dict)


IMAGES, TOKENS = ("vit", "cnn"), ("vit", "text")
GATES = dict(loss=4, fit=4, kl=4, gate=4)
BEHIND_A_NORM = "a token that is read through a layer norm alone has z dS/dz = 0: a ViT's patches"
ATTENTION = dict(
    kinds=TOKENS,
    needs="attention",
    places=("bright vit", "word bert"),
)
TABLE = {
    "p_ibisa": Row(
        options=dict(masks=3, steps=2, rate=8),
        targets=EMBEDDING,
        passes=(6, 6),
        trace=dict(loss=2, align=2, area=2),
        looks=dict(masks=20, steps=15, beta=0.5),
        exact=("vit", "cnn", "text"),
        bad=dict(
            masks=[0, 2.0],
            steps=[0, 1.5],
            chunk=[0],
            lr=[0, float("nan")],
            alpha=[0],
            weights_lr=[-1],
            t_min=[0],
            beta=[-1.0, float("nan"), "2"],
            phi=[-1.0, None],
            k=[0, -1],
            rate=[0, -8, 2.5, 32],
            align=["l2"],
            why=["because"],
        ),
    ),
    "m2ib": Row(
        needs="split",
        options=dict(steps=4, copies=2, beta=0.01),
        targets=EMBEDDING,
        passes=(9, 8),
        unseen=(1, 0),
        trace=GATES,
        looks=dict(steps=10, beta=0.1),
        bad=dict(
            steps=[0], copies=[0], chunk=[0], sigma=[0], lr=[0], beta=[-1], layer=[99, -1, 1.0]
        ),
    ),
    "nib": Row(
        needs="split",
        options=dict(steps=4),
        targets=EMBEDDING,
        signed=True,
        passes=(6, 5),
        unseen=(1, 0),
        trace=dict(similarity=5, gap=1),
        places=("patch cnn", "word bert"),
        cannot=BEHIND_A_NORM,
        bad=dict(steps=[0, 1.5], chunk=[0], layer=[99, -1]),
    ),
    "adaib": Row(
        needs="split",
        options=dict(steps=4, copies=2, beta=0.01),
        targets=EMBEDDING,
        passes=(10, 8),
        unseen=(1, 0),
        trace=GATES | dict(f=4, g=4, beta_eff=4),
        looks=dict(steps=10, beta=0.1),
        bad=dict(
            f=["l2", 0.0],
            g=["relu", -0.1, None],
            beta=[0],
            tau=[-1.0],
            clip=[0],
            sigma=[0],
            lr=[0],
            steps=[0],
            copies=[0],
            chunk=[0],
            layer=[99],
        ),
    ),
    "aha": Row(
        needs="split",
        options=dict(refine=2, s=2),
        kinds=IMAGES,
        signed=True,
        passes=(25, 24),
        trace=dict(loss=2, scores=3),
        places=("bright vit",),
        looks=dict(refine=0),
        cannot="an explainer asks what one cell alone says, and `patch cnn` reads a place",
        bad=dict(refine=[-1, 0.5], s=[0], tau=[0], lr=[0], chunk=[0], explainer=[None]),
    ),
    "saliency": Row(exact=IMAGES, bad=dict(chunk=[0])),
    "integrated_gradients": Row(
        options=dict(steps=4),
        signed=True,
        passes=(5, 5),
        trace=dict(similarity=5, gap=1),
        exact=IMAGES,
        bad=dict(steps=[0, 2.0], chunk=[0]),
    ),
    "fast_ig": Row(signed=True, exact=IMAGES, bad=dict(chunk=[0])),
    "mfaba": Row(
        options=dict(steps=3),
        passes=(3, 3),
        exact=IMAGES,
        bad=dict(steps=[0, 1.5], rate=[0], layer=[99], chunk=[0]),
    ),
    "grad_cam": Row(
        needs="split",
        places=("patch cnn", "word bert"),
        looks=dict(pool=False),  # the mean gradient no longer knows the place
        cannot=BEHIND_A_NORM,
        bad=dict(layer=[99], pool=[2], chunk=[0]),
    ),
    "iba": Row(
        needs="split",
        options=dict(steps=4, copies=2, beta=0.01),
        passes=(9, 8),
        unseen=(1, 0),
        trace=GATES,
        looks=dict(steps=10, beta=None, smooth=0.0),
        bad=dict(
            steps=[0],
            copies=[0],
            chunk=[0],
            lr=[0],
            beta=[-1],
            smooth=[-1],
            layer=[99],
            statistics=[3, (torch.zeros(1),), (torch.zeros(1), -torch.ones(1))],
        ),
    ),
    "ibisa": Row(
        options=dict(masks=3, steps=2, rate=8),
        kinds=IMAGES,
        passes=(5, 2),
        trace=dict(loss=2, fit=2, area=2),
        places=("bright vit", "patch cnn"),
        looks=dict(masks=10, steps=10),
        exact=IMAGES,
        bad=dict(
            masks=[0],
            steps=[0],
            chunk=[0],
            lr=[0],
            alpha=[0],
            beta=[-1],
            phi=[-1],
            rate=[0, -8, 2.5],
        ),
    ),
    "rise": Row(
        options=dict(masks=20, cells=4),
        signed=lambda kind, target: target == "embedding",
        passes=(20, 0),
        looks=dict(masks=300),
        exact=("vit", "cnn", "text"),
        bad=dict(masks=[0, -1], cells=[0], p=[0, 1.5], chunk=[0]),
    ),
    "sbsm": Row(
        options=dict(window=8, stride=4),
        kinds=IMAGES,
        signed=True,
        passes=(36, 0),
        places=("bright vit", "patch cnn"),
        exact=IMAGES,
        bad=dict(window=[99, 0], stride=[9, 0], chunk=[0]),
    ),
    "kernel_shap": Row(
        options=dict(samples=20, cells=3),
        signed=True,
        passes=(22, 0),
        looks=dict(samples=400, cells=4),
        exact=("vit", "cnn", "text"),
        bad=dict(samples=[1], cells=[1, 99], chunk=[0]),
    ),
    "attention_rollout": Row(
        **ATTENTION, target=False, passes=(1, 0), bad=dict(chunk=[0])
    ),  # attention, not what it serves
    "chefer": Row(**ATTENTION, bad=dict(first=[4, -5, 1.5], chunk=[0])),
    "ag_cam": Row(**ATTENTION, bad=dict(chunk=[0])),
    "legrad": Row(**ATTENTION, bad=dict(first=[4, 1.5], chunk=[0])),
    "attention_saliency": Row(**ATTENTION, bad=dict(chunk=[0])),
    "attention_fast_ig": Row(**ATTENTION, signed=True, bad=dict(chunk=[0])),
    "chefer_lrp": Row(
        kinds=("vit",),
        needs="attention",
        targets=CLASS,
        passes=(2, 2),
        unseen=(0, 1),  # relevance goes back by its own rules
        places=("bright vit",),
        exact=("vit",),
        bad=dict(chunk=[0]),
    ),
    "random_map": Row(
        signed=lambda kind, target: kind == "text",
        passes=(0, 0),
        places=(),
        cannot=NO_PLACE,
        target=False,
        chunk=False,
        exact=("vit", "cnn", "text"),
        bad=dict(cells=[0, 1.5]),
    ),
    "ones_map": Row(
        kinds=IMAGES,
        passes=(0, 0),
        places=(),
        cannot=NO_PLACE,
        target=False,
        chunk=False,
        exact=IMAGES,
    ),
    "centred_gaussian": Row(
        kinds=IMAGES,
        passes=(0, 0),
        places=(),
        cannot=NO_PLACE,
        target=False,
        chunk=False,
        exact=IMAGES,
    ),
}
PLANTED = {"bright vit": "vit", "patch cnn": "cnn", "word bert": "text"}  # encoder -> its kind
CASES = [
    (name, kind, target)
    for name, row in TABLE.items()
    for kind in row.kinds
    for target in (EMBEDDING if kind == "text" else row.targets)
]


def is_signed(name, kind, target):
    signed = TABLE[name].signed
    return signed(kind, target) if callable(signed) else signed


def those(cases, *names):
    """A test for each of `cases`, named by its words."""
    return pytest.mark.parametrize(names, cases, ids=["-".join(map(str, c)) for c in cases])


every_method = pytest.mark.parametrize("name", TABLE)
every_case = those(CASES, "name", "kind", "target")


def test_the_table_has_every_method():
    assert set(TABLE) == set(methods.__all__) - NOT_METHODS


@every_method
def test_the_table_says_what_a_method_cannot(name):
    row = TABLE[name]
    possible = {encoder for encoder, kind in PLANTED.items() if kind in row.kinds}
    assert set(row.places) <= possible
    assert bool(row.cannot) == (set(row.places) != possible)


@every_method
def test_signatures_begin_alike(name):
    parameters = inspect.signature(getattr(methods, name)).parameters
    assert list(parameters)[:3] == ["encoder", "inputs", "targets"]
    rest = list(parameters.values())[3:]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)
    assert ("chunk" in parameters) == TABLE[name].chunk
    missing = [p.name for p in rest if p.default is p.empty]
    assert missing == (["explainer"] if name == "aha" else [])


# --- the small encoders, their inputs and targets


@cache
def model_and_encoder(kind):
    """The user's own model, as users have it: in training mode, its parameters wanting gradients;
    and its encoder."""
    if kind == "vit":
        model = planted.small_vit()
        encoder = xu.wrap(model)
    elif kind == "cnn":
        model = planted.small_cnn()
        encoder = planted.pieces(model)
    else:
        model = planted.small_bert(layers=4)
        encoder = xu.wrap(model, tokenizer=planted.tokenizer())
    return model.train(), encoder


@cache
def explainer(kind):
    encoder = model_and_encoder(kind)[1]
    return planted.seeded(lambda: Explainer(encoder, grid=4).eval())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def arguments(name, kind, target, b=3):
    """(method, encoder, inputs, targets, options) of a case."""
    encoder = model_and_encoder(kind)[1]
    inputs = TEXTS[:b] if kind == "text" else torch.randn(b, 3, 32, 24, generator=generator())
    dim = {"vit": 32, "cnn": 16, "text": 16}[kind]
    targets = torch.randn(b, dim, generator=generator(1))
    targets = torch.tensor([1, 5, 5])[:b] if target == "class" else targets
    given = dict(explainer=explainer(kind)) if name == "aha" else {}
    return getattr(methods, name), encoder, inputs, targets, TABLE[name].options | given


def apart(a, b):
    """The largest difference of two maps, in units of the second's largest value."""
    a, b = a.nan_to_num(), b.nan_to_num()
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-20)).item()


# --- what comes back


@every_case
def test_what_comes_back(name, kind, target):
    row = TABLE[name]
    method, encoder, inputs, targets, options = arguments(name, kind, target)
    a = method(encoder, inputs, targets, **options)
    assert a.map.dtype == torch.float32 and a.map.device.type == "cpu" and not a.map.requires_grad
    assert isinstance(a.unit, str) and a.unit
    if kind == "text":
        assert a.tokens == encoder.tokenize(inputs)[2]
        assert a.map.shape == (3, max(map(len, a.tokens)))
        for scores, words in zip(a.map, a.tokens):
            assert scores[: len(words)].isfinite().all() and scores[len(words) :].isnan().all()
    else:
        assert a.tokens is None and a.map.shape == (3, 32, 24) and a.map.isfinite().all()
    spread = torch.stack([m[m.isfinite()].std() for m in a.map])
    assert (spread > 0).any() == (name != "ones_map")
    assert a.signed is is_signed(name, kind, target)
    assert a.signed or a.map.nan_to_num().min() >= 0
    assert {k: len(v) for k, v in a.trace.items()} == row.trace
    assert all(v.shape[1] == 3 and v.isfinite().all() for v in a.trace.values())
    assert all(v.device.type == "cpu" and not v.requires_grad for v in a.trace.values())
    if kind != "text":  # of texts, the longest one's number of coalitions
        assert a.cost == dict(zip(("forwards", "backwards"), row.passes))
    assert set(a.cost) == {"forwards", "backwards"}
    other = method(encoder, inputs, targets.roll(1, 0), **options).map
    assert (apart(other, a.map) > 1e-4) == row.target


@those([c for c in CASES if is_signed(*c)], "name", "kind", "target")
def test_signed_maps_do_go_below_zero(name, kind, target):
    method, encoder, inputs, targets, options = arguments(name, kind, target)
    opposite = -targets if target == "embedding" else targets
    maps = [method(encoder, inputs, t, **options).map for t in (targets, opposite)]
    assert min(m.nan_to_num().min() for m in maps) < 0


class Counter(nn.Module):
    """Counts the rows that go through it, forwards and backwards."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, [0, 0]
        seen = self.seen

        class Count(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                seen[0] += len(x)
                return x.clone()

            @staticmethod
            def backward(ctx, g):
                seen[1] += len(g)
                return g

        self.count = Count.apply

    def forward(self, x):
        return self.inner(self.count(x))


@those([(n, k) for n, row in TABLE.items() for k in row.kinds if k in TOKENS], "name", "kind")
def test_cost_is_what_the_last_block_counts(name, kind):
    row = TABLE[name]
    target = "class" if row.targets == CLASS else "embedding"
    method, _, inputs, targets, options = arguments(name, kind, target, b=1)
    if kind == "vit":
        encoder = xu.wrap(planted.small_vit())
        attention = encoder.parts.blocks[-1].attn
        attention.norm = counter = Counter(attention.norm)
    else:
        encoder = xu.wrap(planted.small_bert(layers=4), tokenizer=planted.tokenizer())
        out = encoder.parts.modules[-1].attention.output
        out.dense = counter = Counter(out.dense)
    if name == "aha":
        options = options | dict(explainer=Explainer(encoder, grid=4).eval())
        counter.seen[:] = 0, 0
    if row.needs == "attention":
        attention_blocks(encoder)  # what it looks at in every call is not counted for the samples
        counter.seen[:] = -counter.seen[0], 0
    cost = method(encoder, inputs, targets, **options).cost
    counted = [cost["forwards"] - row.unseen[0], cost["backwards"] - row.unseen[1]]
    assert counter.seen == counted


# --- the planted place


@cache
def planted_case(which):
    """(encoder, inputs, embeddings, the place of each, the map's values by place)."""
    if which == "word bert":
        encoder = planted.word_bert()
        inputs = ["a cat", "sleeps on the warm mat one cat"]
        places, by_place = [1, 6], lambda map: map
    else:
        make = dict(zip(PLANTED, (planted.bright_vit, planted.patch_cnn)))[which]
        encoder, places, by_place = make(), [planted.CELL] * 2, planted.cells
        inputs = planted.bright_patch() if which == "bright vit" else planted.two_patches()
    more = dict(zip(PLANTED, (2 * torch.eye(16)[0], 3 * torch.eye(6)[:3].sum(0))))
    with torch.no_grad():  # the input's own embedding, and more of what the place gives
        h = encoder(inputs) + more.get(which, 3 * torch.eye(16)[0])
    return encoder, inputs, h, places, by_place


FOUND = [(name, which, t) for name, row in TABLE.items() for which in row.places for t in BOTH]
FOUND = [(n, w, t) for n, w, t in FOUND if t in (EMBEDDING if "bert" in w else TABLE[n].targets)]


@those(FOUND, "name", "which", "target")
def test_the_planted_place_comes_first(name, which, target):
    encoder, inputs, h, places, by_place = planted_case(which)
    targets = torch.zeros(2, dtype=torch.long) if target == "class" else h
    options = TABLE[name].options | TABLE[name].looks
    if name == "aha":
        options = options | dict(explainer=Explainer(encoder, grid=8).eval())
    values = by_place(getattr(methods, name)(encoder, inputs, targets, **options).map)
    for scores, place in zip(values, places):
        scores = scores[scores.isfinite()]
        others = torch.cat([scores[:place], scores[place + 1 :]])
        assert scores.argmax() == place
        assert scores[place] > 1.1 * others.mean()


# --- what does not matter, and what stays


@every_case
def test_a_map_does_not_depend_on_the_rest_of_the_batch(name, kind, target):
    method, encoder, inputs, targets, options = arguments(name, kind, target)
    together = method(encoder, inputs, targets, **options)
    for i in range(3):
        one = slice(i, i + 1)
        alone = method(encoder, inputs[one], targets[one], **options)
        row = together.map[one, : alone.map.shape[1]]
        if kind in TABLE[name].exact:
            assert torch.equal(row, alone.map)
        assert apart(row, alone.map) < 1e-3
        if kind == "text":
            assert alone.tokens == together.tokens[one]
        for key, values in alone.trace.items():
            assert torch.allclose(together.trace[key][:, one], values, rtol=1e-3, atol=1e-4), key


@pytest.mark.slow
@those([c for c in CASES if TABLE[c[0]].chunk], "name", "kind", "target")
def test_chunk_does_not_change_the_map(name, kind, target):
    method, encoder, inputs, targets, options = arguments(name, kind, target)
    whole = method(encoder, inputs, targets, **options).map
    for chunk in (1, 5):
        assert apart(method(encoder, inputs, targets, **options, chunk=chunk).map, whole) < 1e-3


def snapshot(kind):
    """Everything that a method could disturb, as comparable values."""
    model, encoder = model_and_encoder(kind)
    kept = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    kept |= {f"encoder.{k}": v.clone() for k, v in encoder.weights.items()}
    flags = {k: (p.requires_grad, p.grad) for k, p in model.named_parameters()}
    flags |= {f"encoder.{k}": (p.requires_grad, p.grad) for k, p in encoder.weights.items()}
    flags |= {f"mode.{k}": m.training for k, m in model.named_modules()}
    if kind != "text":
        own = explainer(kind)
        kept |= {f"explainer.{k}": v.clone() for k, v in own.state_dict().items()}
        flags |= {f"explainer.{k}": (p.requires_grad, p.grad) for k, p in own.named_parameters()}
        flags |= {f"explainer mode.{k}": m.training for k, m in own.named_modules()}
    kept["torch"] = torch.get_rng_state()
    return kept, flags, (random.getstate(), np.random.get_state()[1].tolist())


@every_case
def test_everything_stays_as_it_was_and_twice_is_the_same(name, kind, target):
    method, encoder, inputs, targets, options = arguments(name, kind, target)
    copies = (list(inputs) if kind == "text" else inputs.clone(), targets.clone())
    before = snapshot(kind)
    first = method(encoder, inputs, targets, **options)
    after = snapshot(kind)
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(v, after[0][k]) for k, v in before[0].items())
    assert before[1:] == after[1:]
    assert inputs == copies[0] if kind == "text" else torch.equal(inputs, copies[0])
    assert torch.equal(targets, copies[1])
    if kind != "text":
        inputs = inputs.clone().requires_grad_()
    if target == "embedding":
        targets = targets.clone().requires_grad_()
    again = method(encoder, inputs, targets, **options)
    with torch.no_grad():
        inside = method(encoder, inputs, targets, **options)
    for a in (again, inside):
        assert torch.equal(a.map.nan_to_num(), first.map.nan_to_num()) and not a.map.requires_grad
        assert all(torch.equal(v, first.trace[k]) for k, v in a.trace.items())


@pytest.mark.parametrize(
    "name", [n for n in TABLE if "seed" in inspect.signature(getattr(methods, n)).parameters]
)
def test_seeds_give_other_maps(name):
    method, encoder, inputs, targets, options = arguments(name, "vit", "embedding")
    maps = [method(encoder, inputs, targets, **options, seed=seed).map for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])


# --- bad input, refused before any pass


def refusing(kind):
    """The encoder, and AHA's explainer of it, that fail as soon as they are run."""

    def stem(*args):
        pytest.fail("the encoder ran before the argument was refused")

    encoder = model_and_encoder(kind)[1]
    encoder = replace(encoder, parts=replace(encoder.parts, stem=stem))
    return encoder


def refused(name, kind, target, errors, word, **change):
    """The method refuses this change of its arguments with one of `errors` that holds `word`."""
    method, _, inputs, targets, options = arguments(name, kind, target)
    encoder = refusing(kind)
    if name == "aha":
        own = planted.seeded(lambda: Explainer(model_and_encoder(kind)[1], grid=4).eval())
        own.backbone, options = encoder, options | dict(explainer=own)
    call = dict(encoder=encoder, inputs=inputs, targets=targets) | options | change
    with pytest.raises(errors, match=word):
        method(**call)


WRONG_IMAGES = {
    "rank 3": lambda x: x[0],
    "one channel": lambda x: x[:, :1],
    "none": lambda x: x[:0],
    "wrong size": lambda x: x[..., 1:],
    "nan": lambda x: torch.where(x > 2, float("nan"), x),
    "infinite": lambda x: torch.where(x > 2, float("inf"), x),
    "bytes": lambda x: x.byte(),
    "integers": lambda x: x.long(),
    "an array": lambda x: x.numpy(),
    "a list": lambda x: list(x),
    "texts": lambda x: TEXTS,
}
WRONG_TEXTS = {
    "no text": [],
    "a bare string": "a zebra",
    "an empty text": ["a zebra", "", "a frog"],
    "a blank text": ["a zebra", " \n", "a frog"],
    "a number": ["a zebra", 3, "a frog"],
    "None": None,
    "images": torch.zeros(3, 3, 32, 24),
}
WRONG_EMBEDDINGS = {
    "rank 1": lambda h: h[:, 0],
    "rank 3": lambda h: h[None],
    "one wide": lambda h: h[:, :1],
    "too wide": lambda h: torch.cat([h, h], 1),
    "too few": lambda h: h[:2],
    "nan": lambda h: h / 0 * 0,
    "infinite": lambda h: h / 0,
    "integers": lambda h: h.long(),
    "a list": lambda h: h.tolist(),
    "None": lambda h: None,
}
WRONG_CLASSES = {
    "too high": torch.tensor([1, 5, 10]),
    "negative": torch.tensor([1, -1, 5]),
    "too few": torch.tensor([1, 5]),
    "floats": torch.tensor([1.0, 5.0, 5.0]),
    "rank 2": torch.tensor([[1], [5], [5]]),
    "a list": [1, 5, 5],
}
EITHER = (ValueError, TypeError)


@those([(n, k) for n, row in TABLE.items() for k in row.kinds if k in IMAGES], "name", "kind")
def test_bad_images_are_refused(name, kind):
    target = TABLE[name].targets[0]
    x = arguments(name, kind, target)[2]
    for change in WRONG_IMAGES.values():
        refused(name, kind, target, EITHER, "images|inputs", inputs=change(x))


@every_method
def test_bad_texts_are_refused(name):
    if "text" in TABLE[name].kinds:
        for texts in WRONG_TEXTS.values():
            refused(name, "text", "embedding", EITHER, "texts", inputs=texts)
    else:
        text = model_and_encoder("text")[1]
        target = TABLE[name].targets[0]
        given = dict(encoder=text, inputs=TEXTS)
        refused(name, "vit", target, TypeError, "encoder must be an image encoder", **given)


@every_method
def test_bad_targets_are_refused(name):
    row = TABLE[name]
    for kind in row.kinds:
        if "embedding" in row.targets:
            h = arguments(name, kind, "embedding")[3]
            for change in WRONG_EMBEDDINGS.values():
                refused(name, kind, "embedding", EITHER, "targets", targets=change(h))
        if kind == "text" or "class" not in row.targets:
            classes = torch.tensor([1, 5, 5])
            refused(name, kind, "embedding", EITHER, "targets", targets=classes)
            continue
        for classes in WRONG_CLASSES.values():
            refused(name, kind, "class", EITHER, "targets", targets=classes)
        headless = replace(refusing(kind), head=None)
        refused(name, kind, "class", ValueError, "no classifier head", encoder=headless)


@every_method
def test_bad_options_are_refused(name):
    row = TABLE[name]
    for option, values in row.bad.items():
        for value in values:
            refused(name, row.kinds[0], row.targets[0], EITHER, option, **{option: value})


@every_method
def test_what_is_no_encoder_is_refused(name):
    row = TABLE[name]
    for wrong in (None, planted.small_cnn(), "conse-lite0", lambda x: x):
        refused(name, row.kinds[0], row.targets[0], TypeError, "^encoder must be", encoder=wrong)


@every_method
def test_a_bare_function_will_do_or_the_error_says_what_is_missing(name):
    whole, row = xu.wrap(planted.small_cnn(), name="whole", image_size=32), TABLE[name]
    x, h = torch.zeros(1, 3, 32, 32), torch.ones(1, 10)
    method = partial(getattr(methods, name), whole, x, h, **row.options)
    if name == "aha":
        method = partial(Explainer, whole)  # what it cannot do without
    if row.needs == "split":
        with pytest.raises(ValueError, match="whole has no split"):
            method()
    elif row.needs == "attention":
        wanted = "needs class targets" if row.targets == CLASS else "cannot be read from whole"
        with pytest.raises(ValueError, match=wanted):
            method()
    else:
        assert method().map.shape == (1, 32, 32)


@pytest.mark.parametrize("wide", [1, 7])
@pytest.mark.parametrize(
    "name", [n for n, row in TABLE.items() if row.needs == "input" and row.target]
)
def test_a_width_that_only_the_first_pass_tells_is_refused_then(name, wide):
    """A bare function's width is not known before; one number for each row would broadcast."""
    whole, x = xu.wrap(planted.small_cnn()), torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=f"targets have {wide} dimensions"):
        getattr(methods, name)(whole, x, torch.ones(1, wide), **TABLE[name].options)
