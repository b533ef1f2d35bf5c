"""Pixel-, mask- and gradient-based baselines: libraries and literal loops as oracles, and what is
particular to each."""

from dataclasses import replace

import captum.attr as captum
import pytest
import timm
import torch
import torch.nn.functional as F
from planted import pieces
from reference.baselines_loop import (
    blur,
    grad_cam_loop,
    iba_loop,
    ibisa_loop,
    mfaba_loop,
    rise_loop,
    sbsm_loop,
    shapley_values,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import xai_utils as xu
from xai_utils.methods import (
    fast_ig,
    grad_cam,
    iba,
    ibisa,
    integrated_gradients,
    kernel_shap,
    mfaba,
    nib,
    p_ibisa,
    rise,
    saliency,
    sbsm,
)
from xai_utils.methods.bottleneck import compressed, information
from xai_utils.methods.iba import blurred
from xai_utils.methods.kernel_shap import coalitions
from xai_utils.methods.masks import sample_grids
from xai_utils.methods.sampling import rise_masks
from xai_utils.types import Parts

pytestmark = pytest.mark.filterwarnings(
    "ignore:Input Tensor"
)  # captum's word for inputs that want no gradient
FAST = {  # options that make a method quick on a small model
    saliency: {},
    integrated_gradients: dict(steps=8),
    fast_ig: {},
    sbsm: dict(window=8, stride=4),
}
TEXTS = ["a cat", "two small green apples on a table"]


def pair(b=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(b, 3, 32, 24, generator=generator), torch.randn(b, 16, generator=generator)


def cosine_to(encoder, h):
    return lambda x: F.cosine_similarity(encoder(x), h)


def classes_of(encoder, logit):
    return lambda x: encoder.head(encoder(x)) if logit else encoder.head(encoder(x)).softmax(1)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("target", ["embedding", "class"])
@pytest.mark.parametrize(
    ("method", "logit", "oracle"),
    [
        (saliency, True, lambda f, x, c: captum.Saliency(f).attribute(x.clone(), target=c).amax(1)),
        (
            fast_ig,
            True,
            lambda f, x, c: captum.InputXGradient(f).attribute(x.clone(), target=c).sum(1),
        ),
        (
            integrated_gradients,
            False,
            lambda f, x, c: (
                captum.IntegratedGradients(f)
                .attribute(x, target=c, n_steps=8, method="riemann_right")
                .sum(1)
            ),
        ),
        (
            sbsm,
            False,
            lambda f, x, c: (
                captum.Occlusion(f)
                .attribute(x, target=c, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4))
                .mean(1)
            ),
        ),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_equals_captum(small, method, logit, oracle, target):
    encoder, (x, h) = pieces(small), pair()
    targets = h if target == "embedding" else torch.tensor([3, 7])
    f = cosine_to(encoder, h) if target == "embedding" else classes_of(encoder, logit)
    a = method(encoder, x, targets, **FAST[method])
    for i in range(2):  # one by one: captum's batches would need targets of the same number
        f = cosine_to(encoder, h[i : i + 1]) if target == "embedding" else f
        wanted = oracle(f, x[i : i + 1], None if target == "embedding" else int(targets[i]))
        assert relative(a.map[i], wanted[0].detach()) < 1e-4
    assert a.unit.startswith(
        "cosine" if target == "embedding" else "logit" if logit else "probability"
    )


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("layer", [1, None])
def test_grad_cam_is_the_loop_and_captums(small, pool, layer):
    encoder, (x, h) = pieces(small), pair()
    layer_or_depth = 2 if layer is None else layer
    split = encoder.split(layer_or_depth)
    with torch.no_grad():
        z = split.prefix(x)
    a, c = grad_cam(encoder, x, h, layer=layer, pool=pool), torch.tensor([3, 7])
    for i in range(2):
        literal = grad_cam_loop(
            lambda one: cosine_to(split.suffix, h[i : i + 1])(one[None])[0], z[i], pool=pool
        )
        assert relative(a.map[i : i + 1], split.to_map(literal[None])) < 1e-5
    whole = torch.nn.Sequential(encoder.whole, encoder.head)
    module = encoder.whole[0][2 * layer_or_depth]  # the tanh that ends a block
    library = captum.LayerGradCam if pool else captum.LayerGradientXActivation
    wanted = library(whole, module).attribute(x, target=c).sum(1).clamp(min=0).detach()
    assert (
        relative(grad_cam(encoder, x, c, layer=layer, pool=pool).map, split.to_map(wanted)) < 1e-5
    )


@pytest.mark.parametrize("layer", [None, 0])
def test_mfaba_is_the_loop_and_a_norm(small, layer):
    encoder, (x, h) = pieces(small), pair(1)
    split = encoder.split(0)
    z, f = (x, encoder) if layer is None else (split.prefix(x), split.suffix)
    literal = mfaba_loop(
        lambda one: F.cosine_similarity(f(one[None])[0], h[0], dim=0),
        z[0].detach(),
        steps=4,
        rate=0.01,
    )
    a = mfaba(encoder, x, h, layer=layer, steps=4)
    wanted = literal.sum(0)[None]
    assert relative(a.map, wanted if layer is None else split.to_map(wanted)) < 1e-5
    assert a.map.min() >= 0
    one = mfaba(encoder, x, h, steps=1, rate=0.1).map
    g = captum.Saliency(cosine_to(encoder, h)).attribute(x.clone()).sum(1)
    assert relative(one, 0.1 * g) < 1e-5  # one step is the gradient's L1 norm


def test_rise_and_sbsm_are_the_loops(small):
    encoder, (x, h) = pieces(small), pair(1)

    def s(image):
        with torch.no_grad():
            return F.cosine_similarity(encoder(image[None])[0], h[0], dim=0)

    a = rise(encoder, x, h, masks=25, cells=5, p=0.3, seed=4)
    assert relative(a.map[0], rise_loop(s, x[0], masks=25, cells=5, p=0.3, seed=4)) < 1e-5
    assert (
        relative(
            sbsm(encoder, x, h, window=9, stride=5).map[0], sbsm_loop(s, x[0], window=9, stride=5)
        )
        < 1e-5
    )


def test_rise_masks_are_what_the_paper_says():
    draw = rise_masks((56, 40), 4000, 8, 0.1, 0, "cpu")
    m = torch.cat([draw(k) for k in torch.arange(4000).split(100)])
    assert m.shape == (4000, 56, 40)
    assert 0 <= m.min() <= m.max() <= 1
    assert (m.mean(0) - 0.1).abs().max() < 0.02  # E m = p everywhere, the border too
    few, many = (rise_masks((words,), 50, 8, 0.5, 0, "cpu")(torch.arange(50)) for words in (3, 9))
    assert torch.equal(few, many[:, :3])  # a word's bits do not depend on how many follow


def test_kernel_shap_is_exact_where_it_can_be(conse, small):
    with torch.no_grad():
        text, h = "small green apples on wood", conse.encode_text(["a fruit"])
        ids, valid, _ = conse.text.tokenize([text])

        def v(words):
            weight = torch.tensor([[1.0] + [float(i in words) for i in range(5)] + [1.0]])
            return F.cosine_similarity(conse.text.encode_ids(ids, valid, weight), h).item()

        exact = shapley_values(v, 5)
        assert (kernel_shap(conse.text, [text], h).map[0] - exact).abs().max() < 1e-5
        encoder, (x, h) = pieces(small), pair(1)

        def cells(kept):
            image = torch.zeros_like(x)
            for c in kept:
                place = (
                    ...,
                    slice(c // 2 * 16, c // 2 * 16 + 16),
                    slice(c % 2 * 12, c % 2 * 12 + 12),
                )
                image[place] = x[place]
            return F.cosine_similarity(encoder(image), h).item()

        exact = shapley_values(cells, 4).reshape(2, 2)
        assert (kernel_shap(encoder, x, h, cells=2).map[0, ::16, ::12] - exact).abs().max() < 1e-5
        # sampled: near the exact values, and always adding up
        many = kernel_shap(encoder, x, h, cells=3, samples=511).map[0, [0, 12, 24]][:, [0, 10, 20]]
        few = kernel_shap(encoder, x, h, cells=3, samples=300).map[0, [0, 12, 24]][:, [0, 10, 20]]
        assert relative(few, many) < 0.05
        change = F.cosine_similarity(encoder(x), h) - F.cosine_similarity(
            encoder(torch.zeros_like(x)), h
        )
        assert torch.allclose(few.sum(), change[0], atol=1e-5)


def test_coalitions_follow_the_shapley_kernel():
    c, pi = coalitions(4, 100, 0)
    assert len(c) == 14
    assert pi[c.sum(1) == 1].unique().item() == pytest.approx(3 / (4 * 1 * 3))
    assert pi[c.sum(1) == 2].unique().item() == pytest.approx(3 / (6 * 2 * 2))
    c, _ = coalitions(20, 4000, 0)
    share = c.sum(1).bincount(minlength=20)[1:] / len(c)
    s = torch.arange(1, 20)
    wanted = 1 / (s * (20 - s))
    assert (share - wanted / wanted.sum()).abs().max() < 0.02
    assert torch.equal(c[::2], ~c[1::2])
    assert (c.float().mean(0) - 0.5).abs().max() < 1e-6


@pytest.mark.parametrize(("beta", "smooth"), [(10.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("target", ["embedding", "class"])
def test_iba_is_the_loop(small, beta, smooth, target):
    encoder, (x, h) = pieces(small), pair(1)
    split = encoder.split(1)
    with torch.no_grad():
        z = split.prefix(x)

    def fit(one):
        out = split.suffix(one[None])
        return (
            F.cosine_similarity(out, h)[0]
            if target == "embedding"
            else encoder.head(out).log_softmax(1)[0, 3]
        )

    wanted, losses = iba_loop(
        fit, z[0], beta=beta, steps=4, lr=1.0, copies=3, seed=2, smooth=smooth
    )
    targets = h if target == "embedding" else torch.tensor([3])
    a = iba(encoder, x, targets, layer=1, beta=beta, smooth=smooth, steps=4, copies=3, seed=2)
    assert relative(a.map, split.to_map(wanted.sum(0)[None])) < 1e-5
    assert torch.allclose(a.trace["loss"][:, 0], torch.tensor(losses), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", ["embedding", "class"])
def test_ibisa_is_the_loop(small, target):
    encoder, (x, h) = pieces(small.double()), [t.double() for t in pair(1)]

    def score(image):
        z = encoder(image[None])
        return (
            F.cosine_similarity(z, h)[0]
            if target == "embedding"
            else encoder.head(z).softmax(1)[0, 3]
        )

    fit = score if target == "embedding" else lambda image: score(image).log()
    options = dict(beta=3.0, phi=0.7, steps=6, lr=0.8)
    wanted = ibisa_loop(score, fit, x[0], grids=sample_grids(5, (4, 3), 3.0, 7).double(), **options)
    targets = h if target == "embedding" else torch.tensor([3])
    a = ibisa(encoder, x, targets, masks=5, rate=8, seed=7, **options)
    assert relative(a.map[0], wanted) < 1e-5
    assert (
        relative(
            ibisa(encoder, x, targets, masks=5, rate=8, seed=7, **options | dict(beta=3.3)).map[0],
            wanted,
        )
        > 1e-4
    )


def test_iba_statistics_and_blur(small):
    encoder, (x, h) = pieces(small), pair(1)
    z = encoder.split(1).prefix(x)
    own = z.mean((2, 3)).view(-1, 1, 1), z.std((2, 3), correction=0).view(-1, 1, 1)
    a = iba(encoder, x, h, layer=1, statistics=own, steps=3)
    assert torch.allclose(a.map, iba(encoder, x, h, layer=1, steps=3).map, rtol=1e-3)
    other = iba(encoder, x, h, layer=1, statistics=(own[0], 2 * own[1]), steps=3).map
    assert relative(other, a.map) > 0.01
    z, eps = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    mu, s, gate = 0.5, 2.0, torch.full((4,), 0.3)
    assert torch.allclose(
        compressed((z - mu) / s, gate, eps, 1.0) * s + mu,
        gate * z + (1 - gate) * (s * eps + mu),
        atol=1e-6,
    )
    p = torch.distributions.Normal(gate * z + (1 - gate) * mu, (1 - gate) * s)
    wanted = torch.distributions.kl_divergence(p, torch.distributions.Normal(mu, s))
    assert torch.allclose(information((z - mu) / s, gate, 1.0), wanted, atol=1e-6)
    for wrong in (own[0], own[:1], (torch.ones(7), torch.ones(7)), (own[0], -own[1])):
        with pytest.raises((TypeError, ValueError), match="statistics"):
            iba(encoder, x, h, statistics=wrong)


def test_integrated_gradients_add_up(conse, small):
    encoder, (x, h) = pieces(small), pair()
    for e, inputs, targets in (
        (encoder, x, h),
        (conse.text, TEXTS, conse.encode_text(["a fruit", "a fruit"])),
    ):
        few, many = (integrated_gradients(e, inputs, targets, steps=n) for n in (5, 80))
        assert many.trace["gap"].abs().max() < 0.25 * few.trace["gap"].abs().max()
        change = many.trace["similarity"][-1] - many.trace["similarity"][0]
        total = many.map.nan_to_num().flatten(1).sum(1)
        assert torch.allclose(
            total, change + many.trace["gap"][0], atol=1e-5
        )  # special tokens get nothing
    once = integrated_gradients(encoder, x, h, steps=1).map
    assert torch.allclose(once, fast_ig(encoder, x, h).map, atol=1e-6)


def test_nib_of_pixels_is_integrated_gradients(small):
    """An encoder whose stem does nothing has the image itself as its layer 0."""
    encoder, (x, h) = pieces(small), pair()
    bare = replace(encoder, parts=Parts(torch.nn.Identity(), (encoder,), lambda z: z))
    a, b = integrated_gradients(encoder, x, h, steps=10), nib(bare, x, h, layer=0, steps=10)
    assert torch.allclose(a.map, b.map, atol=1e-6)
    assert torch.allclose(a.trace["gap"], b.trace["gap"], atol=1e-6)


@pytest.fixture(scope="module")
def vit():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return xu.wrap(
            timm.create_model("vit_tiny_patch16_224", img_size=(64, 48), num_classes=10, depth=6)
        )


@pytest.mark.parametrize(("method", "layer"), [(grad_cam, 5), (iba, 4)])  # of 6 blocks
def test_default_layers_of_vits(vit, method, layer):
    x, h = torch.randn(1, 3, 64, 48), torch.randn(1, 192)
    options = dict(steps=3, copies=3) if method is iba else {}
    whole = method(vit, x, h, **options)
    assert torch.equal(whole.map, method(vit, x, h, layer=layer, **options).map)
    assert vit.default_layer == 4


def test_blur_is_a_gaussian_over_cells_and_leaves_other_tokens_alone(vit):
    gate = torch.rand(2, 13, 5)
    out = blurred(vit, gate, 1.0)  # one class token, 4 x 3 patches
    assert torch.equal(out[:, 0], gate[:, 0])
    literal = blur(gate[0, 1:].T.unflatten(1, (4, 3)), 1.0)
    assert torch.allclose(out[0, 1:].T.unflatten(1, (4, 3)), literal, atol=1e-6)
    assert blurred(vit, gate, 0) is gate


class Largest(TorchDispatchMode):
    """Notes the most elements any tensor had."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.most = max(
            [self.most, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))]
        )
        return out


@pytest.mark.parametrize(
    ("method", "few", "many"),
    [
        (rise, dict(masks=200), dict(masks=2000)),
        (sbsm, dict(window=16, stride=16), dict(window=16, stride=2)),
        (kernel_shap, dict(samples=200), dict(samples=2000)),
        (integrated_gradients, dict(steps=40), dict(steps=400)),
    ],
)
def test_memory_does_not_grow_with_the_number_of_masks(method, few, many):
    batches = []

    def f(x):
        batches.append(len(x))
        return x.mean((2, 3)) + 1

    x, most = torch.rand(1, 3, 64, 64), []
    for options in (few, many):
        with Largest() as watch:
            method(xu.wrap(f), x, torch.ones(1, 3), chunk=16, **options)
        most.append(watch.most)
        assert max(batches) == 16
    assert most[0] == most[1]


def test_ibisa_of_each_start_is_p_ibisa_where_both_see_an_embedding(small):
    encoder = xu.wrap(small.double())
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 32, 24, generator=generator, dtype=torch.float64)
    h = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    options = dict(masks=3, steps=5, rate=8, beta=2.0, phi=1.0, seed=4)
    a, b = ibisa(encoder, x, h, each=True, **options), p_ibisa(encoder, x, h, **options)
    assert torch.allclose(a.map, b.map, atol=1e-6)
    assert a.cost == b.cost == dict(forwards=15, backwards=15)
    assert not torch.allclose(a.map, ibisa(encoder, x, h, **options).map, atol=1e-2)
