"""Every text encoder against its library, and every kind of text."""

import pickle
import warnings
from functools import cache

import open_clip
import pytest
import torch
import transformers as hf
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from planted import seeded
from planted import tokenizer as minilm_tokenizer
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

import xai_utils as xu
from xai_utils.methods import chefer, m2ib, nib, p_ibisa, rise
from xai_utils.models.attention import attention_blocks
from xai_utils.models.clip import wrap_open_clip
from xai_utils.models.hf_text import text_encoder
from xai_utils.models.text import readable

pytestmark = pytest.mark.slow

TEXTS = ["a photo of a cat", "two dogs and a zebra run over the grass", "cat"]
LINES = [*TEXTS, "the quick brown fox jumps over the lazy dog", "猫 и собака", "tea time"]
SMALL = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2)


# --- tokenizers made on the spot


MARKS = ["<s>", "<pad>", "</s>", "<unk>"]


@cache
def vocabulary(kind: str) -> str:
    """A small tokenizer: "bytes" as RoBERTa's, "pieces" as T5's and Gemma's; ids of MARKS are 0 to
    3."""
    if kind == "bytes":
        t = Tokenizer(models.BPE(unk_token="<unk>"))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=MARKS, initial_alphabet=letters
        )
        t.train_from_iterator(["a photo of two dogs and a zebra"] * 5, trainer)
    else:
        t = Tokenizer(models.Unigram())
        t.normalizer = normalizers.Lowercase()
        t.pre_tokenizer = pre_tokenizers.Metaspace()
        t.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=MARKS, unk_token="<unk>")
        t.train_from_iterator(LINES * 20, trainer)
    return t.to_str()


def trained(kind: str, front: bool = True, behind: bool = True, **options):
    """One of these with special tokens in front of and behind a text."""
    t = Tokenizer.from_str(vocabulary(kind))
    single = " ".join(["<s>"] * front + ["$A"] + ["</s>"] * behind)
    t.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    return hf.PreTrainedTokenizerFast(tokenizer_object=t, **{**names, **options})


@cache
def clip_tokenizer():
    """transformers' tokenizer of CLIP from open_clip's vocabulary."""
    s = SimpleTokenizer()
    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {marks.get(k, k): i for k, i in s.encoder.items()}
    merges = sorted(s.bpe_ranks, key=s.bpe_ranks.get)
    return hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def open_clip_tokenizer(inner, length: int, strip=False, clean="whitespace") -> HFTokenizer:
    """open_clip's wrapper around a transformers tokenizer, without a hub."""
    t = HFTokenizer.__new__(HFTokenizer)
    t.tokenizer, t.context_length, t.tokenizer_mode, t.strip_sep_token = inner, length, "", strip
    t.clean_fn = open_clip.tokenizer.get_clean_fn(clean)
    return t


# --- models made on the spot


def clip_config(**text) -> dict:
    sides = dict(SMALL, initializer_range=0.3)
    text = {**sides, "vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406, **text}
    vision = dict(sides, image_size=32, patch_size=8)
    return dict(text_config=text, vision_config=vision, projection_dim=12)


SIGLIP_TEXT = dict(SMALL, vocab_size=200, max_position_embeddings=48, projection_size=12)


def with_spread(model):
    """Weights wide enough for texts to differ."""
    for p in model.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.3)
    return model.eval()


def bert(**more):
    size = dict(SMALL, vocab_size=30522, **more)
    return lambda: (hf.BertModel(hf.BertConfig(**size)), minilm_tokenizer())


