"""Attribution methods: `(encoder, inputs, targets, *, hyper-parameters, seed, chunk) -> Attribution`."""

from .controls import ones_map, random_map
from .m2ib import m2ib
from .nib import nib
from .p_ibisa import p_ibisa

__all__ = ["m2ib", "nib", "ones_map", "p_ibisa", "random_map"]
