"""The contracts of the kit: every shape is written down here, once.

B batch    D embedding    T tokens    C channels    H, W pixels    h, w feature cells
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .checks import check_embedding, check_images, check_number, check_texts

SPECIAL = (1, 1)  # tokens in front of a text's words and behind them, as BERT and CLIP have them


@dataclass(frozen=True)
class Attribution:
    """What a method returns.

    map     (B, H, W) float32 on the CPU for images; (B, T) for texts, NaN behind the end of shorter
            texts. Raw: as the method defines it, never rescaled.
    unit    what one unit of `map` is ("mask value", "bits", "cosine", ...)
    signed  True if negative values may appear: evidence against, or scores around 0
    trace   name -> tensor with one leading entry per optimisation step, empty for methods without
            steps
    cost    {"forwards": ..., "backwards": ...}: encoder passes per sample
    tokens  for texts, the B lists of token strings that the columns of `map` belong to; None for
            images
    """

    map: Tensor
    unit: str
    signed: bool
    trace: dict[str, Tensor] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    tokens: list[list[str]] | None = None


@dataclass(frozen=True)
class Parts:
    """An encoder in pieces: `tail(blocks[-1](... blocks[0](stem(inputs)))) == encoder(inputs)`.

    Image pieces take and return one tensor. Text blocks and tails take `(z, valid)`, valid (B, T)
    bool; a text stem takes `(ids, weight=None, blank=None)`, weight (B, T) multiplying each token's
    embedding before anything is added to it; with `blank`, a token's id, that token's embedding
    fills the part taken away: w e + (1 - w) e_blank.
    modules  the nn.Module behind each block, for those who change weights; () where the blocks are
             modules themselves
    last     (norm, readout) of a ViT whose tail is a normalisation of the tokens and what is linear
             behind it, else None
    """

    stem: Callable
    blocks: tuple[Callable, ...]
    tail: Callable
    modules: tuple[torch.nn.Module, ...] = ()
    last: tuple[Callable, Callable] | None = None


class Latent(Tensor):
    """The features of texts at a layer, (B, T, width), as the prefix of a split returns them.

    text   (B, T) bool, the text's own tokens; False behind the end of shorter texts
    valid  (B, T) bool, the places that take part: the text's own, or all where the encoder sees its
           padding
    What is computed from a latent is a plain tensor, which knows nothing of padding: `like=` names
    the latent that it stems from.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # as nn.Parameter has it
    text: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Split:
    """An encoder cut in two at the input of block `layer`: `suffix(prefix(x)) == encoder(x)`, bit
    for bit on a CPU.

    prefix(inputs) -> z        (B, T, width) for token models, (B, C, h, w) for CNNs, float32 (of
                               a float64 model float64); of texts a Latent
    suffix(z, like=None, rows=None) -> (B, D)
                               `z` may be changed; then `like` names the prefix's own z, which text
                               needs to know the real tokens. Row k of z stems from sample rows[k]
                               of `like`; rows None: z holds whole batches one after another.
    to_map(scores, like=None)  (B, T) or (B, h, w) -> (B, H, W) pixel map, bilinear, extra tokens
                               dropped; for texts -> (B, T') one score per token without special
                               tokens, NaN-padded
    channel_dim                the axis of z that is neither sample nor place: -1 for tokens, 1 for
                               CNNs
    """

    prefix: Callable
    suffix: Callable
    to_map: Callable
    channel_dim: int


HALF_SCALE = 2**8  # on gradients inside float16 models, where small ones would become 0


class ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.scale, None