def roberta_like(model, config):
    size = dict(SMALL, vocab_size=420, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    return lambda: (model(config(**size, max_position_embeddings=66)), trained("bytes"))


def electra():
    return hf.ElectraModel(hf.ElectraConfig(**SMALL, embedding_size=8)), minilm_tokenizer()


def albert():
    size = dict(SMALL, embedding_size=8, num_hidden_groups=2, vocab_size=30522)
    return hf.AlbertModel(hf.AlbertConfig(**size)), minilm_tokenizer()


def distilbert():
    config = hf.DistilBertConfig(dim=16, hidden_dim=32, n_layers=3, n_heads=2)
    return hf.DistilBertModel(config), minilm_tokenizer()


def clip(**text):
    return lambda: (hf.CLIPModel(hf.CLIPConfig(**clip_config(**text))), clip_tokenizer())


def clip_text(kind):
    config = hf.CLIPTextConfig(**clip_config()["text_config"], projection_dim=12)
    return lambda: (kind(config), clip_tokenizer())


def siglip(model, config):
    c = config(text_config=SIGLIP_TEXT, vision_config=dict(SMALL, image_size=32, patch_size=8))
    left = trained("pieces", front=False, padding_side="left", model_max_length=48)
    return lambda: (model(c), left)


def siglip_text():
    tokenizer = trained("pieces", front=False, model_max_length=48)
    return hf.SiglipTextModel(hf.SiglipTextConfig(**SIGLIP_TEXT)), tokenizer


def chinese_clip():
    text, vision = dict(SMALL, vocab_size=30522), dict(SMALL, image_size=32, patch_size=8)
    config = hf.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    return hf.ChineseCLIPModel(config), minilm_tokenizer()


# --- the libraries' own embeddings


def mean_pooled(model, ids, mask):
    """sentence-transformers' mean pooling, as its documentation writes it."""
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mask = mask.unsqueeze(-1).expand(states.size()).to(states.dtype)
    return torch.sum(states * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)


def features(model, ids, mask):
    return model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output


def unmasked(model, ids, mask):
    return model.get_text_features(input_ids=ids).pooler_output


def pooler_output(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).pooler_output


MODELS = {  # name -> a model with its tokenizer, and the library's own embedding of ids and mask
    "ALBERT": (albert, mean_pooled),
    "BERT": (bert(), mean_pooled),
    "BERT, eager": (bert(attn_implementation="eager"), mean_pooled),
    "BERT, decoder": (bert(is_decoder=True), mean_pooled),
    "CamemBERT": (roberta_like(hf.CamembertModel, hf.CamembertConfig), mean_pooled),
    "Chinese CLIP": (chinese_clip, features),
    "CLIP": (clip(), features),
    "CLIP, old end": (clip(eos_token_id=2), features),
    "CLIP text": (clip_text(hf.CLIPTextModel), pooler_output),
    "CLIP text, projected": (
        clip_text(hf.CLIPTextModelWithProjection),
        lambda m, ids, mask: m(input_ids=ids, attention_mask=mask).text_embeds,
    ),
    "DistilBERT": (distilbert, mean_pooled),
    "ELECTRA": (electra, mean_pooled),
    "MPNet": (roberta_like(hf.MPNetModel, hf.MPNetConfig), mean_pooled),
    "RoBERTa": (roberta_like(hf.RobertaModel, hf.RobertaConfig), mean_pooled),
    "SigLIP": (siglip(hf.SiglipModel, hf.SiglipConfig), unmasked),
    "SigLIP 2": (siglip(hf.Siglip2Model, hf.Siglip2Config), unmasked),
    "SigLIP text": (siglip_text, lambda m, ids, mask: m(input_ids=ids).pooler_output),
    "XLM-R": (roberta_like(hf.XLMRobertaModel, hf.XLMRobertaConfig), mean_pooled),
}


def tower(kind=CustomTextCLIP, **text):
    """A tiny open_clip model whose text tower is built as `text` says."""
    size = dict(width=16, heads=2, layers=3, vocab_size=49408)
    vision = CLIPVisionCfg(layers=1, width=16, head_width=8, image_size=32, patch_size=16)
    return kind(embed_dim=12, vision_cfg=vision, text_cfg=CLIPTextCfg(**{**size, **text}))


def masked(model):
    """The model with its padding hidden, which no configuration of open_clip's asks for yet."""
    model.text.use_pad_mask = True
    return model


def hf_tower(pooler: str):
    """A tiny open_clip model with a text tower of transformers."""
    from open_clip.hf_model import HFTextEncoder

    model, size = tower(), dict(SMALL, vocab_size=420, pad_token_id=1, max_position_embeddings=66)
    config = hf.XLMRobertaConfig(**size)
    model.text = HFTextEncoder("", 12, config=config, pooler_type=pooler, proj_type="mlp")
    return model, open_clip_tokenizer(trained("bytes"), 60)


SIGLIP = dict(
    no_causal_mask=True, pool_type="last", proj_bias=True, context_length=48, vocab_size=200
)
COCA = dict(embed_cls=True, output_tokens=True, context_length=20)
TOWERS = {  # name -> a model, its tokenizer
    "CLIP": lambda: (tower(CLIP), SimpleTokenizer()),
    "EVA02": lambda: (tower(), SimpleTokenizer()),
    "tokens too": lambda: (tower(output_tokens=True), SimpleTokenizer()),
    "no projection": lambda: (tower(proj_type="none"), SimpleTokenizer()),
    "CLIPA": lambda: (
        tower(no_causal_mask=True, pool_type="last", context_length=16),
        open_clip_tokenizer(minilm_tokenizer(), 16, strip=True),
    ),
    "CoCa": lambda: (tower(**COCA), SimpleTokenizer(context_length=20)),
    "custom blocks": lambda: (tower(scale_attn=True, qk_norm=True), SimpleTokenizer()),
    "MetaCLIP 2": lambda: (
        tower(pool_type="eos", vocab_size=420, eos_id=2),
        open_clip_tokenizer(trained("bytes"), 77),
    ),
    "MobileCLIP": lambda: (tower(no_causal_mask=True), SimpleTokenizer()),
    "pad mask": lambda: (masked(tower(no_causal_mask=True)), SimpleTokenizer()),
    "SigLIP": lambda: (
        tower(**SIGLIP),
        open_clip_tokenizer(trained("pieces", front=False), 48, clean="canonicalize"),
    ),
    "XLM-R": lambda: hf_tower("mean_pooler"),
    "XLM-R, first token": lambda: hf_tower("cls_pooler"),
    "XLM-R, first state": lambda: hf_tower("cls_last_hidden_state_pooler"),
}


def library_ids(tokenizer, texts, name):
    """As the library's own examples call a tokenizer, padded on the right."""
    tokenizer.padding_side = "right"
    padding = "max_length" if "SigLIP" in name else True
    batch = tokenizer(texts, padding=padding, truncation=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def own_text(model, tokenizer, texts):
    """open_clip's own embedding."""
    out = (model.text if hasattr(model, "text") else model.encode_text)(tokenizer(texts))
    return out[0] if isinstance(out, tuple) else out


@cache
def made(name: str):
    """An encoder, and the library's own embedding of texts."""
    if name.startswith("open_clip "):
        model, tokenizer = seeded(TOWERS[name.removeprefix("open_clip ")])
        seeded(lambda: with_spread(model))
        encoder = wrap_open_clip(model, tokenizer).text
        return encoder, lambda texts: own_text(model, tokenizer, texts)
    build, embed = MODELS[name]
    model, tokenizer = seeded(build)
    seeded(lambda: with_spread(model))
    encoder = text_encoder(model, tokenizer)
    return encoder, lambda texts: embed(model, *library_ids(tokenizer, texts, name))


NAMES = [*MODELS, *(f"open_clip {name}" for name in TOWERS)]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_embeddings_are_the_librarys_own_alone_and_in_company(name):
    encoder, own = made(name)
    assert encoder.parts is not None, encoder.no_split
    wanted = own(TEXTS)
    together = encoder(TEXTS)
    assert torch.allclose(together, wanted, rtol=1e-5, atol=1e-5)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-2
    for text, h in zip(TEXTS, together):
        assert torch.allclose(encoder([text])[0], h, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_two_halves_are_the_encoder_bit_for_bit(name):
    encoder, _ = made(name)
    h = encoder(TEXTS)
    for layer in range(encoder.depth + 1):
        split = encoder.split(layer)
        z = split.prefix(TEXTS)
        assert torch.equal(split.suffix(z), h)
        rows = torch.tensor([2, 0])
        part = split.suffix(z[rows], like=z, rows=rows)
        assert torch.allclose(part, h[rows], rtol=1e-5, atol=1e-5)
        scores = split.to_map(torch.ones(z.shape[:2]), like=z)
        lengths = [len(words) for words in encoder.tokenize(TEXTS)[2]]
        assert (~scores.isnan()).sum(1).tolist() == lengths and scores.shape[1] == max(lengths)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_encoders_can_be_pickled(name):
    encoder, _ = made(name)
    again = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(again(TEXTS), encoder(TEXTS))


@torch.no_grad()
def test_the_kits_own_text_side_can_be_pickled(conse):
    again = pickle.loads(pickle.dumps(conse.text))
    assert torch.equal(again(TEXTS), conse.text(TEXTS))


@pytest.mark.parametrize("name", NAMES)
def test_methods_score_every_word_for_the_target(name):
    encoder, _ = made(name)
    targets = torch.randn(2, 3, encoder.dim, generator=torch.Generator().manual_seed(0))
    lengths = [len(words) for words in encoder.tokenize(TEXTS)[2]]
    runs = dict(
        p_ibisa=lambda t: p_ibisa(encoder, TEXTS, t, masks=2, steps=2, seed=0),
        m2ib=lambda t: m2ib(encoder, TEXTS, t, steps=10, layer=1, seed=0),
        nib=lambda t: nib(encoder, TEXTS, t, steps=3, layer=1),
        rise=lambda t: rise(encoder, TEXTS, t, masks=20, seed=0),
    )
    for method, run in runs.items():
        one, other = run(targets[0]), run(targets[1])
        assert [len(words) for words in one.tokens] == lengths
        for row, n in zip(one.map, lengths):
            assert row[:n].isfinite().all() and row[n:].isnan().all(), method
        assert not torch.allclose(one.map[0, : lengths[0]], other.map[0, : lengths[0]]), method


@pytest.mark.parametrize("name", ["SigLIP", "open_clip SigLIP", "open_clip MobileCLIP"])
def test_nib_counts_the_padding_that_a_model_sees(name):
    encoder, _ = made(name)
    target = torch.randn(3, encoder.dim, generator=torch.Generator().manual_seed(0))
    trace = nib(encoder, TEXTS, target, steps=4, layer=1).trace
    split, total = encoder.split(1), torch.zeros(3)
    z = split.prefix(TEXTS)
    for t in (0.25, 0.5, 0.75, 1.0):
        x = (t * z).detach().requires_grad_()
        s = torch.nn.functional.cosine_similarity(split.suffix(x, like=z), target).sum()
        total += (torch.autograd.grad(s, x)[0] * z).sum((1, 2)) / 4
    change = trace["similarity"][-1] - trace["similarity"][0]
    assert torch.allclose(trace["gap"][0], total - change, rtol=1e-3, atol=1e-4)


# --- the same weights in two libraries


def same_weights():
    """A tiny CLIP of open_clip and one of transformers whose text side has its weights."""
    ours = seeded(lambda: with_spread(tower(CLIP)))
    config = hf.CLIPConfig(**clip_config(hidden_act="gelu", intermediate_size=64))
    theirs, weights = hf.CLIPModel(config).eval(), {}
    for i, block in enumerate(ours.transformer.resblocks):
        layer = f"text_model.encoder.layers.{i}."
        for side in ("weight", "bias"):
            qkv = getattr(block.attn, f"in_proj_{side}").chunk(3)
            for letter, value in zip("qkv", qkv):
                weights[f"{layer}self_attn.{letter}_proj.{side}"] = value
            for name, module in {
                "self_attn.out_proj": block.attn.out_proj,
                "layer_norm1": block.ln_1,
                "layer_norm2": block.ln_2,
                "mlp.fc1": block.mlp.c_fc,
                "mlp.fc2": block.mlp.c_proj,
            }.items():
                weights[f"{layer}{name}.{side}"] = getattr(module, side)
    weights["text_model.embeddings.token_embedding.weight"] = ours.token_embedding.weight
    weights["text_model.embeddings.position_embedding.weight"] = ours.positional_embedding
    weights["text_model.final_layer_norm.weight"] = ours.ln_final.weight
    weights["text_model.final_layer_norm.bias"] = ours.ln_final.bias
    weights["text_projection.weight"] = ours.text_projection.T
    left = theirs.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys and not [k for k in left.missing_keys if "text" in k]
    return wrap_open_clip(ours, SimpleTokenizer()).text, text_encoder(theirs, clip_tokenizer())


def test_a_clip_gives_the_same_maps_from_both_libraries():
    one, other = same_weights()
    target = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    for method in (nib, lambda *a, **k: m2ib(*a, seed=0, **k)):
        a, b = (method(e, TEXTS, target, steps=10, layer=0) for e in (one, other))
        assert torch.allclose(a.map, b.map, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert a.tokens == b.tokens and a.map.nan_to_num().abs().max() > 0.01


# --- kinds of tokenizer


def roberta(tokenizer, **options):
    model, _ = seeded(MODELS["RoBERTa"][0])
    return text_encoder(seeded(lambda: with_spread(model)), tokenizer, **options)


@torch.no_grad()
def test_left_padding_tokenizers_pad_on_the_right():
    model, _ = seeded(bert())
    seeded(lambda: with_spread(model))
    left = hf.AutoTokenizer.from_pretrained(minilm_tokenizer().name_or_path, padding_side="left")
    encoder = text_encoder(model, left)
    together = encoder(TEXTS)
    assert encoder.tokenize(TEXTS)[1][:, 0].all()
    for text, h in zip(TEXTS, together):
        assert torch.allclose(encoder([text])[0], h, atol=1e-5)
    assert torch.equal(together, text_encoder(model, minilm_tokenizer())(TEXTS))


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("behind", [True, False])
def test_tokenizers_with_and_without_special_tokens_keep_every_word(front, behind):
    encoder = roberta(trained("bytes", front, behind))
    assert encoder.special == (front, behind)
    assert "".join(encoder.tokenize(["a photo of two dogs"])[2][0]) == "aphotooftwodogs"
    target = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    map = nib(encoder, ["a photo of two dogs"], target, steps=3, layer=1).map
    assert map.shape[1] == len(encoder.tokenize(["a photo of two dogs"])[2][0])
    assert map.isfinite().all() and (map != 0).all()


@pytest.mark.parametrize(
    "text", ["\u200b", "\u200b\u2060", "\u3000\u2003", "\u2800", "\ufe0f", "</s> <s>", "\x07"]
)
def test_texts_without_words_are_refused(text):
    encoder = roberta(trained("bytes"))
    target = torch.randn(2, 16)
    calls = [
        lambda: encoder(["a cat", text]),
        lambda: encoder.tokenize(["a cat", text]),
        lambda: p_ibisa(encoder, ["a cat", text], target, steps=1, masks=1),
        lambda: nib(encoder, ["a cat", text], target, steps=1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"texts\[1\]"):
            call()


@pytest.mark.parametrize("name", ["BERT", "CLIP", "SigLIP", "open_clip CLIP", "open_clip CoCa"])
def test_zero_width_texts_have_no_words_for_any_tokenizer(name):
    encoder, _ = made(name)
    with pytest.raises(ValueError, match=r"texts\[0\] has no words for this tokenizer"):
        encoder(["\u200b", "a cat"])


def test_only_special_tokens_are_no_words():
    for name, text in {
        "BERT": "[CLS] [SEP]",
        "CLIP": "<|endoftext|>",
        "open_clip CLIP": "<end_of_text>",
    }.items():
        with pytest.raises(ValueError, match="has no words"):
            made(name)[0]([text])


def test_an_encoder_without_split_refuses_them_too():
    config = hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=420, n_positions=64)
    encoder = text_encoder(seeded(lambda: hf.GPT2Model(config)), trained("bytes"))
    assert encoder.parts is None and encoder(["a cat", "two dogs"]).shape == (2, 16)
    assert torch.allclose(encoder(["a cat", "two dogs"])[0], encoder(["a cat"])[0], atol=1e-5)
    with pytest.raises(ValueError, match="no row for GPT2Model"):
        encoder.split(0)
    with pytest.raises(ValueError, match="has no words"):
        encoder(["\u200b"])


@pytest.mark.parametrize(
    ("name", "limit"), [("BERT", 512), ("open_clip CLIP", 77), ("CLIP", 77), ("SigLIP", 48)]
)
@torch.no_grad()
def test_a_text_that_is_cut_says_so_once(name, limit):
    encoder, own = made(name)
    texts = ["a cat", "cat " * 600]
    with pytest.warns(UserWarning) as seen:
        h = encoder(texts)
    pieces = trained("pieces", front=False)(texts[1])["input_ids"]
    lost = (len(pieces) if name == "SigLIP" else 602) - limit
    assert len(seen) == 1 and f"texts[1] loses {lost} tokens" in str(seen[0].message)
    assert "texts[0]" not in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(encoder(texts[:1])[0], h[0], atol=1e-5)
    assert torch.allclose(h, own(texts), atol=1e-5)


@pytest.mark.parametrize("length", [17, 18, 19, 40])
@torch.no_grad()
def test_coca_at_the_end_of_its_context(length):
    encoder, own = made("open_clip CoCa")
    texts = [" ".join(["cat"] * length), "a cat"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.allclose(encoder(texts), own(texts), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_coca_with_the_mask_as_it_should_be():
    model = seeded(lambda: with_spread(tower(**COCA, layers=2)))
    model.text.correct_cls_mask = True
    encoder = wrap_open_clip(model, SimpleTokenizer(context_length=20)).text
    texts = ["a cat", " ".join(["cat"] * 18)]
    wanted = own_text(model, SimpleTokenizer(context_length=20), texts)
    assert encoder.special == (1, 2) and torch.allclose(encoder(texts), wanted, atol=1e-5)


def test_characters_spread_over_tokens_are_shown_by_their_parts():
    clip, roberta_like = made("open_clip CLIP")[0], roberta(trained("bytes"))
    assert clip.tokenize(["猫 cat"])[2] == [["猫 1/3", "猫 2/3", "猫 3/3", "cat"]]
    assert made("CLIP")[0].tokenize(["猫 cat"])[2] == [["猫 1/3", "猫 2/3", "猫 3/3", "cat"]]
    assert roberta_like.tokenize(["猫"])[2] == [["猫 1/3", "猫 2/3", "猫 3/3"]]
    words = roberta_like.tokenize(["a photo of two dogs, ёж"])[2][0]
    assert not any("Ġ" in word or "\ufffd" in word for word in words)
    assert "photo" in words and "ё 1/2" in words
    assert not any("\u2581" in w for w in made("SigLIP")[0].tokenize(["a photo of a cat"])[2][0])


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        ([b" cat", b"s"], ["cat", "s"]),
        ([b"a\xe7\x8c", b"\xabb"], ["a 猫 1/2", "猫 2/2b"]),
        ([b"\xe7\x8c"], ["\ufffd"]),
        ([b"\xe7", b"\x8c", b"x"], ["\ufffd 1/2", "\ufffd 2/2", "x"]),
        ([b" "], ["\u2423"]),
        (["🙂".encode()[:1], "🙂".encode()[1:]], ["🙂 1/2", "🙂 2/2"]),
    ],
)
def test_readable(tokens, wanted):
    assert readable(tokens) == wanted


def test_a_tokenizer_without_padding_pads_with_its_end():
    encoder = roberta(trained("bytes", pad_token=None))
    assert encoder.blank == 2
    with pytest.raises(ValueError, match="neither a padding token nor"):
        roberta(trained("bytes", pad_token=None, eos_token=None))


def test_a_tokenizer_of_another_vocabulary_is_refused_at_once():
    model, _ = seeded(MODELS["RoBERTa"][0])
    with pytest.raises(ValueError, match="tokenizer does not fit the model: it has 30522 ids"):
        xu.wrap(model, tokenizer=minilm_tokenizer())
    with pytest.raises(ValueError, match="tokenizer does not fit the model"):
        wrap_open_clip(tower(vocab_size=500), SimpleTokenizer())
    with pytest.raises(ValueError, match="tokenizer does not fit the model: CLIP reads"):
        text_encoder(seeded(clip())[0], trained("bytes"))
    more = trained("bytes")
    more.add_tokens([f"word{i}" for i in range(300)])
    with pytest.raises(
        ValueError, match=r"gives texts\[1\] the id \d\d\d, and the model knows 420"
    ):
        text_encoder(model, more)(["a cat", "word299"])
    with pytest.raises(TypeError, match="tokenizer must be a transformers tokenizer, got function"):
        text_encoder(model, readable)


def test_cross_attention_is_refused():
    model, tokenizer = bert(is_decoder=True, add_cross_attention=True)()
    with pytest.raises(ValueError, match="cross attention"):
        text_encoder(model, tokenizer)


def test_what_open_clip_reads_in_an_unknown_way_has_no_split():
    model = tower(no_causal_mask=True, pool_type="last")
    tokenizer = SimpleTokenizer()
    encoder = wrap_open_clip(masked(model), tokenizer).text
    wanted = own_text(model.eval(), tokenizer, TEXTS)
    assert torch.allclose(encoder(TEXTS), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="last pooling"):
        encoder.split(0)
    with pytest.raises(ValueError, match="has no words"):
        encoder(["\u200b"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_pieces_work_in_other_precisions(name, dtype):
    exact, _ = made(name)
    if name.startswith("open_clip "):
        model, tokenizer = seeded(TOWERS[name.removeprefix("open_clip ")])
        seeded(lambda: with_spread(model))
        encoder = wrap_open_clip(model.to(dtype), tokenizer).text
    else:
        model, tokenizer = seeded(MODELS[name][0])
        seeded(lambda: with_spread(model))
        encoder = text_encoder(model.to(dtype), tokenizer)
    assert encoder.dtype == dtype and encoder.parts is not None
    split = encoder.split(1)
    h = split.suffix(split.prefix(TEXTS)).float()
    close = torch.nn.functional.cosine_similarity(h, exact(TEXTS))
    assert (close > (0.98 if dtype == torch.bfloat16 else 1 - 1e-5)).all()


@torch.no_grad()
def test_open_clip_in_mixed_precision():
    from open_clip.model import convert_weights_to_lp

    model = seeded(lambda: with_spread(tower()))
    exact = wrap_open_clip(model, SimpleTokenizer()).text(TEXTS)
    convert_weights_to_lp(model.text, torch.bfloat16)
    encoder = wrap_open_clip(model, SimpleTokenizer()).text
    assert encoder.dtype == torch.bfloat16 and encoder.parts is not None
    assert (torch.nn.functional.cosine_similarity(encoder(TEXTS).float(), exact) > 0.98).all()


@pytest.mark.parametrize("name", NAMES)
def test_attention_is_read_with_the_masks_of_the_tower(name):
    encoder, _ = made(name)
    texts = ["a red car", "two small green apples"]
    h = torch.randn(2, encoder.dim, generator=torch.Generator().manual_seed(0))
    assert len(attention_blocks(encoder)) == encoder.depth  # which compares them with the blocks
    alone = chefer(encoder, texts[:1], h[:1]).map[0]
    assert alone.max() > 0
    assert torch.allclose(chefer(encoder, texts, h).map[0, : len(alone)], alone, rtol=1e-2)
