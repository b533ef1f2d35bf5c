"""Attention read from re-run blocks, and the methods that live on it."""

import copy

import pytest
import timm
import torch
from planted import seeded
from reference.attention_loop import (
    ag_cam_loop,
    chefer_loop,
    chefer_lrp_loop,
    class_token,
    linear_loop,
    mean_of_patches,
    rollout_loop,
)

import xai_utils as xu
from xai_utils.methods import (
    ag_cam,
    attention_fast_ig,
    attention_rollout,
    attention_saliency,
    chefer,
    chefer_lrp,
    legrad,
)
from xai_utils.methods.attention import gradients
from xai_utils.methods.chefer_lrp import at_the_end, through_block
from xai_utils.methods.relevance import linear, positive_shares
from xai_utils.models.attention import allowed_tokens, attention_blocks

METHODS = [attention_rollout, chefer, ag_cam, legrad, attention_saliency, attention_fast_ig]
TEXTS = ["a red car", "two small green apples on a table"]


def ids(f):
    return f.__name__


@pytest.fixture(scope="module")
def vit():
    """A small ViT on a grid of 4 x 6 tokens with one token too many in front, with a head."""
    options = dict(img_size=(64, 96), num_classes=10, depth=4, reg_tokens=1, qk_norm=True)
    name = "vit_tiny_patch16_224"
    return xu.wrap(seeded(lambda: timm.create_model(name, init_values=0.5, **options)))


@pytest.fixture(scope="module")
def clip():
    return xu.load_model("open_clip/ViT-B-32", device="cpu")


def images(n=2, size=(64, 96), seed=0):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["vit", "clip image", "clip text", "minilm"])
def test_a_block_run_in_pieces_is_the_block(kind, vit, clip, conse):
    encoder, inputs = {
        "vit": (vit, images()),
        "clip image": (clip.image, images(size=(224, 224))),
        "clip text": (clip.text, TEXTS),
        "minilm": (conse.text, TEXTS),
    }[kind]
    with torch.no_grad():
        z = encoder.split(0).prefix(inputs)
        valid = getattr(z, "valid", None)
        real = slice(None) if valid is None else valid
        for block, whole in zip(attention_blocks(encoder), encoder.parts.blocks):
            out, attention, _ = block(z, allowed_tokens(encoder, valid))
            z = whole(z) if valid is None else whole(z, valid)
            assert torch.allclose(out[real], z[real], rtol=1e-5, atol=1e-5)
            assert torch.allclose(attention.sum(-1)[:, 0][real], torch.ones(()), atol=1e-5)
    if valid is not None:
        assert (
            attention[0, :, :, ~valid[0]][:, valid[0]] == 0
        ).all()  # nothing is read from padding


def parts_of(vit, x, classes):
    with torch.no_grad():
        z = vit.split(0).prefix(x)
    end = vit.split(vit.depth)

    def logit(z):
        return vit.head(end.suffix(z)).gather(1, classes[:, None])[:, 0]

    _, a, s, g = gradients(z, attention_blocks(vit), None, logit)
    return [[t[0] for t in part] for part in (a, s, g)]


def test_rollout_chefer_and_ag_cam_are_their_loops(vit):
    x, classes = images(1), torch.tensor([3])
    a, s, g = parts_of(vit, x, classes)
    p = [1.0] + [0.0] * 25  # the class token; then a register, then 24 patches
    to_map = vit.split(0).to_map
    for method, wanted in (
        (attention_rollout, rollout_loop(a, p)),
        (chefer, chefer_loop(a, g, p)),
        (ag_cam, ag_cam_loop(s, g, p)),
        (attention_saliency, g[-1].abs().mean(0)[0]),
        (attention_fast_ig, (g[-1] * a[-1]).mean(0)[0]),
    ):
        got = method(vit, x, classes).map
        assert torch.allclose(got, to_map(wanted.float()[None]), rtol=1e-4, atol=1e-8), (
            method.__name__
        )


