"""Encoders of every kind of fault: each is refused by name, or works; none gives a map that says
nothing of its input."""

import copy
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import numpy as np
import planted
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

import xai_utils as xu
from xai_utils import methods
from xai_utils.metrics import confidence_drop, deletion_auc, insertion_auc, perturbation_curve
from xai_utils.models.wrapping import frozen
from xai_utils.types import Parts

pytestmark = pytest.mark.slow

SIDE = planted.SIDE
QUICK = {
    "p_ibisa": dict(masks=2, steps=2, rate=8),
    "ibisa": dict(masks=2, steps=2, rate=8),
    "m2ib": dict(steps=2, copies=2),
    "adaib": dict(steps=2, copies=2),
    "iba": dict(steps=2, copies=2),
    "nib": dict(steps=2, layer=1),
    "saliency": {},
    "integrated_gradients": dict(steps=2),
    "fast_ig": {},
    "mfaba": dict(steps=2),
    "grad_cam": {},
    "rise": dict(masks=8, cells=4),
    "sbsm": dict(window=16, stride=8),
    "kernel_shap": dict(samples=8, cells=2),
    "attention_rollout": {},
    "chefer": {},
    "ag_cam": {},
    "legrad": {},
    "attention_saliency": {},
    "attention_fast_ig": {},
    "random_map": {},
    "ones_map": {},
    "centred_gaussian": {},
}
SPLIT = {"m2ib", "adaib", "iba", "nib", "grad_cam"}
ATTENTION = {
    *("attention_rollout", "chefer", "ag_cam", "legrad"),
    *("attention_saliency", "attention_fast_ig"),
}
NO_PASSES = {"random_map", "ones_map", "centred_gaussian"}
NO_GRADIENT = {"rise", "sbsm", "kernel_shap"}
GRADIENT = set(QUICK) - SPLIT - ATTENTION - NO_PASSES - NO_GRADIENT


def images(b: int = 2) -> torch.Tensor:
    return torch.rand(b, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def vector(d: int, b: int = 2) -> torch.Tensor:
    return torch.randn(b, d, generator=torch.Generator().manual_seed(4))


def net(d: int = 3) -> nn.Module:
    return planted.seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Tanh(), nn.Flatten(), nn.Linear(128, d))
    )


def vit(**options):
    shape = dict(img_size=SIDE, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=5)
    return planted.seeded(lambda: timm.create_model("vit_tiny_patch16_224", **shape | options))


def run(name, encoder, x, targets, **options):
    return getattr(methods, name)(encoder, x, targets, **QUICK[name] | options)


# --- no gradient, yet a map


class Rounded(nn.Module):
    """Has a gradient everywhere, and it is 0."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return (10 * self.net(x)).round()


class NoGrad(Rounded):
    @torch.no_grad()
    def forward(self, x):
        return self.net(x)


def quantised() -> nn.Module:
    scale = torch.tensor(0.05)
    return nn.Sequential(net(), Quantise(scale))


class Quantise(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, h):
        return torch.quantize_per_tensor(h.detach(), float(self.scale), 0, torch.qint8).dequantize()


BLIND = dict(
    no_grad=NoGrad,
    detached=lambda: nn.Sequential(net(), Detach()),
    quantised=quantised,
)


class Detach(nn.Module):
    def forward(self, h):
        return h.detach()


@pytest.mark.parametrize("name", sorted(GRADIENT))
@pytest.mark.parametrize("kind", BLIND)
def test_without_a_gradient_there_is_no_map(kind, name):
    encoder = xu.wrap(BLIND[kind](), name="blind one")
    with pytest.raises(ValueError, match="blind one gives no gradient.*rise, sbsm and kernel_shap"):
        run(name, encoder, images(), vector(3))


@pytest.mark.parametrize("name", ["p_ibisa", "ibisa"])
def test_a_gradient_of_zero_is_no_map_of_penalties_alone(name):
    encoder = xu.wrap(Rounded(), name="rounded")
    with pytest.raises(ValueError, match="rounded gives a gradient of 0 everywhere"):
        run(name, encoder, images(), vector(3))


@pytest.mark.parametrize("name", sorted(NO_GRADIENT))
def test_methods_that_need_no_gradient_go_on_without(name):
    maps = [run(name, xu.wrap(m), images(), vector(3)).map for m in (NoGrad(), net())]
    assert torch.equal(*maps) and maps[0].std() > 0


def test_a_dual_encoders_own_functions_give_no_gradient():
    clip = xu.DualEncoder(image=xu.wrap(net()), text=None)
    encoder = xu.wrap(clip.encode_image)
    with pytest.raises(ValueError, match="gives no gradient"):
        run("p_ibisa", encoder, images(), vector(3))


def test_bottlenecks_refuse_a_tail_without_a_gradient():
    parts = Parts(nn.Conv2d(3, 4, 8, 8), (nn.Identity(), nn.Identity()), rounded_mean)
    encoder = xu.wrap(
        lambda x: rounded_mean(parts.stem(x)), parts=parts, image_size=SIDE, name="rounded tail"
    )
    for name in ("m2ib", "adaib", "iba"):
        with pytest.raises(ValueError, match="gradient of 0 everywhere"):
            run(name, encoder, images(), vector(4))


def rounded_mean(z):
    return 1 + (10 * z.mean((2, 3))).round()


# --- dtype

DTYPES = (torch.float16, torch.bfloat16, torch.float64)
EVERY = sorted(QUICK)


def close(a, b, most):
    """Maps agree to `most` of the second's largest value."""
    return ((a.map - b.map).abs().max() / b.map.abs().max()).item() < most


