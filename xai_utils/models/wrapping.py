"""What every encoder that is brought from outside goes through: a frozen copy, a first look at its
output, and the wrapper for any module or function."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from ..checks import check_positive
from ..images import image_transform
from ..types import DualEncoder, Encoder, ImageEncoder, Parts

MORE = "its forward pass does more than its stem, blocks and head show"


def frozen(module: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters need no gradient, without the hooks that its user has
    registered. It shares the weights' memory, but for those made in inference mode, which no
    gradient could pass; `module` stays as it was. Raises ValueError for a module that is not
    finished, or whose output for a picture depends on the rest of the batch."""
    check_finished(module)
    own = {id(p): p.data.clone() if p.is_inference() else p.data for p in module.parameters()}
    shared = {k: nn.Parameter(data, requires_grad=False) for k, data in own.items()}
    shared |= {id(b): b for b in module.buffers()}
    saved = [t for t in tensors_in(module) if not t.is_leaf]  # what deepcopy refuses
    copied = copy.deepcopy(module, {id(t): t.detach() for t in saved} | shared).eval()
    for part in copied.modules():
        for name in HOOKS:
            hooks = getattr(part, name)
            for key in [k for k, hook in hooks.items() if not is_torch_own(hook)]:
                del hooks[key]
    return copied


def check_finished(module: nn.Module) -> None:
    kind = type(module).__name__
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if isinstance(p, (nn.UninitializedParameter, nn.UninitializedBuffer)):
            raise ValueError(f"model {kind} has no {name} yet: call it once on a picture")
        if p.is_meta:
            raise ValueError(f"model {kind} has no values in {name}, which is on the meta device")
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ValueError(
                f"model {kind} has a batch norm without running statistics, {name}: what it makes"
                " of a picture would depend on the rest of the batch"
            )


HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def is_torch_own(hook) -> bool:
    """Hooks that torch's own weight_norm and the like cannot do without."""
    return (getattr(hook, "__module__", None) or "").split(".")[0] == "torch"


def tensors_in(value, seen: set[int] | None = None):
    """Every tensor that a module holds beside its parameters and buffers: in attributes, lists,
    dicts and plain objects."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (type, str, bytes, int, float)):
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors_in(one, seen)
    elif isinstance(value, (list, tuple, set)):
        for one in value:
            yield from tensors_in(one, seen)
    elif hasattr(value, "__dict__") and not callable(value) or isinstance(value, nn.Module):
        yield from tensors_in(vars(value), seen)


@torch.no_grad()
def checked(encoder: Encoder, probe) -> Encoder:
    """Run the model whole and in pieces on `probe`; pieces that give something else are dropped, D
    is noted.

    Raises TypeError or ValueError where the model does not return one finite (B, D) tensor.
    """
    unsplit = replace(encoder, parts=None)
    h = unsplit(probe)
    if encoder.parts is None:
        return replace(encoder, dim=h.shape[1])
    if is_same(encoder(probe), h, encoder.dtype):
        return replace(encoder, dim=h.shape[1])
    return replace(
        unsplit,
        dim=h.shape[1],
        no_split=MORE,
    )


def is_same(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether embeddings differ by no more than the rounding of the model that they come from."""
    if dtype in (torch.float16, torch.bfloat16):  # a step of bfloat16 is 2^-8, over many layers
        return bool((a.float() - b.float()).norm() <= 0.05 * b.float().norm())
    return torch.allclose(a, b.to(a), rtol=1e-4, atol=1e-5)


def probe_image(size: tuple[int, int], model: nn.Module | None = None) -> torch.Tensor:
    """One picture (1, 3, H, W), where and of what dtype the model's first weight is."""
    probe = torch.linspace(-1, 1, 3 * size[0] * size[1]).reshape(1, 3, *size)
    return probe if model is None else probe.to(next(model.parameters()))


def chain(steps: list):
    """The steps one after another, as one function that can be pickled if they can."""
    return partial(run, tuple(steps))


def run(steps: tuple, z):
    for step in steps:
        z = step(z)
    return z


def divided(unit: float, h: torch.Tensor) -> torch.Tensor:
    return h / unit


