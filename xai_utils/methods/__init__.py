"""Attribution methods: `(encoder, inputs, targets, *, hyper-parameters, seed, chunk) -> Attribution`."""

from .controls import ones_map, random_map
from .p_ibisa import p_ibisa

__all__ = ["ones_map", "p_ibisa", "random_map"]