@pytest.fixture(scope="module")
def reference():
    encoder, x = xu.wrap(vit()), images()
    return {name: run(name, encoder, x, vector(32)) for name in EVERY}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_targets_and_images_of_any_dtype_give_the_map_of_their_float32(name, dtype):
    encoder = xu.wrap(vit())
    x, h = images().to(dtype), vector(32).to(dtype)
    a, b = run(name, encoder, x, h), run(name, encoder, x.float(), h.float())
    assert a.map.dtype == torch.float32 and torch.equal(a.map, b.map)
    assert all(v.dtype == torch.float32 for v in a.trace.values())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_models_of_any_dtype(name, dtype, reference):
    encoder = xu.wrap(vit().to(dtype))
    assert encoder(images()).dtype == torch.float32 and encoder.dtype == dtype
    a = run(name, encoder, images(), vector(32))
    assert a.map.dtype == torch.float32
    most = {torch.float64: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.5}[dtype]
    assert close(a, reference[name], most)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_head_of_a_model_of_any_dtype_takes_its_embeddings(dtype, reference):
    half, plain = xu.wrap(vit().to(dtype)), xu.wrap(vit())
    logits = half.head(half(images()))
    assert logits.dtype == torch.float32 and half.classes == 5
    assert torch.allclose(logits, plain.head(plain(images())), atol=0.02)
    a, b = (run("saliency", e, images(), torch.tensor([1, 3])) for e in (half, plain))
    assert close(a, b, 0.2)


@pytest.mark.parametrize("name", EVERY)
def test_neither_the_default_dtype_nor_autocast_changes_a_map(name, reference):
    encoder, x, h = xu.wrap(vit()), images(), vector(32)
    torch.set_default_dtype(torch.float64)
    try:
        a = run(name, encoder, x, h)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        b = run(name, encoder, x, h)
    with torch.inference_mode():
        c = run(name, encoder, images(), vector(32))
    assert all(torch.equal(m.map, reference[name].map) for m in (a, b, c))


def test_half_precision_keeps_small_gradients():
    encoder = xu.wrap(vit().half())
    x = images().requires_grad_()
    F.cosine_similarity(encoder(x), vector(32)).sum().backward()
    exact = images().requires_grad_()
    F.cosine_similarity(xu.wrap(vit())(exact), vector(32)).sum().backward()
    assert (x.grad == 0).float().mean() < 0.01
    assert F.cosine_similarity(x.grad.flatten(), exact.grad.flatten(), 0) > 0.99


@pytest.mark.parametrize("name", sorted(set(EVERY) - NO_PASSES))
def test_a_map_that_is_not_finite_is_an_error(name):
    class Bad(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) / (x.amax((1, 2, 3)) < 2)[:, None]

    encoder = xu.wrap(Bad(), name="divides by zero")
    if name in SPLIT | ATTENTION:
        return
    with pytest.raises(ValueError, match="divides by zero returned NaN or infinite values"):
        run(name, encoder, 3 * images() + 2, vector(3))


def test_the_first_step_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="m2ib gives a map that is not finite: .* at step 1 of 2"):
        run("m2ib", xu.wrap(vit()), images(), vector(32), sigma=1e30)


# --- what a model returns


@dataclass
class Output:
    pooled: torch.Tensor
    hidden: torch.Tensor


def tokens_of(x):
    return x.flatten(2).transpose(1, 2)  # (B, T, 3)


