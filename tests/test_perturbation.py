import pytest
import torch
from reference.metrics_loop import perturbation_curve_loop
from torch import nn

import xai_utils as xu
from xai_utils.corruption import reference_image
from xai_utils.metrics import (
    cap_lerf,
    cap_morf,
    caption_curve,
    deletion_auc,
    insertion_auc,
    lerf,
    morf,
    negative_perturbation_auc,
    occlusion_drop,
    perturbation_curve,
    positive_perturbation_auc,
    removed,
)
from xai_utils.metrics.base import sharing
from xai_utils.metrics.captions import SCORES
from xai_utils.metrics.perturbation import block_ranks

CURVES = [
    morf,
    lerf,
    deletion_auc,
    insertion_auc,
    positive_perturbation_auc,
    negative_perturbation_auc,
]


def small_cases(b=3, size=32):
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(b, 3, size, size, generator=g),
        torch.randn(b, 10, generator=g),
        torch.rand(b, size, size, generator=g),
    )


@pytest.mark.parametrize("first", ["most", "least"])
@pytest.mark.parametrize(
    ("block", "insert", "reference"), [(8, False, "zero"), (16, True, "blur"), (5, False, "mean")]
)
def test_the_curve_is_the_literal_loop(small, first, block, insert, reference):
    encoder = xu.wrap(small)
    x, h, map = small_cases()
    fast = perturbation_curve(
        encoder, x, h, map, first=first, block=block, insert=insert, reference=reference, chunk=7
    )
    other = reference_image(encoder, x, reference)
    for i in range(len(x)):
        slow = perturbation_curve_loop(
            encoder.whole,
            x[i],
            h[i],
            map[i],
            block=block,
            first=first,
            reference=other[i],
            insert=insert,
        )
        assert torch.allclose(fast[i], torch.tensor(slow), atol=1e-5)


def test_class_targets_follow_the_probability(classifier):
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    map = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(1))
    fast = perturbation_curve(classifier, x, torch.tensor([7]), map, first="most", block=56)
    slow = perturbation_curve_loop(
        classifier,
        x[0],
        7,
        map[0],
        block=56,
        first="most",
        reference=torch.zeros_like(x[0]),
        head=classifier.head,
    )
    assert torch.allclose(fast[0], torch.tensor(slow), atol=1e-5)


class Sum(nn.Module):
    """The embedding is the mean of the red channel, so every block of ones counts the same."""

    def forward(self, x):
        red = x[:, 0].mean((1, 2))
        return torch.stack([red, 1 - red], 1)


def test_closed_form_on_a_counting_encoder():
    """With red = share r of the picture left, cos to (1, 0) is r / sqrt(r^2 + (1 - r)^2)."""
    encoder = xu.wrap(Sum())
    x, target = torch.ones(1, 3, 32, 32), torch.tensor([[1.0, 0.0]])
    r = torch.linspace(1, 0, 17)
    wanted = (r / (r**2 + (1 - r) ** 2).sqrt()).mean()
    for map in (torch.rand(1, 32, 32), torch.ones(1, 32, 32)):
        assert torch.allclose(morf(encoder, x, target, map), wanted, atol=1e-5)
        assert torch.allclose(lerf(encoder, x, target, map), wanted, atol=1e-5)


class Corner(nn.Module):
    """Depends on the upper left 8 x 8 block alone; two classes."""

    def forward(self, x):
        there = x[:, 0, :8, :8].mean((1, 2))
        return torch.stack([there, torch.zeros_like(there)], 1)


def corner():
    from dataclasses import replace

    encoder = replace(
        xu.wrap(Corner()), head=lambda h: 20 * h - torch.tensor([10.0, 0.0])
    )  # class 0 above one half
    best = torch.zeros(1, 32, 32)
    best[:, :8, :8] = 1
    return encoder, torch.ones(1, 3, 32, 32), torch.tensor([0]), best


