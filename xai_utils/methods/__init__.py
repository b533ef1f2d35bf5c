"""Attribution methods: `(encoder, inputs, targets, *, hyper-parameters, seed, chunk) -> Attribution`."""

from .attention import ag_cam, attention_fast_ig, attention_rollout, attention_saliency, chefer, legrad
from .chefer_lrp import chefer_lrp
from .controls import ones_map, random_map
from .m2ib import m2ib
from .nib import nib
from .p_ibisa import p_ibisa

__all__ = ["ag_cam", "attention_fast_ig", "attention_rollout", "attention_saliency", "chefer", "chefer_lrp", "legrad",
           "m2ib", "nib", "ones_map", "p_ibisa", "random_map"]
