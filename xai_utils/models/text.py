"""From texts to token ids, for every text encoder: how a text is cut, padded and spelled, and what
is refused."""

import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from transformers.convert_slow_tokenizer import bytes_to_unicode

PROBE = ["a photo of a cat", "cat"]  # what an encoder is tried with: two texts of unlike length
LARGEST = "largest id"  # a text ends at the largest of its ids, as the first CLIP reads it
BLANK = "\u2423"  # how a token of nothing but white space is shown
INVISIBLE = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}  # letters by name that show nothing


@dataclass(frozen=True)
class Tokenize:
    """B texts -> ids (B, T), which of them are real tokens (B, T) bool, and the B lists of words
    as strings, without special tokens. Texts are padded on the right.

    encode   B texts -> B lists of ids with special tokens, and how many tokens of each were cut off
    spell    ids -> what they show, as many strings
    special  special tokens (in front of, behind) the words
    never    ids that are no words
    size     how many ids the model knows
    extra    ids put behind every text
    length   T; None: that of the longest text
    Raises ValueError for a text without words or with an id that the model does not know. Warns of
    texts that are cut.
    """

    encode: Callable
    spell: Callable
    special: tuple[int, int]
    never: frozenset[int]
    size: int
    pad: int
    device: torch.device
    extra: tuple[int, ...] = ()
    length: int | None = None

    def __call__(self, texts) -> tuple[Tensor, Tensor, list[list[str]]]:
        rows, words = self.read(texts)
        ids, valid = padded([row + list(self.extra) for row in rows], self.pad, self.length)
        return ids.to(self.device), valid.to(self.device), words

    def read(self, texts) -> tuple[list[list[int]], list[list[str]]]:
        """The ids of each text with its special tokens, and its words."""
        texts = list(texts)
        rows, lost = self.encode(texts)
        words = [self.spell(self.own(row)) for row in rows]
        for i, (text, row) in enumerate(zip(texts, rows)):
            shown = [w for k, w in zip(self.own(row), words[i]) if k not in self.never]
            if not visible(text) or all(word == BLANK for word in shown):
                raise ValueError(f"texts[{i}] has no words for this tokenizer, got {text!r}")
            if max(row) >= self.size:
                raise ValueError(
                    f"tokenizer does not fit the model: it gives texts[{i}] the id {max(row)}, and"
                    f" the model knows {self.size} ids"
                )
        if cut := [f"texts[{i}] loses {n} tokens" for i, n in enumerate(lost) if n]:
            warnings.warn(
                f"texts longer than the encoder reads are cut: {', '.join(cut)}", stacklevel=2
            )
        return rows, words

    def own(self, row: list[int]) -> list[int]:
        """The words among a text's ids."""
        front, behind = self.special
        return row[front : len(row) - behind + len(self.extra)]