def rescaled(encoder: ImageEncoder, unit: float) -> ImageEncoder:
    """The same encoder with its embedding divided by `unit`.

    No cosine and no ranking by distance changes, but a mean squared error does: P-IBISA's
    align="mse" weighs it against the area of the mask, so that the same beta means something else
    in every unit. The head still takes the embedding that comes out. Raises ValueError for a unit
    that is not above 0.
    """
    check_positive(unit=unit)
    smaller = partial(divided, unit)
    parts = encoder.parts
    if parts is not None:
        last = parts.last and (parts.last[0], chain([parts.last[1], smaller]))
        parts = replace(parts, tail=chain([parts.tail, smaller]), last=last)
    return replace(
        encoder,
        name=f"{encoder.name}, embedding / {unit:.3g}",
        whole=chain([encoder.whole, smaller]),
        parts=parts,
        head=encoder.head and chain([partial(torch.mul, unit), encoder.head]),
    )


def wrap_callable(
    f,
    *,
    name: str | None = None,
    image_size: tuple[int, int] | None = None,
    transform=None,
    device: torch.device | None = None,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    parts: Parts | None = None,
    tokens: tuple[int, tuple[int, int]] | None = None,
) -> ImageEncoder:
    """Any module or function (B, 3, H, W) -> (B, D). Without `parts` there is no split: only
    methods that need nothing but the input work.

    Where the size of its pictures is known, the model is tried on one at once.
    """
    inside = [] if isinstance(f, nn.Module) else modules_behind(f)
    if isinstance(f, nn.Module):
        model = whole = frozen(f)
    else:
        model, whole = nn.ModuleList(inside), Resting(f, tuple(inside)) if inside else f
    encoder = ImageEncoder(
        name=name or getattr(f, "__name__", type(f).__name__),
        device=device or device_of(model),
        dtype=dtype_of(model),
        whole=whole,
        parts=parts,
        tokens=tokens,
        image_size=image_size,
        transform=transform or image_transform(image_size or (224, 224), mean, std),
        mean=mean,
        std=std,
        weights=dict(model.named_parameters()) if isinstance(f, nn.Module) else {},
    )
    if image_size is None:
        return encoder
    probe = probe_image(image_size)
    try:
        return checked(encoder, probe)
    except (RuntimeError, NotImplementedError, IndexError, AttributeError) as error:
        raise ValueError(
            f"model {encoder.name} must take pictures {tuple(probe.shape)}, as image_size says, and"
            f" fails on one: {' '.join(str(error).split())[:200]}"
        ) from error


@dataclass(frozen=True)
class Resting:
    """A function that runs with the modules behind it in eval mode, and leaves each in the mode in
    which it found it."""

    f: Callable
    inside: tuple[nn.Module, ...]

    def __call__(self, x):
        training = [m for module in self.inside for m in module.modules() if m.training]
        try:
            for m in training:
                m.training = False
            return self.f(x)
        finally:
            for m in training:
                m.training = True


def modules_behind(f) -> list[nn.Module]:
    """The modules that a function runs, as far as it shows them: those that it is a method of,
    closes over, has as a default or a partial's argument, or names among its globals."""
    if isinstance(f, nn.Module):
        return [f]
    if isinstance(f, partial):
        return [m for v in (f.func, *f.args, *f.keywords.values()) for m in modules_behind(v)]
    if inspect.ismethod(f):
        return modules_behind(f.__self__) + modules_behind(f.__func__)
    if isinstance(f, (DualEncoder, Encoder)) or not inspect.isfunction(f):
        return [v for v in getattr(f, "__dict__", {}).values() if isinstance(v, nn.Module)]
    seen = inspect.getclosurevars(f)
    held = [*seen.nonlocals.values(), *seen.globals.values(), *(f.__defaults__ or ())]
    held += (f.__kwdefaults__ or {}).values()
    inner = getattr(f, "__wrapped__", None)
    return [v for v in held if isinstance(v, nn.Module)] + (modules_behind(inner) if inner else [])


def dtype_of(module: nn.Module) -> torch.dtype:
    """Of the first layer with a weight matrix, which is what a module takes: half precision often
    leaves normalisations and positions in float32. Without one that of any floating weight, and
    float32 without any."""
    layers = (m.weight for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    weights = (w for w in (*layers, *module.parameters()) if isinstance(w, torch.Tensor))
    return next((w.dtype for w in weights if w.is_floating_point()), torch.float32)


def as_device(device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be one of torch's, such as cpu or cuda:0, got {device!r}"
        ) from error


def device_of(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
