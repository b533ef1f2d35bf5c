"""Cap-MoRF and Cap-LeRF (P-IBISA Secs. 4 and 5): does the caption change when what the map marks is
taken away?

A captioner is a function: normalised images (B, 3, H, W) -> B strings.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_metric
from ..checks import check_choice, check_counts, check_function, check_texts
from ..types import DualEncoder, ImageEncoder
from .base import metric, shared
from .perturbation import removed

Captioner = Callable[[Tensor], list[str]]


@metric("cap-morf", higher_is_better=False)
def cap_morf(
    encoder,
    inputs,
    targets,
    map,
    *,
    captioner: Captioner,
    score: str = "meteor",
    block: int = 8,
    steps: int = 10,
):
    """Mean likeness of the captions to the first one while 8 x 8 blocks are set to zero, most
    relevant first, (B,) in 0..1.

    captioner  images -> captions: `retrieval_captioner` or `blip_captioner`
    score      "meteor", "bleu", "rouge1", "rouge2", "rougel"
    steps      equal portions of blocks; the paper does not say how many
    Lower is better. The slug in reference.csv is cap-morf-<score>. targets are not used: a caption
    has no target.
    """
    options = dict(captioner=captioner, score=score, block=block, steps=steps)
    return caption_curve(encoder, inputs, targets, map, first="most", **options).mean(1)


@metric("cap-lerf", higher_is_better=True)
def cap_lerf(
    encoder,
    inputs,
    targets,
    map,
    *,
    captioner: Captioner,
    score: str = "meteor",
    block: int = 8,
    steps: int = 10,
):
    """Least relevant first, otherwise as `cap_morf`. Higher is better."""
    options = dict(captioner=captioner, score=score, block=block, steps=steps)
    return caption_curve(encoder, inputs, targets, map, first="least", **options).mean(1)


def caption_curve(
    encoder,
    inputs,
    targets,
    map,
    *,
    captioner: Captioner,
    score: str = "meteor",
    references: Sequence[Sequence[str]] | None = None,
    first: str = "most",
    block: int = 8,
    steps: int = 10,
) -> Tensor:
    """Likeness to the first caption after each of `steps` portions, (B, steps) in 0..1; its mean is
    `cap_morf` (first="most") or `cap_lerf` ("least"), whose arguments these are.

    references  the captions that people wrote of each picture, B lists, in the place of the first
                caption. What is said of the whole picture then has a likeness of its own, from
                which the curve starts (`SCORES[score](references[i], caption)`): a captioner that
                is wrong there has nothing to lose, so MoRF alone says little
    """
    if references is not None:
        check_references(references, len(inputs))
    check_counts(steps=steps)
    check_counts(block=block)
    check_choice("score", score, SCORES)
    check_choice("first", first, ("most", "least"))
    check_function("captioner", captioner)
    rows = []
    told = captions_along(encoder, inputs, targets, map, captioner, first, block, steps)
    for i, (original, *later) in enumerate(told):
        reference = original if references is None else references[i]
        values = {caption: SCORES[score](reference, caption) for caption in set(later)}
        rows.append([values[c] for c in later])
    return torch.tensor(rows)


def check_references(references: Sequence[Sequence[str]], n: int) -> None:
    if isinstance(references, str) or not isinstance(references, Sequence):
        raise TypeError(
            f"references must be {n} lists of captions, got {type(references).__name__}"
        )
    if len(references) != n:
        raise ValueError(f"references must be {n} lists of captions, got {len(references)}")
    for i, own in enumerate(references):
        check_texts(own, f"references[{i}]")


@shared
@torch.no_grad()
def captions_along(
    encoder, inputs, targets, map, captioner, first, block, steps
) -> list[list[str]]:
    """What is said of each whole picture and after each portion, B lists of steps + 1 captions. The
    five scores share them."""
    inputs, targets, map = check_metric(encoder, inputs, targets, map)
    gone = (removed(one[None], first=first, block=block, steps=steps)[0] for one in map)
    return [captions_of(captioner, x * (~g[:, None]).to(x)) for x, g in zip(inputs, gone)]


def captions_of(captioner: Captioner, images: Tensor) -> list[str]:
    """What a captioner says of images, which must be one string each."""
    said = captioner(images)
    if isinstance(said, str) or len(said) != len(images):
        raise ValueError(
            f"captioner must return one caption for each of {len(images)} images, got {said!r:.200}"
        )
    if not all(isinstance(caption, str) for caption in said):
        raise TypeError(f"captioner must return strings, got {said!r:.200}")
    return list(said)


def several(reference: str | Sequence[str]) -> list[str]:
    return [reference] if isinstance(reference, str) else list(reference)


def bleu(reference: str | Sequence[str], caption: str) -> float:
    """Sentence BLEU of sacrebleu with effective order, 0..1; of several references an n-gram counts
    that any of them has."""
    from sacrebleu import sentence_bleu

    return min(1.0, sentence_bleu(caption, several(reference)).score / 100)


def meteor(reference: str | Sequence[str], caption: str) -> float:
    """METEOR of nltk with WordNet's synonyms, 0..1, on lower-case words, by the best of several
    references; below 1 for equal texts of a few words.

    nltk looks synonyms up by what its stemmer left of a word, so it finds "auto" for "car", but not
    "automobile".
    """
    from nltk.translate.meteor_score import meteor_score

    from ..data.wordnet import wordnet

    references = [text.lower().split() for text in several(reference)]
    return meteor_score(references, caption.lower().split(), wordnet=wordnet())


def rouge(kind: str):
    def score(reference: str | Sequence[str], caption: str) -> float:
        """F1 of rouge-score without stemming, 0..1, by the best of several references."""
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer([kind]).score_multi(several(reference), caption)[kind].fmeasure

    return score


SCORES = {
    "meteor": meteor,
    "bleu": bleu,
    "rouge1": rouge("rouge1"),
    "rouge2": rouge("rouge2"),
    "rougel": rouge("rougeL"),
}


def retrieval_captioner(model: DualEncoder, bank: list[str]) -> Captioner:
    """The caption of `bank` that lies nearest to the image in the model's own space. A stand-in for
    a model that writes."""
    if not isinstance(model, DualEncoder):
        raise TypeError(f"model must be a dual encoder, got {type(model).__name__}")
    bank = check_texts(bank, "bank")
    with torch.no_grad():
        texts = F.normalize(
            torch.cat([model.encode_text(bank[i : i + 64]) for i in range(0, len(bank), 64)]), dim=1
        )

    def caption(images: Tensor) -> list[str]:
        h = torch.cat(
            [model.encode_image(part) for part in images.split(model.image.best_batch or 64)]
        )
        return [bank[i] for i in (F.normalize(h, dim=1) @ texts.T).argmax(1).tolist()]

    caption.key = (  # evaluate's rows are found again by it
        f"retrieval by {model.name} from {bank!r}"
    )
    return caption


def blip_captioner(encoder: ImageEncoder, model, processor, *, tokens: int = 20) -> Captioner:
    """The papers' captioner: transformers' BlipForConditionalGeneration with its BlipProcessor,
    greedy.

    encoder  whose normalisation the images carry; it is undone before the processor applies its own
    """
    if not isinstance(encoder, ImageEncoder):
        raise TypeError(f"encoder must be an image encoder, got {type(encoder).__name__}")
    check_counts(tokens=tokens)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (encoder.mean, encoder.std))

    def caption(images: Tensor) -> list[str]:
        pixels = (images.cpu() * std + mean).clamp(0, 1)
        inputs = processor(images=list(pixels), return_tensors="pt", do_rescale=False).to(
            model.device
        )
        return processor.batch_decode(
            model.generate(**inputs, max_new_tokens=tokens), skip_special_tokens=True
        )

    caption.key = f"{model.config._name_or_path} {tokens}"
    return caption