RETURNS = dict(
    tokens=(tokens_of, ValueError, r"one embedding \(D,\) for each input, .*got \(2, 1024, 3\)"),
    scalars=(lambda x: x.mean((1, 2, 3)), ValueError, r"got \(2,\)"),
    one_row=(lambda x: x.mean((0, 2, 3))[None], ValueError, r"got \(1, 3\)"),
    number=(lambda x: x.mean(), ValueError, r"got \(\)"),
    nothing=(lambda x: None, TypeError, "got NoneType"),
    array=(lambda x: x.detach().numpy(), TypeError, "got ndarray"),
    integers=(lambda x: x.mean((2, 3)).long(), TypeError, "floating point embeddings"),
    empty=(lambda x: x[:, :0, 0, 0], ValueError, r"got \(2, 0\)"),
    a_tuple=(lambda x: (x.mean((2, 3)), x), TypeError, r"got tuple with \[0\] \(2, 3\)"),
    a_dict=(lambda x: dict(h=x.mean((2, 3))), TypeError, r"got dict with \['h'\] \(2, 3\)"),
    an_object=(lambda x: Output(x.mean((2, 3)), x), TypeError, r"\.pooled \(2, 3\)"),
    model_output=(
        lambda x: BaseModelOutputWithPooling(tokens_of(x), x.mean((2, 3))),
        TypeError,
        r"\['pooler_output'\] \(2, 3\)",
    ),
)


@pytest.mark.parametrize("kind", RETURNS)
@pytest.mark.parametrize("name", ["p_ibisa", "saliency", "rise", "ibisa", "kernel_shap"])
def test_what_a_model_returns_is_checked_at_the_first_call(kind, name):
    f, error, says = RETURNS[kind]
    if (name, kind) == ("saliency", "one_row"):
        return  # its rows go one by one on a CPU
    with pytest.raises(error, match="mine must return"):
        run(name, xu.wrap(f, name="mine"), images(), vector(3))
    with pytest.raises(error, match=says):
        xu.wrap(f, name="mine")(images())


@pytest.mark.parametrize("kind", RETURNS)
def test_and_at_wrap_where_the_size_is_known(kind):
    f, error, _ = RETURNS[kind]
    if kind not in ("one_row",):  # of a single picture that is right
        with pytest.raises(error, match="mine must return"):
            xu.wrap(f, name="mine", image_size=SIDE)


def test_nan_from_the_first_picture_on_is_called_by_its_name():
    model = vit()
    model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="returned NaN or infinite values"):
        xu.wrap(model)


@pytest.mark.parametrize("name", EVERY)
def test_targets_of_another_width_or_number_never_broadcast(name):
    encoder = xu.wrap(vit())
    for targets in (torch.ones(2, 1), torch.ones(1, 32), torch.ones(2, 31), torch.ones(2, 32, 1)):
        with pytest.raises(ValueError, match="targets"):
            run(name, encoder, images(), targets)


# --- one logit, one dimension


@pytest.mark.parametrize("name", ["saliency", "ibisa", "rise", "integrated_gradients", "iba"])
def test_a_single_logit_is_a_sigmoid(name):
    encoder = xu.wrap(vit(num_classes=1))
    a = run(name, encoder, images(), torch.tensor([0, 0]))
    assert a.map.std() > 0
    with pytest.raises(ValueError, match=r"class targets must lie in 0\.\.0"):
        run(name, encoder, images(), torch.tensor([0, 1]))


def test_curves_of_a_single_logit_follow_its_sigmoid():
    encoder, x = xu.wrap(vit(num_classes=1)), images()
    curve = perturbation_curve(encoder, x, torch.tensor([0, 0]), x.mean(1), steps=4)
    assert torch.allclose(curve[:, 0], encoder.head(encoder(x)).sigmoid()[:, 0], atol=1e-6)
    assert curve.std(1).min() > 0


@pytest.mark.parametrize("name", EVERY)
def test_one_dimension_and_no_direction_are_refused(name):
    flat = xu.wrap(lambda x: x.mean((1, 2, 3))[:, None], name="flat")
    if name not in SPLIT | ATTENTION:
        with pytest.raises(ValueError, match="targets have 1 dimensions"):
            run(name, flat, images(), torch.ones(2, 1))
    targets = vector(32)
    targets[1] = 0
    with pytest.raises(ValueError, match=r"targets\[1\] is 0 everywhere"):
        run(name, xu.wrap(vit()), images(), targets)


# --- the model and its user are left alone


