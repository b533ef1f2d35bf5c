"""Every family of image models that the kit knows: its embedding, its logits and its splits."""

import pickle

import families
import pytest
import torch
from families import settled
from torch import nn
from torchvision import models as tv
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import xai_utils as xu
from xai_utils.models.clip import OPEN_CLIP_LAYOUT
from xai_utils.models.timm_families import NO_SPLIT, TIMM_LAYOUT
from xai_utils.models.torchvision_models import TORCHVISION_LAYOUT

MEMBERS = (
    [("timm", family) for family in families.TIMM]
    + [("torchvision", family) for family in families.TORCHVISION]
    + [("open_clip", kind) for kind in families.OPEN_CLIP]
)
BUILD = dict(
    timm=families.timm_model,
    torchvision=families.torchvision_model,
    open_clip=families.open_clip_model,
)


class Tokenizer:
    """Words of CLIP's tokenizer, without its file."""

    eot_token_id = 2

    def __call__(self, texts):
        return torch.tensor([[1, 5, 6, 49407] + [0] * 73 for _ in texts])

    def decode(self, ids):
        return str(ids)


def wrapped(library: str, model: nn.Module):
    if library == "open_clip":
        return xu.wrap(model, tokenizer=Tokenizer()).image
    return xu.wrap(model)


def library_output(library: str, model: nn.Module, x):
    """(embedding, logits) as the library itself gives them; None for what it does not have."""
    if library == "open_clip":
        h = model.encode_image(x)
        return (h[0] if isinstance(h, tuple) else h).reshape(len(x), -1), None
    if library == "timm":
        h = model.forward_head(model.forward_features(x), pre_logits=True)
        return h.flatten(1), model(x)
    node = [n for n in get_graph_node_names(model)[1] if not n.startswith("head")][-1]
    if not isinstance(model, (tv.VisionTransformer, tv.SwinTransformer)):
        node = get_graph_node_names(model)[1][-2]  # what enters the last layer
    if isinstance(model, tv.SqueezeNet):
        return model(x), model(x)
    return create_feature_extractor(model, [node])(x)[node].flatten(1), model(x)


def close(a, b, at_most=1e-5) -> bool:
    """Equal to 1e-5 of the largest value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= at_most * b.abs().max())


def pictures(encoder, n=2):
    x = torch.randn(n, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
    return x.to(encoder.dtype)


def assert_splits(encoder, x, h):
    deep = encoder.depth > 7
    some = {0, 1, encoder.depth // 2, encoder.depth - 1, encoder.depth}
    for layer in some if deep else range(encoder.depth + 1):
        split = encoder.split(layer)
        z = split.prefix(x)
        before = z.clone()
        assert torch.equal(split.suffix(z), h), f"layer {layer}"
        assert torch.equal(z, before), f"layer {layer} is overwritten"
        if encoder.tokens is None:
            assert z.ndim == 4
            scores = z[:, 0]
        else:
            extra, (rows, columns) = encoder.tokens
            assert z.shape[:2] == (len(x), extra + rows * columns)
            scores = z[..., 0]
        assert split.to_map(scores).shape == (len(x), *encoder.image_size)


def test_every_row_has_a_member():
    assert set(families.TIMM) == set(TIMM_LAYOUT) | set(NO_SPLIT)
    assert not set(TIMM_LAYOUT) & set(NO_SPLIT)
    assert set(families.TORCHVISION) == set(TORCHVISION_LAYOUT)
    assert {k.split(",")[0] for k in families.OPEN_CLIP} == {*OPEN_CLIP_LAYOUT, "TimmModel"}


@pytest.mark.parametrize(("library", "family"), MEMBERS)
def test_family(library, family):
    model = BUILD[library](family)
    encoder = wrapped(library, model)  # shares its weights and batch statistics
    if library != "open_clip":
        settled(model, pictures(encoder, 4))
    x = pictures(encoder)
    with torch.no_grad():
        h = encoder(x)
        same = x.contiguous(memory_format=torch.channels_last) if encoder.channels_last else x
        embedding, logits = library_output(library, model, same)
        assert close(h, embedding)
        assert encoder.head is None or close(encoder.head(h), logits)
        if library == "timm" and family in NO_SPLIT:
            assert encoder.parts is None and encoder.no_split == NO_SPLIT[family]
            with pytest.raises(ValueError, match="has no split"):
                encoder.split(0)
        else:
            assert encoder.depth > 0, encoder.no_split
            assert_splits(encoder, x, h)
            parts, head = pickle.loads(pickle.dumps((encoder.parts, encoder.head)))
            z = parts.stem(same)
            for block in parts.blocks:
                z = block(z)
            assert torch.equal(parts.tail(z), h)
    x, direction = x.requires_grad_(), torch.randn(h.shape)
    (gradient,) = torch.autograd.grad((encoder(x) * direction).sum(), x)
    assert gradient.isfinite().all() and bool(gradient.flatten(1).any(1).all())
