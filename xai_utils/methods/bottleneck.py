"""The bottleneck that IBA, M2IB and AdaIB put into a layer: a gate per token and channel lets features or noise through."""

import torch
from torch import Tensor


def compressed(z: Tensor, gate: Tensor, noise: Tensor | float, sigma: float) -> Tensor:
    """lambda z + (1 - lambda) sigma eps, shapes as z (M2IB Eq. 5 in the form that the released code has)."""
    return gate * z + (1 - gate) * sigma * noise


def information(z: Tensor, gate: Tensor, sigma: float) -> Tensor:
    """KL( N(lambda z, ((1 - lambda) sigma)^2) || N(0, 1) ) of every element in nats, shaped as z: what passes the gate."""
    mean, variance = gate * z, ((1 - gate) * sigma).square()
    return 0.5 * (mean.square() + variance - 1 - variance.log())


def real_elements(z: Tensor) -> Tensor:
    """1 where z holds a real token, 0 behind the end of shorter texts; broadcasts over z."""
    valid = getattr(z, "valid", None)
    return torch.ones(1, device=z.device) if valid is None else valid[..., None].to(z.dtype)


def own_noise(z: Tensor, copies: int, seed: int):
    """A function that draws the next step's standard normal noise, (B, copies, ...) shaped as z behind that.

    Every sample draws one block (copies, tokens, width) a step from a CPU generator of its own, all with one seed, so that
    its noise does not depend on its company, and is that of torch's global generator after `manual_seed(seed)`.
    """
    valid = getattr(z, "valid", None)
    lengths = [z.shape[1]] * len(z) if valid is None else valid.sum(1).tolist()
    generators = [torch.Generator().manual_seed(seed) for _ in lengths]

    def draw() -> Tensor:
        noise = torch.zeros(len(z), copies, *z.shape[1:])
        for block, length, generator in zip(noise, lengths, generators):
            block[:, :length] = torch.randn(copies, length, *z.shape[2:], generator=generator)
        return noise.to(z)

    return draw