class InPlace(nn.Module):
    """Normalises the picture that it was given where it lies."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        x -= 0.5
        return self.net(x.mul_(2))


@pytest.mark.parametrize("name", sorted(GRADIENT | NO_GRADIENT))
def test_a_model_that_works_in_place(name):
    class Copying(InPlace):
        def forward(self, x):
            return super().forward(x.clone())

    x, there = images(), images()
    a = run(name, xu.wrap(InPlace()), x, vector(3))
    assert torch.equal(x, there)
    assert torch.equal(a.map, run(name, xu.wrap(Copying()), x, vector(3)).map)


@pytest.mark.parametrize("name", sorted(SPLIT - {"grad_cam"}))
def test_a_block_that_works_in_place(name):
    stem, body = planted.seeded(lambda: (nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 4, 1)))
    blocks = {inplace: nn.Sequential(nn.ReLU(inplace), body) for inplace in (True, False)}
    maps = []
    for block in blocks.values():
        parts = Parts(stem, (block, block), planted_mean)
        encoder = xu.wrap(
            lambda x, block=block: planted_mean(block(block(stem(x)))), parts=parts, image_size=SIDE
        )
        maps.append(run(name, encoder, images(), vector(4), layer=1).map)
    assert torch.equal(*maps)


def planted_mean(z):
    return z.mean((2, 3))


def test_users_hooks_do_not_fire_in_the_copy():
    model, fired = net(), []
    handles = [
        model[0].register_forward_hook(lambda *_: fired.append("forward")),
        model[0].register_forward_pre_hook(lambda *_: fired.append("before")),
        model[3].register_full_backward_hook(lambda *_: fired.append("backward")),
    ]
    run("p_ibisa", xu.wrap(model), images(), vector(3))
    assert not fired
    model(images())
    assert fired == ["before", "forward"] and handles


@pytest.mark.parametrize("old", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_old_weight_norms_stay_at_work(old):
    model = net()
    old(model[3])
    model(images())  # leaves its product behind, which is no leaf
    model.eval()
    assert torch.allclose(xu.wrap(model)(images()), model(images()), atol=1e-6)


def test_saved_activations_do_not_keep_a_model_from_being_copied():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.kept = net(), {}

        def forward(self, x):
            self.last = h = self.net(x)
            self.kept["layers"] = [h, (h * 2,)]
            return h

    model = Keeps()
    h = model(images())
    assert torch.equal(frozen(model)(images()), h)
    assert model.last is h and h.requires_grad


class Holder:
    def __init__(self, model):
        self.model = model

    def embed(self, x):
        return self.model(x)

    def __call__(self, x):
        return self.model(x)


def default(x, *, model=None):
    return model(x)


@pytest.mark.parametrize("way", ["closure", "method", "partial", "default", "object", "global"])
def test_a_function_of_a_net_in_training_mode(way):
    model = nn.Sequential(net(4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    globals()["GLOBAL_NET"] = model
    f = {
        "closure": lambda x: model(x),
        "method": model.forward,
        "partial": partial(default, model=model),
        "default": lambda x, m=model: m(x),
        "object": Holder(model),
        "global": lambda x: GLOBAL_NET(x),  # noqa: F821
    }[way]
    before = copy.deepcopy(model.state_dict())
    encoder = xu.wrap(f)
    a = run("p_ibisa", encoder, images(), vector(4))
    assert model.training and all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(a.map, run("p_ibisa", xu.wrap(model), images(), vector(4)).map)


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))


def of_the_batch():
    return nn.Sequential(net(), nn.BatchNorm1d(3, track_running_stats=False))


@pytest.mark.parametrize(
    "make, says",
    [
        (lazy, "no 1.weight yet: call it once"),
        (lambda: net().to("meta"), "on the meta device"),
        (of_the_batch, "batch norm without running statistics, 1"),
    ],
)
def test_a_module_that_is_not_finished_or_mixes_pictures_is_refused(make, says):
    with pytest.raises(ValueError, match=f"model Sequential has .*{says}"):
        xu.wrap(make())


def test_weights_made_in_inference_mode_pass_a_gradient_in_the_copy():
    with torch.inference_mode():
        model = net()
    assert run("p_ibisa", xu.wrap(model), images(), vector(3)).map.std() > 0


def test_a_size_that_the_model_does_not_take_is_refused_at_wrap():
    with pytest.raises(ValueError, match=r"must take pictures \(1, 3, 64, 64\), as image_size"):
        xu.wrap(net(), image_size=64)


@pytest.mark.parametrize("size", [SIDE, np.int64(SIDE), (SIDE, SIDE), [SIDE, SIDE]])
def test_sizes_and_colours_of_any_sequence_become_tuples(size):
    encoder = xu.wrap(net(), image_size=size, mean=np.zeros(3), std=torch.ones(3))
    assert encoder.image_size == (SIDE, SIDE) and encoder(images()).shape == (2, 3)
    assert encoder.mean == (0, 0, 0) and encoder.std == (1, 1, 1)


# --- functions: device, normalisation, own parts


def test_a_functions_black_is_black():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
    seen = []

    def f(x):
        seen.append(x.detach())
        return torch.cat([x.mean((2, 3)), torch.ones(len(x), 1)], 1)

    encoder = xu.wrap(f, mean=mean, std=std, image_size=SIDE)
    x = encoder.transform(planted_picture())[None]
    assert torch.allclose(
        x.mean((2, 3))[0] * torch.tensor(std) + torch.tensor(mean), RED, atol=0.01
    )
    perturbation_curve(encoder, x, encoder(x), x.mean(1), steps=1, reference="black")
    assert torch.allclose(seen[-1][-1, :, 0, 0], torch.tensor([-2.5, -2.0, -1.5]), atol=1e-5)


RED = torch.tensor([1.0, 0.0, 0.0])


def planted_picture():
    from PIL import Image

    return Image.new("RGB", (50, 40), (255, 0, 0))


def test_a_function_runs_where_it_is_told():
    encoder = xu.wrap(lambda x: x.mean((2, 3)), device="meta")
    assert encoder.device == torch.device("meta")


def test_your_own_parts_in_a_few_lines():
    model = net(6)
    parts = Parts(stem=model[0], blocks=(model[1],), tail=nn.Sequential(model[2], model[3]))
    encoder = xu.wrap(model, parts=parts, image_size=SIDE, name="mine")
    x = images()
    assert encoder.depth == 1 and encoder.dim == 6
    for layer in (0, 1):
        split = encoder.split(layer)
        assert torch.equal(split.suffix(split.prefix(x)), encoder(x))
    for name in SPLIT:
        assert run(name, encoder, x, vector(6)).map.std() > 0
    wrong = Parts(stem=model[0], blocks=(nn.Identity(),), tail=parts.tail)
    assert xu.wrap(model, parts=wrong, image_size=SIDE).parts is None


def test_your_own_parts_that_make_tokens():
    stem = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 8, 8, 8), flat=nn.Flatten(2)))

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = stem, nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x):
            return self.block(self.stem(x).mT).mean(1)

    model = planted.seeded(Tokens).eval()
    parts = Parts(partial(turned, model.stem), (model.block,), token_mean)
    encoder = xu.wrap(model, parts=parts, tokens=(0, (4, 4)), image_size=SIDE)
    assert encoder.parts is not None
    assert run("m2ib", encoder, images(), vector(8)).map.shape == (2, SIDE, SIDE)


def turned(stem, x):
    return stem(x).mT


def token_mean(z):
    return z.mean(1)


@pytest.mark.parametrize("depth, layer", [(1, 0), (2, 1), (3, 2), (4, 3), (12, 9)])
def test_the_default_layer_is_never_behind_the_last_block(depth, layer):
    encoder = xu.wrap(vit(depth=depth))
    assert encoder.default_layer == layer
    assert encoder.layer_at(10 / 12) < depth and encoder.layer_at(1) == depth


# --- what is wrapped can be sent to another process


@pytest.mark.parametrize("make", [net, vit])
def test_encoders_of_modules_can_be_pickled(make):
    encoder = xu.wrap(make(), image_size=SIDE if make is net else None)
    again = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(again(images()), encoder(images()))
    assert torch.equal(*(e.transform(planted_picture()) for e in (encoder, again)))


def test_numpy_numbers_do_as_well():
    encoder, x, h = xu.wrap(vit()), images(), vector(32)
    a = run("m2ib", encoder, x, h, beta=np.float32(0.5), layer=np.int64(1), seed=np.uint8(3))
    b = run("m2ib", encoder, x, h, beta=0.5, layer=1, seed=3)
    assert torch.equal(a.map, b.map)


def test_metrics_of_any_dtype():
    encoder, x, h = xu.wrap(vit()), images(), vector(32)
    for metric in (confidence_drop, deletion_auc, insertion_auc):
        plain = metric(encoder, x, h, x.mean(1))
        for dtype in DTYPES:
            low = metric(encoder, x.to(dtype), h.to(dtype), x.mean(1).to(dtype))
            assert torch.allclose(low, plain, atol=1 if metric is confidence_drop else 0.01)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(metric(encoder, x, h, x.mean(1)), plain)
