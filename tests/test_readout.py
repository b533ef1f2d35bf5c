"""What the end of an image encoder reads in single tokens."""

import open_clip
import pytest
import timm
import torch
from planted import pieces, seeded, small_cnn

import xai_utils as xu
from xai_utils.methods.explainers import Explainer
from xai_utils.models.readout import read_tokens


def latent(encoder, n=2):
    x = torch.randn(n, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return x, encoder.split(encoder.depth).prefix(x)


def small_clip(**vision):
    vision = dict(image_size=32, layers=2, width=32, head_width=16, patch_size=8) | vision
    text = dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1)
    return seeded(lambda: open_clip.CLIP(24, vision, text)).eval()


def small_vit(**options):
    shape = dict(img_size=(32, 24), patch_size=8, embed_dim=32, depth=2, num_heads=2)
    make = timm.create_model
    return seeded(lambda: make("vit_tiny_patch16_224", **shape, num_classes=3, **options)).eval()


def test_of_a_clip_tower_it_is_the_last_norm_and_the_projection():
    model = small_clip()
    encoder = xu.wrap(model, tokenizer=open_clip.SimpleTokenizer()).image
    x, z = latent(encoder)
    with torch.no_grad():
        got, visual = read_tokens(encoder, z), model.visual
        assert torch.allclose(got, visual.ln_post(z) @ visual.proj, atol=1e-5)
        assert got.shape == (2, 17, 24)
        assert torch.allclose(got[:, 0], encoder(x), atol=1e-5)  # the class token is what is read


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_of_a_vit_it_is_the_norm(pool):
    model = small_vit(global_pool=pool, reg_tokens=1)
    for p in model.parameters():
        p.data.mul_(2)
    encoder = xu.wrap(model)
    x, z = latent(encoder)
    with torch.no_grad():
        got = read_tokens(encoder, z)
        wanted = (model.fc_norm if pool == "avg" else model.norm)(z)
        assert torch.allclose(got, wanted, atol=1e-5) and got.shape == (2, 14, 32)
        part = read_tokens(encoder, z[:, 2:5])
    assert torch.allclose(part, got[:, 2:5], atol=1e-6)


def test_where_a_norm_of_each_is_averaged_the_mean_of_all_is_the_embedding():
    encoder = xu.wrap(small_vit(global_pool="avg", fc_norm=False))
    x, z = latent(encoder)
    with torch.no_grad():
        assert torch.allclose(read_tokens(encoder, z)[:, 1:].mean(1), encoder(x), atol=1e-5)


def test_of_a_cnn_it_is_each_cell_in_turn():
    encoder = pieces(small_cnn())
    x, z = latent(encoder)
    with torch.no_grad():
        got = read_tokens(encoder, z)
        assert torch.equal(got, z.flatten(2).mT)  # (B, C, h, w), and its tail is the mean
        assert torch.allclose(got.mean(1), encoder(x), atol=1e-6)


def test_aha_reads_the_patches_by_it():
    encoder = xu.wrap(small_vit())
    x, z = latent(encoder)
    _, cells, _ = Explainer(encoder, grid=4, width=8).read(x)
    with torch.no_grad():
        wanted = read_tokens(encoder, z[:, 1:]).unflatten(1, (4, 3)).movedim(-1, 1)
    assert torch.equal(cells, wanted)


def test_texts_have_no_such_readout(conse):
    with pytest.raises(ValueError, match="read_tokens needs an image encoder"):
        read_tokens(conse.text, torch.zeros(1, 3, 384))