def padded(rows: list[list[int]], pad: int, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Lists of ids -> (B, T) filled up with `pad`, and which of them were there, (B, T) bool."""
    real = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), max(length or 0, int(real.max()))), pad)
    for row, own in zip(ids, rows):
        row[: len(own)] = torch.tensor(own)
    return ids, torch.arange(ids.shape[1]) < real[:, None]


def visible(text: str) -> bool:
    """Whether a text shows anything: more than white space, zero-width, control and combining
    characters."""
    return any(
        unicodedata.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Cf", "Mn") and c not in INVISIBLE
        for c in text
    )


def as_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Encode:
    """Texts by a transformers tokenizer. What is longer than `limit` it cuts in its own way.

    clean  done to a text before
    end    the id, or LARGEST, at whose first place the model reads a text off; nothing behind it
           counts. None: it reads no such place
    swap   (id, what the model gets instead of it), or None
    """

    tokenizer: Callable
    limit: int
    clean: Callable = as_is
    end: int | str | None = None
    swap: tuple[int, int] | None = None

    def __call__(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        texts = [self.clean(text) for text in texts]
        whole = self.tokenizer(texts, verbose=False)["input_ids"]
        rows = list(whole)
        if long := [i for i, row in enumerate(whole) if len(row) > self.limit]:
            cut = self.tokenizer([texts[i] for i in long], truncation=True, max_length=self.limit)
            for i, row in zip(long, cut["input_ids"]):
                rows[i] = row
        rows = [ended(row, self.end) for row in rows]
        lost = [len(a) - len(b) for a, b in zip(whole, rows)]
        if self.swap is not None:
            rows = [[self.swap[1] if k == self.swap[0] else k for k in row] for row in rows]
        return rows, lost


@dataclass(frozen=True)
class EncodeCalled:
    """Texts by a tokenizer that gives padded ids (B, L), as open_clip's own does, and ends a text
    with `end`, see Encode."""

    tokenizer: Callable
    end: int | str

    def __call__(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        rows = [ended(row, self.end) for row in torch.as_tensor(self.tokenizer(texts)).tolist()]
        if not hasattr(self.tokenizer, "encode"):
            return rows, [0] * len(rows)
        return rows, [len(self.tokenizer.encode(t)) + 2 - len(r) for t, r in zip(texts, rows)]


def ended(row: list[int], end: int | str | None) -> list[int]:
    """Ids up to the first place of `end`; all of them where there is none."""
    end = max(row, default=None) if end == LARGEST else end
    return row[: row.index(end) + 1] if end in row else row


def surround(whole: list[int], bare: list[int]) -> tuple[int, int]:
    """How many special tokens `whole` has in front of the ids `bare` and behind them."""
    for front in range(len(whole) - len(bare) + 1):
        if bare and whole[front : front + len(bare)] == bare:
            return front, len(whole) - len(bare) - front
    raise ValueError(
        f"tokenizer must give {PROBE[0]!r} the same words with and without special tokens, got the"
        f" ids {whole} and {bare}"
    )


def special_of(tokenizer) -> tuple[int, int]:
    """Special tokens that a transformers tokenizer puts (in front of, behind) the words."""
    ids = (
        tokenizer(PROBE[0], add_special_tokens=special)["input_ids"] for special in (True, False)
    )
    return surround(*ids)


def never_words(tokenizer) -> frozenset[int]:
    """Special ids of a transformers tokenizer, without the one that stands for unknown words."""
    marks = {"bos_token", "eos_token", "cls_token", "sep_token", "pad_token", "mask_token"}
    own = {getattr(tokenizer, f"{mark}_id", None) for mark in marks}
    return frozenset((set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}) | own - {None})


def pad_of(tokenizer) -> int:
    """The id that a transformers tokenizer pads with; without one, that of the end."""
    for name in ("pad_token_id", "eos_token_id"):
        if (token := getattr(tokenizer, name, None)) is not None:
            return token
    raise ValueError(
        "tokenizer has neither a padding token nor one for the end of a text: set its pad_token"
    )


@dataclass(frozen=True)
class Spell:
    """Ids of a transformers tokenizer -> what each shows."""

    tokenizer: Callable
    bytewise: bool

    def __call__(self, ids: list[int]) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        return readable([self.bytes_of(token) for token in tokens])

    def bytes_of(self, token: str) -> bytes:
        if self.bytewise:
            return from_alphabet(token.removesuffix("</w>"))
        if re.fullmatch("<0x[0-9A-F]{2}>", token):
            return bytes([int(token[3:5], 16)])
        return token.replace("\u2581", " ").encode()


@dataclass(frozen=True)
class SpellClip:
    """Ids of open_clip's own tokenizer -> what each shows."""

    tokenizer: Callable

    def __call__(self, ids: list[int]) -> list[str]:
        tokens = [self.tokenizer.decoder[i] for i in ids]
        return readable([from_alphabet(token.removesuffix("</w>")) for token in tokens])


@dataclass(frozen=True)
class SpellOne:
    """Ids of a tokenizer that can only decode -> what each shows alone."""

    tokenizer: Callable

    def __call__(self, ids: list[int]) -> list[str]:
        return [self.tokenizer.decode([i]).strip() for i in ids]


def spelling(tokenizer) -> Spell:
    """How a transformers tokenizer's ids are spelled."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    steps = repr((backend.pre_tokenizer, backend.decoder)) if backend is not None else ""
    return Spell(tokenizer, "ByteLevel" in steps or hasattr(tokenizer, "byte_decoder"))


@cache
def alphabet() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes with."""
    return {letter: byte for byte, letter in bytes_to_unicode().items()}


def from_alphabet(token: str) -> bytes:
    if all(letter in alphabet() for letter in token):
        return bytes(alphabet()[letter] for letter in token)
    return token.encode()  # a token added to the alphabet's own


def readable(tokens: list[bytes]) -> list[str]:
    """What each token shows. Of a character spread over k tokens the i-th shows "x i/k"; white
    space alone shows as BLANK."""
    data = b"".join(tokens)
    owner = [i for i, token in enumerate(tokens) for _ in token]
    shown, at = [""] * len(tokens), 0
    while at < len(data):
        character, size = first_character(data[at : at + 4])
        parts = sorted(set(owner[at : at + size]))
        for k, i in enumerate(parts, 1):
            shown[i] += character if len(parts) == 1 else f" {character} {k}/{len(parts)}"
        at += size
    return [text.strip() or BLANK for text in shown]


def first_character(data: bytes) -> tuple[str, int]:
    """The character that UTF-8 begins with and its bytes; the replacement character for what is
    none."""
    for size in range(1, len(data) + 1):
        try:
            return data[:size].decode(), size
        except UnicodeDecodeError:
            continue
    size = 1
    while size < len(data) and data[size] & 0xC0 == 0x80:
        size += 1
    return "\ufffd", size


def weighted(embed, ids, weight, blank):
    """Word embeddings (B, T, width) of `ids` as Parts says: times `weight`, the part taken away
    filled by the id `blank`."""
    words = embed(ids)
    if weight is None:
        return words
    w = weight[..., None].to(words)
    return words * w if blank is None else words * w + (1 - w) * embed(ids.new_tensor(blank))


def lengthened(ids: Tensor, weight: Tensor | None, length: int | None, pad: int):
    """Ids (B, T) and weights filled up to `length` with untouched padding, for models that see
    it."""
    if length is None:
        return ids, weight
    ids = torch.nn.functional.pad(ids, (0, length - ids.shape[1]), value=pad)
    if weight is not None:
        weight = torch.nn.functional.pad(weight, (0, length - weight.shape[1]), value=1.0)
    return ids, weight


def mean_token(z: Tensor, valid: Tensor) -> Tensor:
    """(B, T, width) -> (B, width): the mean over the real tokens."""
    keep = valid[..., None].to(z.dtype)  # (B, T, 1)
    return (z * keep).sum(1) / keep.sum(1)


def end_token(z: Tensor, valid: Tensor) -> Tensor:
    """(B, T, width) -> (B, width): the last real token."""
    return z[torch.arange(len(z), device=z.device), valid.sum(1) - 1]


def last_token(z: Tensor, valid: Tensor) -> Tensor:
    """(B, T, width) -> (B, width): the last place, whatever stands there."""
    return z[:, -1]


def first_token(z: Tensor, valid: Tensor) -> Tensor:
    return z[:, 0]


@dataclass(frozen=True)
class Tail:
    """after(read(norm(z))): the last latent (B, T, width) -> (B, D)."""

    norm: Callable
    read: Callable
    after: Callable

    def __call__(self, z: Tensor, valid: Tensor) -> Tensor:
        return self.after(self.read(self.norm(z), valid))
