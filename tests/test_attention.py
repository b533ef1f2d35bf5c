"""Attention read from re-run blocks, and the methods that live on it."""

import pytest
import timm
import torch
from planted import seeded
from reference.attention_loop import (
    ag_cam_loop,
    chefer_loop,
    chefer_lrp_loop,
    linear_loop,
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
from xai_utils.methods.chefer_lrp import linear, positive_shares, through_block
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


def test_chefer_lrp_is_its_definition():
    shape = dict(img_size=16, patch_size=8, embed_dim=12, depth=3, num_heads=2, num_classes=3)
    model = seeded(lambda: timm.create_model("vit_tiny_patch16_224", **shape)).double().eval()
    x = images(2, (16, 16)).double()
    for p in model.parameters():
        p.data.mul_(3)  # away from the small start, where attention is even
    encoder = xu.wrap(model)
    got = chefer_lrp(encoder, x, torch.tensor([1, 2])).map
    wanted = torch.stack([chefer_lrp_loop(model, x[0], 1), chefer_lrp_loop(model, x[1], 2)])
    assert torch.allclose(got, encoder.split(0).to_map(wanted).float(), rtol=1e-4)


def test_what_has_no_attention_says_what_it_has(conse):
    with pytest.raises(
        ValueError, match="attention cannot be read from conse-lite0 image: it has Sequential"
    ):
        chefer(conse.image, images(1, (224, 224)), torch.zeros(1, 384))