def test_perfect_and_worst_map():
    encoder, x, target, best = corner()
    random = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(3))
    for metric in CURVES:
        options = (
            dict(reference="zero")
            if "auc" in metric.slug and "perturbation" not in metric.slug
            else {}
        )
        values = [metric(encoder, x, target, m, **options).item() for m in (best, random, -best)]
        if metric.higher_is_better:
            values = values[::-1]
        assert values[0] < values[1] < values[2], metric.slug
    assert morf(encoder, x, target, best) < 0.1
    assert lerf(encoder, x, target, best) > 0.9


@pytest.mark.parametrize("metric", CURVES, ids=lambda m: m.slug)
def test_only_the_order_of_the_map_counts_and_batches_do_not(metric):
    encoder, x, target, best = corner()
    g = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 32, 32, generator=g)
    x, target = x.repeat(3, 1, 1, 1) * torch.rand(3, 1, 1, 1, generator=g), target.repeat(3)
    if metric.slug in (
        "morf",
        "lerf",
    ):  # blocks are ranked by their mean: an affine change keeps the order
        changed = [3 * maps + 7]
    else:
        changed = [maps**3, maps.exp(), 3 * maps + 7]
    whole = metric(encoder, x, target, maps)
    assert whole.shape == (3,)
    for other in changed:
        assert torch.equal(metric(encoder, x, target, other), whole)
    alone = torch.cat(
        [metric(encoder, x[i : i + 1], target[i : i + 1], maps[i : i + 1]) for i in range(3)]
    )
    assert torch.allclose(whole, alone, atol=1e-6)


def test_ties_are_broken_at_random_but_always_alike():
    ranks = block_ranks(torch.ones(2, 32, 32), 8)
    assert torch.equal(ranks[0], ranks[1])
    assert sorted(ranks[0].unique().tolist()) == list(range(16))
    assert ranks[0, ::8, ::8].flatten().tolist() != list(range(16))


def test_references(classifier):
    x = torch.randn(2, 3, 224, 224)
    black = reference_image(classifier, x, "black")
    raw = black * torch.tensor(classifier.std).view(1, 3, 1, 1) + torch.tensor(
        classifier.mean
    ).view(1, 3, 1, 1)
    assert torch.allclose(raw, torch.zeros(()), atol=1e-6)
    assert torch.allclose(reference_image(classifier, x, "mean")[:, :, 0, 0], x.mean((2, 3)))
    assert reference_image(classifier, x, "blur").std() < 0.2 * x.std()
    with pytest.raises(
        ValueError, match="reference must be one of zero, black, mean, blur, got 'white'"
    ):
        reference_image(classifier, x, "white")


def test_all_references_are_averaged(small):
    x, h, map = small_cases()
    each = [
        deletion_auc(xu.wrap(small), x, h, map, reference=r, steps=8)
        for r in ("black", "mean", "blur")
    ]
    assert torch.allclose(
        deletion_auc(xu.wrap(small), x, h, map, steps=8), torch.stack(each).mean(0)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(first="some"), "first must be"),
        (dict(first="most", steps=17), "steps must be an integer from 1 to 16"),
        (dict(first="most", block=0), "block must be"),
        (dict(first="most", hits=True), "hits needs class indices"),
    ],
)
def test_bad_options(small, options, message):
    x, h, map = small_cases()
    with pytest.raises(ValueError, match=message):
        perturbation_curve(xu.wrap(small), x, h, map, **options)


def test_class_targets_need_a_head_and_a_class(small, classifier):
    x, _, map = small_cases()
    with pytest.raises(ValueError, match="no classifier head"):
        morf(xu.wrap(small), x, torch.tensor([1, 2, 3]), map)
    with pytest.raises(ValueError, match=r"lie in 0\.\.999"):
        morf(
            classifier, torch.zeros(1, 3, 224, 224), torch.tensor([1000]), torch.zeros(1, 224, 224)
        )