def test_chefer_from_the_last_block_is_nibs_chefer(vit):
    x, classes = images(1), torch.tensor([3])
    a, _, g = parts_of(vit, x, classes)
    wanted = (a[-1] * g[-1]).clamp(min=0).mean(0)[0]
    assert torch.allclose(
        chefer(vit, x, classes, first=vit.depth - 1).map,
        vit.split(0).to_map(wanted[None]),
        rtol=1e-4,
    )


def test_legrad_asks_every_block_for_itself(vit):
    x, h = images(1), vit(images(1, seed=5)).detach()
    layers = []
    for layer in range(vit.depth):
        with torch.no_grad():
            z = vit.split(layer).prefix(x)
        out, a, _ = attention_blocks(vit)[layer](z.requires_grad_(), None)
        score = torch.cosine_similarity(vit.split(vit.depth).suffix(out), h)
        (g,) = torch.autograd.grad(score.sum(), a)
        layers.append(g.clamp(min=0).mean((1, 2)))
    assert torch.allclose(
        legrad(vit, x, h).map,
        vit.split(0).to_map(torch.stack(layers).mean(0)),
        rtol=1e-4,
        atol=1e-10,
    )


def test_text_rows_are_read_where_the_tower_reads_them(clip, conse):
    x = images(1, (224, 224))
    for model, reader in (
        (clip, lambda n: [0.0] * (n - 1) + [1.0]),
        (conse, lambda n: [1 / n] * n),
    ):
        with torch.no_grad():
            z = model.text.split(0).prefix(TEXTS[:1])
            a = [
                block(z, allowed_tokens(model.text, z.valid))
                for block in attention_blocks(model.text)[:1]
            ]
        got = attention_rollout(model.text, TEXTS[:1], model.encode_image(x))
        assert [len(t) for t in got.tokens] == [got.map.shape[1]]
        if model.text.depth:  # all blocks, by the loop
            states, maps = z, []
            with torch.no_grad():
                for block in attention_blocks(model.text):
                    states, a, _ = block(states, allowed_tokens(model.text, z.valid))
                    maps.append(a[0])
            wanted = rollout_loop(maps, reader(z.shape[1]))
            assert torch.allclose(got.map[0], wanted[1:-1].float(), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_texts(method, clip):
    h = clip.encode_image(images(2, (224, 224)))
    a = method(clip.text, TEXTS, h)
    assert a.tokens == clip.text.tokenize(TEXTS)[2]
    assert torch.isnan(a.map[0, 3:]).all() and not torch.isnan(a.map[1]).any()
    assert torch.allclose(a.map[0, :3], method(clip.text, TEXTS[:1], h[:1]).map[0], rtol=1e-3)
    other = method(clip.text, TEXTS, h.flip(0)).map
    assert torch.equal(other.nan_to_num(), a.map.nan_to_num()) == (method is attention_rollout)


def test_relevance_follows_the_rule_and_is_kept(vit):
    g = torch.Generator().manual_seed(0)
    x, weight, r = (
        torch.randn(5, generator=g),
        torch.randn(4, 5, generator=g),
        torch.rand(4, generator=g),
    )
    assert torch.allclose(
        linear(x[None, None], weight, r[None, None])[0, 0], linear_loop(x, weight, r), rtol=1e-4
    )
    with torch.no_grad():
        z = vit.split(3).prefix(images(2))
        block = attention_blocks(vit)[3]
        _, a, _ = block(z, None)
    n = vit.parts.last[0](vit.split(4).prefix(images(2)))
    start = positive_shares(lambda n: vit.head(vit.parts.last[1](n))[:, 2], n)
    r_z, r_a = through_block(block, z, a, start)
    assert torch.allclose(start.sum((1, 2)), torch.ones(2), atol=1e-5)
    assert torch.allclose(
        r_z.sum((1, 2)), torch.ones(2), rtol=0.05
    )  # but for what stays in the attention's own share
    assert r_a.shape == a.shape and r_a.abs().sum() > 0


def classifier(scale=3.0, **options):
    """A small timm ViT on 2 x 3 patches with a head for 3 classes, and the encoder around it."""
    shape = dict(img_size=(16, 24), patch_size=8, embed_dim=12, depth=3, num_heads=2)
    rest = dict(num_classes=3) | options
    model = seeded(lambda: timm.create_model("vit_tiny_patch16_224", **shape, **rest)).eval()
    for p in model.parameters():
        p.data.mul_(scale)  # away from the small start, where attention is even
    return model, xu.wrap(model)


@pytest.mark.parametrize(
    "end, options",
    [
        (class_token, {}),
        (mean_of_patches, dict(global_pool="avg")),
        (mean_of_patches, dict(global_pool="avg", class_token=False)),
    ],
)
def test_chefer_lrp_is_its_definition(end, options):
    model, encoder = classifier(**options)
    x = images(2, (16, 24))
    got = chefer_lrp(encoder, x, torch.tensor([1, 2])).map
    exact = copy.deepcopy(model).double()
    wanted = [chefer_lrp_loop(exact, x[i].double(), c, end) for i, c in enumerate((1, 2))]
    wanted = encoder.split(0).to_map(torch.stack(wanted)).float()
    assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-3 * float(wanted.max()))


