"""Seconds per map of every method, as a multiple of one forward and one backward pass of the same
encoder, one sample.

    python benchmarks/baselines.py [--repeats 3] [--only rise chefer]

`authors` is the same multiple measured for the published code of NIB and M2IB on ViT-B/32 (their
RISE has 6,000 and 200 masks, their M2IB lets every weight collect gradients). Ours stands beside it
where the method is the same. RISE runs with 240 masks and Kernel SHAP on images with 256
coalitions, both are multiplied up; `/ bare` is RISE's time over the bare forward passes of as many
pictures.
"""

import argparse
import os
import time
from functools import partial

os.environ["XAI_PROGRESS"] = "0"

import torch

import xai_utils as xu
from xai_utils import methods as m

RISE, SHAP = 240, 256  # masks and coalitions that are timed
SCALE = {"rise, 6000": 6000 / RISE, "kernel_shap, 2048": 2048 / SHAP}
LAST = dict(first=-1)
IMAGE = {  # name: (method, what the authors' code takes in the same unit)
    "saliency": (m.saliency, None),
    "fast_ig": (m.fast_ig, None),
    "integrated_gradients, 50": (m.integrated_gradients, None),
    "mfaba, pixels": (m.mfaba, None),
    "mfaba, tokens": (partial(m.mfaba, layer=0), 10.0),
    "grad_cam": (m.grad_cam, None),
    "grad_cam, pool=False": (partial(m.grad_cam, pool=False), 2.3),
    "attention_rollout": (m.attention_rollout, None),
    "attention_saliency": (m.attention_saliency, 0.7),
    "attention_fast_ig": (m.attention_fast_ig, 0.7),
    "chefer": (m.chefer, None),
    "chefer, last block": (partial(m.chefer, **LAST), 0.6),
    "chefer_lrp": (m.chefer_lrp, None),
    "ag_cam": (m.ag_cam, None),
    "legrad": (m.legrad, None),
    "nib": (m.nib, 3.6),
    "m2ib": (m.m2ib, 98.1),
    "iba": (m.iba, None),
    "ibisa": (m.ibisa, None),
    "p_ibisa": (m.p_ibisa, None),
    "sbsm": (m.sbsm, None),
    "kernel_shap, 2048": (partial(m.kernel_shap, samples=SHAP), None),
    "rise, 6000": (partial(m.rise, masks=RISE), 1609.0),
    "random_map": (m.random_map, None),
}
TEXT = {
    "saliency": (m.saliency, None),
    "fast_ig": (m.fast_ig, None),
    "integrated_gradients, 50": (m.integrated_gradients, None),
    "mfaba, tokens": (m.mfaba, 77.6),
    "grad_cam": (m.grad_cam, None),
    "grad_cam, pool=False": (partial(m.grad_cam, pool=False), 7.7),
    "attention_rollout": (m.attention_rollout, None),
    "attention_saliency": (m.attention_saliency, 2.5),
    "attention_fast_ig": (m.attention_fast_ig, 2.7),
    "chefer": (m.chefer, None),
    "chefer, last block": (partial(m.chefer, **LAST), 2.6),
    "ag_cam": (m.ag_cam, None),
    "legrad": (m.legrad, None),
    "nib": (m.nib, 4.0),
    "m2ib": (m.m2ib, 443.0),
    "kernel_shap": (m.kernel_shap, None),
    "rise, 200": (partial(m.rise, masks=200), 143.0),
    "random_map": (m.random_map, None),
}


def seconds(f, repeats: int) -> float:
    """The median of `repeats` runs after one to warm up; what takes over 20 s runs once."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
        if times[0] > 20:
            return times[0]
    return sorted(times[1:])[repeats // 2]


def passes(encoder, inputs):
    """One forward and one backward pass to the pixels, or to the states of the words."""
    split = encoder.split(0)
    z = split.prefix(inputs) if isinstance(inputs, list) else inputs.clone()
    leaf = z.detach().requires_grad_()
    h = split.suffix(leaf, like=z) if isinstance(inputs, list) else encoder(leaf)
    torch.autograd.grad(h.sum(), leaf)


def bare_forwards(encoder, x, n: int):
    with torch.no_grad():
        for rows in torch.arange(n).split(encoder.best_batch or 64):
            encoder(x.expand(len(rows), -1, -1, -1))


def table(title, encoder, inputs, target, methods, repeats, only, classes=None):
    unit = seconds(lambda: passes(encoder, inputs), repeats)
    print(f"\n{title}: one forward and backward pass {1000 * unit:.0f} ms")
    print(
        f"{'method':26s} {'s per map':>10s} {'x passes':>9s} {'authors':>8s} {'ours / theirs':>14s}"
        f" {'/ bare':>7s}"
    )
    for name, (method, theirs) in methods.items():
        if only and not any(name.startswith(o) for o in only):
            continue
        goal = classes if name == "chefer_lrp" else target
        if goal is None:
            continue
        try:
            took = seconds(lambda: method(encoder, inputs, goal), repeats)
        except ValueError as error:  # what needs attention on a CNN
            print(f"{name:26s} {'-':>10s}   {str(error)[:90]}")
            continue
        bare = ""
        if name == "rise, 6000":
            bare = f"{took / seconds(lambda: bare_forwards(encoder, inputs, RISE), repeats):.2f}"
        took *= SCALE.get(name, 1)
        ratio = f"{took / unit / theirs:.2f}" if theirs else ""
        print(
            f"{name:26s} {took:10.3f} {took / unit:9.1f} {theirs or '':>8} {ratio:>14s} {bare:>7s}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="the median of this many runs is printed"
    )
    parser.add_argument("--only", nargs="*", help="methods whose names begin so")
    a = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32, median of {a.repeats}"
    )
    texts = ["two small green apples"]
    for name in ("conse-lite0", "vit-photos", "open_clip/ViT-B-32"):
        model = xu.load_model(name, device="cpu")
        x = torch.randn(1, 3, *model.image.image_size, generator=torch.Generator().manual_seed(0))
        classes = torch.tensor([0]) if model.image.head else None
        table(
            f"{name}, image",
            model.image,
            x,
            model.encode_text(texts),
            IMAGE,
            a.repeats,
            a.only,
            classes,
        )
        if name != "vit-photos":  # its text side is MiniLM too
            table(
                f"{name}, text", model.text, texts, model.encode_image(x), TEXT, a.repeats, a.only
            )


if __name__ == "__main__":
    main()
