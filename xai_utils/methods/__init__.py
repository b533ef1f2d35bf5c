"""Attribution methods: `(encoder, inputs, targets, *, hyper-parameters, seed, chunk) ->
Attribution`."""

from .adaib import adaib
from .aha import aha, train_explainer
from .attention import (
    ag_cam,
    attention_fast_ig,
    attention_rollout,
    attention_saliency,
    chefer,
    legrad,
)
from .chefer_lrp import chefer_lrp
from .controls import centred_gaussian, ones_map, random_map
from .explainers import load_explainer
from .grad_cam import grad_cam
from .gradients import fast_ig, integrated_gradients, mfaba, saliency
from .iba import iba
from .ibisa import ibisa
from .kernel_shap import kernel_shap
from .m2ib import m2ib
from .nib import nib, nib_path
from .p_ibisa import p_ibisa
from .sampling import rise, sbsm

__all__ = [
    "adaib",
    "ag_cam",
    "aha",
    "attention_fast_ig",
    "attention_rollout",
    "attention_saliency",
    "centred_gaussian",
    "chefer",
    "chefer_lrp",
    "fast_ig",
    "grad_cam",
    "iba",
    "ibisa",
    "integrated_gradients",
    "kernel_shap",
    "legrad",
    "load_explainer",
    "m2ib",
    "mfaba",
    "nib",
    "nib_path",
    "ones_map",
    "p_ibisa",
    "random_map",
    "rise",
    "saliency",
    "sbsm",
    "train_explainer",
]