def scaled_gradient(x: Tensor, scale: float) -> Tensor:
    """x, whose gradient is multiplied by `scale` in the backward pass."""
    return ScaledGradient.apply(x, scale)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A frozen model in eval mode: `encoder(inputs) -> (B, D)` float32. Made by `load_model` or
    `wrap`, never by hand.

    Whatever the model's own dtype, inputs are cast to it and what leaves it is float32, or float64
    where both the model and its inputs are. The model
    never gets the caller's own tensor, which it might change in place. Calls raise TypeError or
    ValueError where it does not return one finite floating point (B, D) tensor, and where a
    gradient is asked for that it does not give.

    depth          number of blocks; `split(layer)` takes 0..depth, `depth` being the output of the
                   last block
    default_layer  the layer that methods cut at unless told: block 9 of 12, the same depth in
                   proportion elsewhere
    dim            D, None where it is not known before the first call
    whole          the forward pass in one piece, used where `parts` is None; `no_split` then says
                   why
    weights        name -> parameter, everything that training has set; models/weights.py lends them
                   out for change
    dtype          of the weights and of everything inside; inputs are cast to it. None: whatever
                   comes
    """

    name: str
    device: torch.device
    whole: Callable
    dim: int | None = None
    parts: Parts | None = None
    no_split: str = "the kit does not know how it is built up"
    without_split = "Methods that need only the input still work."
    weights: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    dtype: torch.dtype | None = None

    @property
    def best_batch(self) -> int | None:
        return None

    @property
    def depth(self) -> int:
        return len(self.parts.blocks) if self.parts else 0

    @property
    def default_layer(self) -> int:
        return self.layer_at(9 / 12)

    def layer_at(self, share: float) -> int:
        """The layer at a share of the depth: `layer_at(10 / 12)` is 10 of 12 blocks, 5 of 6. Only
        a share of 1 lies behind the last block."""
        last = self.depth if share == 1 else max(0, self.depth - 1)
        return min(round(self.depth * share), last)

    def _check_layer(self, layer: int) -> None:
        if self.parts is None:
            raise ValueError(f"{self.name} has no split: {self.no_split}. {self.without_split}")
        check_number("layer", layer, 0, self.depth, integer=True)

    def _enter(self, x: Tensor) -> Tensor:
        """`x` in the model's own dtype, never the caller's own tensor."""
        entered = x.to(self.device, self.dtype or x.dtype)
        entered = entered.clone() if entered.data_ptr() == x.data_ptr() else entered
        return scaled_gradient(entered, 1 / HALF_SCALE) if self.dtype == torch.float16 else entered

    def _leave(self, h, rows: int, given: Tensor | None) -> Tensor:
        """What the model made of `rows` inputs, as float32; `given` is the tensor whose gradient
        may be asked for."""
        check_embedding(h, self.name, rows, given)
        wanted = torch.is_grad_enabled() and given is not None and given.requires_grad
        if wanted and not h.requires_grad:
            raise ValueError(
                f"{self.name} gives no gradient with respect to its input: it runs under"
                " torch.no_grad, detaches, rounds or is quantised. rise, sbsm and kernel_shap need"
                " none"
            )
        h = h.to(self.working_dtype(given))
        return scaled_gradient(h, HALF_SCALE) if self.dtype == torch.float16 else h

    def working_dtype(self, given: Tensor | None) -> torch.dtype:
        """Of what leaves the model, and of all that is computed around it: float32, or float64 for
        float64 inputs of a float64 model."""
        exact = given is not None and given.dtype == torch.float64 == (self.dtype or torch.float64)
        return torch.float64 if exact else torch.float32


class CastingHead(torch.nn.Module):
    """A classifier in a dtype of its own, for embeddings in any: logits are in theirs."""

    def __init__(self, head: Callable, dtype: torch.dtype):
        super().__init__()
        self.inner, self.dtype = head, dtype

    @property
    def weight(self) -> Tensor:
        return self.inner.weight

    def forward(self, h: Tensor) -> Tensor:
        return self.inner(h.to(self.dtype)).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Encoder):
    """An encoder of images, (B, 3, H, W) float -> (B, D).

    image_size     (H, W) it takes; None: any
    transform      what `images.rgb` takes -> (3, H, W), the shorter side resized, the centre
                   cropped, normalised; nothing else is cut
    mean, std      what `transform` normalises with, so that a picture can be shown again
    head           (B, D) -> (B, classes) logits, None without a classifier
    tokens         (extra tokens in front, (h, w) of the rest) for token models, None for CNNs
    channels_last  CNNs run channels_last, which a CPU does much faster (benchmarks/p_ibisa.py
                   measures it)
    best_batch     rows at a time that a CPU handles fastest where that is fewer than it is given,
                   None: all
    """

    image_size: tuple[int, int] | None
    transform: Callable
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    head: Callable | None = None
    tokens: tuple[int, tuple[int, int]] | None = None
    channels_last: bool = False

    @property
    def classes(self) -> int:
        """How many the head tells apart."""
        known = getattr(self.head, "out_features", None)
        if known is None:
            with torch.no_grad():
                known = self.head(torch.zeros(1, self.dim or 1, device=self.device)).shape[1]
        return known

    def __post_init__(self):
        own = self.dtype not in (None, torch.float32) and not isinstance(self.head, CastingHead)
        if self.head is not None and own:
            object.__setattr__(self, "head", CastingHead(self.head, self.dtype))

    @property
    def best_batch(self) -> int | None:
        return 4 if self.channels_last and self.device.type == "cpu" else None

    def __call__(self, images: Tensor) -> Tensor:
        x = self._prepare(images)
        h = self.whole(x) if self.parts is None else self._pieces(self.parts.stem(x), 0)
        return self._leave(h, len(x), images)

    def _prepare(self, images: Tensor) -> Tensor:
        check_images(images, self.name, self.image_size)
        x = self._enter(images)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def _pieces(self, z: Tensor, layer: int) -> Tensor:
        for block in self.parts.blocks[layer:]:
            z = block(z)
        return self.parts.tail(z)

    def split(self, layer: int) -> Split:
        self._check_layer(layer)

        def prefix(images):
            z = self.parts.stem(self._prepare(images))
            for block in self.parts.blocks[:layer]:
                z = block(z)
            return z.to(self.working_dtype(images))

        def suffix(z, like=None, rows=None):
            return self._leave(self._pieces(self._enter(z), layer), len(z), z)

        def to_map(scores, like=None):
            if self.tokens is not None:
                extra, grid = self.tokens
                scores = scores[:, extra:].unflatten(1, grid)  # (B, h, w)
            size = self.image_size
            return torch.nn.functional.interpolate(scores[:, None], size=size, mode="bilinear")[
                :, 0
            ]

        return Split(prefix, suffix, to_map, channel_dim=1 if self.tokens is None else -1)


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Encoder):
    """An encoder of texts, list of B strings -> (B, D). Each text gets the embedding that it has
    alone.

    tokenize  list[str] -> (ids (B, T), valid (B, T) bool, the words: B lists of token strings
              without special ones)
    special   special tokens (in front of, behind) a text's words
    blank     id of the padding token, which stands for a word taken away
    causal    True where a token sees only those before it and the last real one is read off (CLIP)
    sees_padding  True where padding takes part in attention (SigLIP): its stem pads ids of any
              length to one
    """

    tokenize: Callable
    special: tuple[int, int] = SPECIAL
    blank: int = 0
    without_split = "Methods for texts need one; its embeddings can be targets of others."
    causal: bool = False
    sees_padding: bool = False

    def __call__(self, texts: list[str]) -> Tensor:
        texts = check_texts(texts)
        if self.parts is None:
            return self._leave(self.whole(texts), len(texts), None)
        ids, valid, _ = self.tokenize(texts)
        return self.encode_ids(ids, valid)

    def words(self, valid: Tensor) -> Tensor:
        """Which of the real tokens `valid` are words, neither special nor padding: (B, T) bool."""
        return words(valid, self.special)

    def encode_ids(
        self, ids: Tensor, valid: Tensor, weight: Tensor | None = None, blank: int | None = None
    ) -> Tensor:
        """Token ids (B, T) -> (B, D); `valid`, `weight` and `blank` as in Parts."""
        z = self.parts.stem(ids, weight if weight is None else self._enter(weight), blank)
        return self._leave(self._pieces(z, valid, 0), len(ids), weight)

    def _pieces(self, z: Tensor, valid: Tensor, layer: int) -> Tensor:
        for block in self.parts.blocks[layer:]:
            z = block(z, valid)
        return self.parts.tail(z, valid)

    def split(self, layer: int) -> Split:
        self._check_layer(layer)

        def prefix(texts):
            ids, valid, _ = self.tokenize(check_texts(texts))
            z = self.parts.stem(ids)
            for block in self.parts.blocks[:layer]:
                z = block(z, valid)
            z = z.float().as_subclass(Latent)
            z.text, z.valid = valid, valid | self.sees_padding
            return z

        def suffix(z, like=None, rows=None):
            valid = real_tokens(z if like is None else like)
            valid = valid.repeat(len(z) // len(valid), 1) if rows is None else valid[rows]
            return self._leave(self._pieces(self._enter(z), valid, layer), len(z), z)

        def to_map(scores, like=None):
            valid = real_tokens(scores if like is None else like)
            front, behind = self.special
            own = scores.masked_fill(~self.words(valid), float("nan"))
            return own[:, front : int(valid.sum(1).max()) - behind]

        return Split(prefix, suffix, to_map, channel_dim=-1)


@dataclass(frozen=True)
class DualEncoder:
    """Two encoders into one space; cosine of `encode_image(x)` and `encode_text(texts)` is their
    match."""

    image: ImageEncoder
    text: TextEncoder
    name: str = "dual encoder"

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D), without gradients."""
        return self.image(images)

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """B strings -> (B, D), without gradients."""
        return self.text(texts)


def words(valid: Tensor, special: tuple[int, int] = SPECIAL) -> Tensor:
    """Which of the real tokens `valid` (B, T) are left between `special` ones in front and behind,
    (B, T) bool."""
    place = torch.arange(valid.shape[1], device=valid.device)
    return (place >= special[0]) & (place < valid.sum(1, keepdim=True) - special[1])


def real_tokens(z: Tensor) -> Tensor:
    """Which tokens of a text latent are real, (B, T) bool."""
    if not isinstance(z, Latent):
        raise ValueError(
            "this tensor does not know which tokens are padding: pass like=, the tensor that prefix"
            " returned"
        )
    return z.text
