"""Pixel-, mask- and gradient-based baselines: libraries and literal loops as oracles, then what
every method must keep to."""

from dataclasses import replace

import captum.attr as captum
import pytest
import timm
import torch
import torch.nn.functional as F
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
    rise,
    saliency,
    sbsm,
)
from xai_utils.methods.bottleneck import compressed, information
from xai_utils.methods.iba import blurred
from xai_utils.methods.kernel_shap import coalitions
from xai_utils.methods.masks import sample_grids
from xai_utils.methods.sampling import rise_masks
from xai_utils.models.vision import frozen
from xai_utils.types import Parts

pytestmark = pytest.mark.filterwarnings(
    "ignore:Input Tensor"
)  # captum's word for inputs that want no gradient
FAST = {  # options that make a method quick on a small model
    saliency: {},
    integrated_gradients: dict(steps=8),
    fast_ig: {},
    mfaba: dict(steps=3),
    grad_cam: {},
    rise: dict(masks=60, cells=4),
    sbsm: dict(window=8, stride=4),
    kernel_shap: dict(samples=60, cells=3),
    iba: dict(steps=3, copies=3),
    ibisa: dict(rate=8),
}
IMAGE_ONLY = {sbsm, ibisa}
every_method = pytest.mark.parametrize("method", FAST, ids=lambda m: m.__name__)
every_text_method = pytest.mark.parametrize(
    "method", [m for m in FAST if m not in IMAGE_ONLY], ids=lambda m: m.__name__
)
TEXTS = ["a cat", "two small green apples on a table"]


def pieces(small):
    """The small CNN as an encoder in two blocks with 16 dimensions and a head of 10 classes."""
    m = frozen(small)
    whole = torch.nn.Sequential(m.body, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    parts = Parts(m.body[0], (m.body[1:3], m.body[3:5]), lambda z: z.mean((2, 3)))
    return replace(
        xu.wrap(whole, image_size=(32, 24)), parts=parts, dim=16, head=m.out, name="pieces"
    )


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


@every_method
def test_finds_the_planted_patch(planted, method):
    """Two patches stand out, the encoder reads one. Where it must be in pieces, its tail reads one
    of 4 x 4 cells."""

    def tail(z):
        return torch.cat([z[:, :, 1, 2], torch.ones_like(z[:, :, 1, 2])], 1)

    encoder = xu.wrap(planted)
    if method in (grad_cam, iba):
        parts = Parts(lambda x: F.avg_pool2d(x, 8), (torch.nn.Identity(),), tail)
        encoder = replace(
            xu.wrap(lambda x: tail(F.avg_pool2d(x, 8)), image_size=(32, 32)), parts=parts, dim=6
        )
    x = 1 + 0.1 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x[:, :, 8:16, 16:24] += 1
    x[:, :, 16:24, 8:16] += 1
    options = FAST[method] | {
        rise: dict(masks=500),
        kernel_shap: dict(cells=4, samples=400),
        grad_cam: dict(pool=False),  # the mean gradient no longer knows the place
        iba: dict(steps=20, layer=1, smooth=0.0),
    }.get(method, {})
    h = encoder(x) + torch.tensor([[3.0, 3, 3, 0, 0, 0]])  # more of what the patch gives
    for one in method(encoder, x, h, **options).map:
        cells = F.avg_pool2d(one[None], 8)[0].flatten()
        assert cells.argmax() == 4 * 1 + 2
        assert cells.max() > 1.3 * cells[[i for i in range(16) if i != 6]].mean()


@every_method
@pytest.mark.parametrize("target", ["embedding", "class"])
def test_company_chunks_and_state(small, method, target):
    """Alone as in a batch, bit for bit; chunks change rounding at most; everything else stays;
    twice the same."""
    small.train()
    encoder, (x, h) = pieces(small), pair(3)
    targets = h if target == "embedding" else torch.tensor([1, 5, 5])
    before, kept = (
        {k: v.clone() for k, v in small.state_dict().items()},
        (
            x.clone(),
            targets.clone(),
        ),
    )
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a = method(encoder, x, targets, **FAST[method])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in small.parameters())
    assert all(m.training for m in small.modules())
    assert torch.equal(x, kept[0])
    assert torch.equal(targets, kept[1])

    assert a.map.shape == (3, 32, 24)
    assert a.map.dtype == torch.float32
    assert not a.map.requires_grad
    assert a.signed or a.map.min() >= 0
    assert (a.map.flatten(1).std(1) > 0).all()
    with torch.no_grad():
        assert torch.equal(
            a.map, method(encoder, x.clone().requires_grad_(), targets, **FAST[method]).map
        )
    for i in range(3):
        assert torch.equal(
            a.map[i], method(encoder, x[i : i + 1], targets[i : i + 1], **FAST[method]).map[0]
        )
    for chunk in (1, 7):
        assert relative(method(encoder, x, targets, chunk=chunk, **FAST[method]).map, a.map) < 1e-3


@every_method
def test_passes_are_counted(method):
    seen = dict(forward=0, backward=0)

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen["forward"] += len(x)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            seen["backward"] += len(g)
            return g

    def tail(z):
        return Counted.apply(z).mean((2, 3))

    parts = Parts(torch.nn.Identity(), (torch.nn.Tanh(),), tail)
    encoder = replace(xu.wrap(lambda x: tail(torch.tanh(x)), image_size=(32, 24)), parts=parts)
    x = torch.rand(2, 3, 32, 24)
    cost = method(encoder, x, torch.randn(2, 3), **FAST[method]).cost
    assert seen["backward"] == 2 * cost["backwards"]
    assert seen["forward"] == 2 * (
        cost["forwards"] - (method is iba)
    )  # IBA's one prefix does not come to the tail


