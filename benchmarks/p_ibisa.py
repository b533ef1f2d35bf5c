"""P-IBISA against the bare passes it needs: T forward and backward passes of N rows with respect to
the input.

    python benchmarks/p_ibisa.py [--repeats 3]

`bare` gives the encoder all N rows at once; `bare, best batch` in the portions that it handles
fastest on this machine.
"""

import argparse
import os
import time
from dataclasses import replace

os.environ["XAI_PROGRESS"] = "0"

import torch

import xai_utils as xu
from xai_utils.methods import p_ibisa

MASKS, STEPS = 20, 15


def bare(encoder, x, batch):
    for _ in range(STEPS):
        for rows in torch.arange(MASKS).split(batch):
            z = x.repeat(len(rows), 1, 1, 1).requires_grad_()
            torch.autograd.grad(encoder(z).sum(), z)


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="the median of this many runs is printed"
    )
    repeats = parser.parse_args().repeats
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, fp32, {MASKS} masks x"
        f" {STEPS} steps, median of {repeats}"
    )
    print(
        f"{'encoder':34s} {'bare, s':>9s} {'bare, best batch, s':>20s} {'P-IBISA, s':>11s}"
        f" {'/ bare':>7s} {'/ best':>7s}"
    )
    for name in ("conse-lite0", "open_clip/ViT-B-32"):
        image = xu.load_model(name, device="cpu").image
        variants = [(name, image)]
        if image.channels_last:
            variants.append((f"{name}, not channels_last", replace(image, channels_last=False)))
        for label, encoder in variants:
            x = torch.randn(1, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                h = encoder(x)
            jobs = {
                "bare": lambda: bare(encoder, x, MASKS),
                "best": lambda: bare(encoder, x, image.best_batch or MASKS),
                "p_ibisa": lambda: p_ibisa(
                    encoder, x, h, masks=MASKS, steps=STEPS, chunk=image.best_batch or MASKS
                ),
            }
            times = {k: [] for k in jobs}
            for _ in range(repeats):
                for k, job in jobs.items():
                    times[k].append(seconds(job))
            b, best, p = (sorted(times[k])[repeats // 2] for k in jobs)
            print(
                f"{label:34s} {b:9.2f} {best:20.2f} {p:11.2f} {p / b:7.2f} {p / best:7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