def test_captions_change_when_what_they_name_goes():
    encoder, x, target, best = corner()

    def captioner(images):
        return [
            "a red corner" if there > 0.5 else "nothing at all"
            for there in images[:, 0, :8, :8].mean((1, 2))
        ]

    for score in ("bleu", "rouge1", "rouge2", "rougel"):
        options = dict(captioner=captioner, score=score, steps=16)
        # the one block that matters goes first: no caption is like the first one; last: 15 of 16
        # are
        assert cap_morf(encoder, x, target, best, **options).item() == pytest.approx(0, abs=1e-6)
        assert cap_lerf(encoder, x, target, best, **options).item() == pytest.approx(15 / 16)
    with pytest.raises(ValueError, match="score must be one of meteor, bleu"):
        cap_morf(encoder, x, target, best, captioner=captioner, score="cider")


def test_all_scores_of_a_case_share_one_run_of_the_captioner():
    encoder = xu.wrap(lambda x: x.mean((2, 3)), image_size=(32, 32))
    x, map = torch.ones(2, 3, 32, 32), torch.arange(2048.0).view(2, 32, 32)
    h, asked = encoder(x), []

    def captioner(images):
        asked.append(len(images))
        return ["a" * (1 + int(v > 0.5)) for v in images.mean((1, 2, 3))]

    options = dict(captioner=captioner, steps=4)
    with sharing():
        curves = {
            k: caption_curve(encoder, x, h, map, score=k, **options)
            for k in ("bleu", "rouge1", "rougel")
        }
    assert asked == [5, 5]
    assert curves["rouge1"].tolist() == [[1, 0, 0, 0]] * 2
    assert torch.equal(
        curves["rouge1"].mean(1),
        cap_morf(encoder, x, h, map, score="rouge1", **options),
    )


def test_portions_are_equal_and_come_in_the_order_of_the_map():
    map = torch.arange(16.0).view(1, 4, 4)
    gone = removed(map, first="most", block=2, steps=4)
    assert gone.shape == (1, 5, 4, 4)
    assert gone.sum((2, 3)).tolist() == [[0, 4, 8, 12, 16]]
    assert gone[0, 1, 2:, 2:].all()
    assert removed(map, first="least", block=2, steps=4)[0, 1, :2, :2].all()
    with pytest.raises(ValueError, match='first must be "most" or "least"'):
        removed(map, first="last")


def test_caption_scores_by_hand():
    assert SCORES["rouge1"]("a cat sat", "a cat ran") == pytest.approx(2 / 3)
    assert SCORES["rouge2"]("a cat sat", "a cat ran") == pytest.approx(1 / 2)
    assert SCORES["rougel"]("a b c d", "a c x d") == pytest.approx(3 / 4)
    assert SCORES["bleu"]("one two three four", "one two three four") == pytest.approx(1)


def test_several_references_by_hand():
    people = ["a cat sat", "one dog ran off"]
    assert SCORES["rouge1"](people, "a dog ran off") == pytest.approx(3 / 4)  # of the second
    assert SCORES["rouge2"](people, "a cat ran") == pytest.approx(1 / 2)  # of the first
    assert SCORES["rougel"](people, "a cat off") == pytest.approx(2 / 3)
    # every word and both pairs stand in one or the other, "a cat ran off" in neither
    assert SCORES["bleu"](people, "cat sat ran off") > SCORES["bleu"](people[0], "cat sat ran off")
    for score in ("bleu", "rouge1", "rouge2", "rougel"):
        assert SCORES[score](["a cat sat"], "a cat ran") == SCORES[score]("a cat sat", "a cat ran")