@every_text_method
def test_texts_have_a_score_per_word_whatever_the_company(conse, method):
    h = conse.encode_text(["a pet", "a fruit"])
    options = FAST[method] | (
        dict(steps=10) if method is iba else {}
    )  # its gates need some steps to close
    a = method(conse.text, TEXTS, h, **options)
    assert [len(words) for words in a.tokens] == (~a.map.isnan()).sum(1).tolist()
    for i in range(2):
        alone = method(conse.text, TEXTS[i : i + 1], h[i : i + 1], **options).map
        assert relative(a.map[i, : alone.shape[1]], alone[0]) < 1e-3
    swapped = method(conse.text, TEXTS, h.flip(0), **options).map.nan_to_num()
    assert relative(swapped, a.map.nan_to_num()) > 0.01


@every_method
def test_two_texts_are_two_maps_of_one_image(conse, method):
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    options = FAST[method] | {
        integrated_gradients: dict(steps=2),
        rise: dict(masks=8),
        sbsm: dict(window=112, stride=56),
        kernel_shap: dict(samples=6, cells=3),
        iba: dict(steps=10, copies=1),
        ibisa: dict(rate=32),
    }.get(method, {})
    one, other = (
        method(conse.image, x, conse.encode_text([t]), **options).map for t in ("a cat", "an apple")
    )
    assert one.std() > 0
    assert relative(one, other) > 0.01


@pytest.fixture(scope="module")
def vit():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return xu.wrap(
            timm.create_model("vit_tiny_patch16_224", img_size=(64, 48), num_classes=10, depth=6)
        )


@every_method
def test_vits_and_their_defaults(vit, method):
    x = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    options = FAST[method] | dict(iba=dict(steps=10)).get(method.__name__, {})
    for targets in (
        torch.randn(2, 192, generator=torch.Generator().manual_seed(1)),
        torch.tensor([1, 2]),
    ):
        a = method(vit, x, targets, **options)
        assert a.map.shape == (2, 64, 48)
        assert (a.map.flatten(1).std(1) > 0).all()
    if method in (grad_cam, iba):
        layer = 5 if method is grad_cam else vit.default_layer
        assert torch.equal(a.map, method(vit, x, targets, layer=layer, **options).map)


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


@every_method
def test_bad_input_is_one_clear_error(conse, small, method):
    x, h, e = torch.zeros(1, 3, 224, 224), torch.ones(1, 384), conse.image
    for change, message in (
        (dict(inputs=x[0]), r"shape \(B, 3, H, W\)"),
        (dict(inputs=x * float("nan")), "inputs holds NaN"),
        (dict(inputs=x[..., 1:]), "takes images of"),
        (dict(targets=h * float("nan")), "targets holds NaN"),
        (dict(targets=h[:, 1:]), "targets must be embeddings"),
        (dict(targets=torch.tensor([1])), "no classifier head"),
        (dict(chunk=0), "chunk must be"),
    ):
        with pytest.raises(ValueError, match=message):
            method(**dict(encoder=e, inputs=x, targets=h) | change)
    with pytest.raises(TypeError, match="load_model or wrap"):
        method(small, x, h)
    with pytest.raises(TypeError, match="targets must be"):
        method(e, x, [1.0])
    encoder, (x, _) = pieces(small), pair(1)
    with pytest.raises(ValueError, match=r"lie in 0\.\.9"):
        method(encoder, x, torch.tensor([10]))
    if method in IMAGE_ONLY:
        with pytest.raises(TypeError, match="image encoder"):
            method(conse.text, ["a"], h)
    else:
        with pytest.raises(ValueError, match="is empty"):
            method(conse.text, [" "], h)


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        (integrated_gradients, dict(steps=0), "steps must be an integer"),
        (mfaba, dict(steps=1.5), "steps must be an integer"),
        (mfaba, dict(rate=0), "rate must be a number above"),
        (mfaba, dict(layer=9), "layer must be an integer from 0 to 2"),
        (grad_cam, dict(layer=9), "layer must be an integer from 0 to 2"),
        (grad_cam, dict(pool=2), "pool must be"),
        (rise, dict(masks=-1), "masks must be an integer"),
        (rise, dict(p=1.5), "p must be a probability"),
        (rise, dict(cells=0), "cells must be an integer"),
        (sbsm, dict(window=99), "stride <= window <= image side"),
        (sbsm, dict(window=4, stride=5), "stride <= window <= image side"),
        (kernel_shap, dict(samples=1), "samples must be an integer"),
        (kernel_shap, dict(cells=99), "cells must be at most"),
        (iba, dict(beta=-1), "beta must be a number"),
        (iba, dict(layer=9), "layer must be an integer from 0 to 2"),
        (iba, dict(copies=0), "copies must be an integer"),
        (ibisa, dict(masks=0), "masks must be an integer"),
        (ibisa, dict(steps=0), "steps must be an integer"),
        (ibisa, dict(beta=-1), "beta must be a number"),
    ],
)
def test_bad_options_are_named(small, method, option, message):
    x, h = pair(1)
    with pytest.raises(ValueError, match=message):
        method(pieces(small), x, h, **option)


def test_methods_that_need_a_split_say_so(small):
    x, h = torch.zeros(1, 3, 32, 32), torch.ones(1, 10)
    for method in (grad_cam, iba):
        with pytest.raises(ValueError, match="has no split"):
            method(xu.wrap(small), x, h)