def test_relevance_at_the_end_sums_to_one():
    for options in ({}, dict(global_pool="avg"), dict(global_pool="avg", fc_norm=False)):
        _, encoder = classifier(**options)
        with torch.no_grad():
            z = encoder.split(encoder.depth).prefix(images(2, (16, 24)))
        r = at_the_end(encoder, z, torch.tensor([0, 2]), torch.float32)
        assert torch.allclose(r.sum((1, 2)), torch.ones(2), atol=1e-5) and (r >= 0).all()
        read = (r.sum((0, 2)) > 0).tolist()
        assert read == [not options] + [bool(options)] * 6


@pytest.mark.parametrize("method", [chefer, chefer_lrp], ids=ids)
@pytest.mark.parametrize("pooling", ["token", "avg"])
def test_small_relevance_is_not_lost_beside_the_row_that_is_read(method, pooling):
    """Where a head is so weak that the map is linear in it, a weaker one gives the same map."""
    model, encoder = classifier(global_pool=pooling)
    x, classes, maps = images(2, (16, 24)), torch.tensor([1, 2]), []
    for strength in (1e-5, 1e-10):
        model.head.weight.data.mul_(strength / model.head.weight.abs().max())
        maps.append(method(encoder, x, classes).map / strength)
    assert maps[0].max() > 0 and torch.allclose(maps[1], maps[0], rtol=1e-2)


def test_a_head_of_zeros_gives_a_map_of_zeros():
    for options in ({}, dict(global_pool="avg"), dict(global_pool="avg", fc_norm=False)):
        model, encoder = classifier(**options)
        model.head.weight.data[1] = 0
        a = chefer_lrp(encoder, images(2, (16, 24)), torch.tensor([1, 2])).map
        assert (a[0] == 0).all() and a[1].max() > 0


def test_one_logit_has_a_map():
    _, encoder = classifier(num_classes=1)
    a = chefer_lrp(encoder, images(2, (16, 24)), torch.tensor([0, 0])).map
    assert a.max() > 0 and a.isfinite().all()


def test_map_pooling_is_refused():
    _, encoder = classifier(global_pool="map", class_token=False)
    with pytest.raises(ValueError, match="chefer_lrp needs a class token or a mean over tokens"):
        chefer_lrp(encoder, images(1, (16, 24)), torch.tensor([1]))
    assert chefer(encoder, images(1, (16, 24)), torch.tensor([1])).map.max() > 0


def test_what_has_no_attention_says_what_it_has(conse):
    with pytest.raises(
        ValueError, match="attention cannot be read from conse-lite0 image: it has Sequential"
    ):
        chefer(conse.image, images(1, (224, 224)), torch.ones(1, 384))