def test_captions_are_compared_with_what_people_wrote():
    encoder, x, target, best = corner()

    def captioner(images):
        there = images[:, 0, :8, :8].mean((1, 2)) > 0.5
        return ["a green corner" if t else "a red thing" for t in there]

    options = dict(captioner=captioner, score="rouge1", steps=16)
    options["references"] = [["nothing", "a green corner", "a corner"]]
    early = caption_curve(encoder, x, target, best, first="most", **options)
    late = caption_curve(encoder, x, target, best, first="least", **options)
    away = 2 / 5  # "a", one word of two in "a corner", of three in "a red thing"
    assert early[0].tolist() == pytest.approx([away] * 16)
    assert late[0].tolist() == pytest.approx([1.0] * 15 + [away])
    for wrong, message in (
        ([], "references must be 1 lists"),
        ([[]], r"references\[0\] is an empty list"),
        ([["a cat", 3]], r"references\[0\]\[1\] must be a string"),
        (["a cat"], r"references\[0\] must be a list of strings"),
        ("a cat", "references must be 1 lists of captions, got str"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            caption_curve(encoder, x, target, best, **options | {"references": wrong})


def test_meteor_takes_the_best_of_several_references(stamps):
    assert SCORES["meteor"](["the new house", "an old car"], "an old auto") == pytest.approx(
        1 - 0.5 / 27
    )


def test_meteor_knows_synonyms(stamps):
    # one chunk of n matched words: F-mean 1 times 1 - 0.5 / n^3
    assert SCORES["meteor"]("an old car", "an old car") == pytest.approx(1 - 0.5 / 27)
    assert SCORES["meteor"]("an old car", "an old auto") == pytest.approx(1 - 0.5 / 27)
    assert SCORES["meteor"]("an old car", "the new house") == 0


def test_retrieval_captioner_names_photographs(conse):
    from xai_utils.metrics import retrieval_captioner

    bank = ["a cat", "a cup of coffee", "a rocket", "a motorcycle"]
    photos = {s.id: s for s in xu.load_dataset("photos", n=9)}
    x = torch.stack(
        [conse.image.transform(photos[k].image) for k in ("chelsea", "coffee", "motorcycle")]
    )
    assert retrieval_captioner(conse, bank)(x) == ["a cat", "a cup of coffee", "a motorcycle"]


def test_blip_captioner_undoes_the_normalisation(conse):
    """The wiring, on a BLIP of a few random weights and a processor that shows what it was
    given."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    from xai_utils.metrics import blip_captioner

    small = dict(hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1)
    config = BlipConfig(
        text_config=dict(
            **small,
            vocab_size=40,
            bos_token_id=1,
            eos_token_id=2,
            sep_token_id=2,
            pad_token_id=0,
            encoder_hidden_size=16,
        ),
        vision_config=dict(**small, image_size=32, patch_size=16),
    )
    seen = []

    class Processor:
        def __call__(self, images, return_tensors, do_rescale):
            seen.extend(images)
            from transformers import BatchFeature

            return BatchFeature({"pixel_values": torch.stack(images)[:, :, :32, :32]})

        def batch_decode(self, ids, skip_special_tokens):
            return [" ".join(map(str, row.tolist())) for row in ids]

    captions = blip_captioner(
        conse.image, BlipForConditionalGeneration(config).eval(), Processor(), tokens=4
    )(torch.zeros(2, 3, 224, 224))
    assert len(captions) == 2
    assert captions[0] == captions[1]
    assert torch.allclose(seen[0].mean((1, 2)), torch.tensor(conse.image.mean))


def test_occlusion_drop_is_what_the_class_loses_without_a_region(classifier):
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    regions = torch.zeros(2, 2, 224, 224, dtype=torch.bool)
    regions[:, 0, :100], regions[:, 1, :, 150:] = True, True
    classes = torch.tensor([3, 281])
    found = occlusion_drop(classifier, x, classes, regions)
    with torch.no_grad():
        for i in range(2):
            p = classifier.head(classifier(x[i : i + 1])).log_softmax(1)[0, classes[i]]
            for k in range(2):
                part = x[i : i + 1].clone()
                part[:, :, regions[i, k]] = 0
                q = classifier.head(classifier(part)).log_softmax(1)[0, classes[i]]
                assert found[i, k] == pytest.approx((p - q).item(), abs=1e-3)
    with pytest.raises(ValueError, match="holds an empty mask"):
        occlusion_drop(classifier, x, classes, torch.zeros_like(regions))
    with pytest.raises(ValueError, match="must be a bool tensor of shape"):
        occlusion_drop(classifier, x, classes, regions[:, 0])
    with pytest.raises(ValueError, match="must be class indices"):
        occlusion_drop(classifier, x, classifier(x).detach(), regions)
