"""What a map costs: seconds, passes, memory."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable
from statistics import median

import psutil
import torch
from torch import Tensor

from ..checks import check_counts, check_function
from ..types import Encoder


def cost(
    method: Callable, encoder: Encoder, inputs, targets: Tensor, *, repeats: int = 3
) -> dict[str, float]:
    """Median seconds per map after one warm-up, passes per map, and peak memory.

    method  (encoder, inputs, targets) -> Attribution
    Returns seconds (per map), forwards and backwards (per map, as the method counts them),
    forward_seconds (one plain pass of the same inputs, per sample), ratio (seconds over that),
    memory_mb: what the call holds at most beyond what was held before: of the GPU as torch counts
    it, on a CPU of the process, sampled every 2 ms.
    """
    check_function("method", method)
    check_counts(repeats=repeats)
    method(encoder, inputs, targets)
    with torch.no_grad():
        encoder(inputs)
        plain = median(
            timed(lambda: encoder(inputs), encoder.device)[0] for _ in range(max(3, repeats))
        )
    runs = [timed(lambda: method(encoder, inputs, targets), encoder.device) for _ in range(repeats)]
    _, memory = peak(lambda: method(encoder, inputs, targets), encoder.device)
    seconds = median(s for s, _ in runs)
    passes = runs[0][1].cost
    n = len(inputs)
    return dict(
        seconds=seconds / n,
        **passes,
        forward_seconds=plain / n,
        ratio=seconds / plain,
        memory_mb=memory / 2**20,
    )


def timed(call: Callable, device: torch.device) -> tuple[float, object]:
    wait(device)
    start = time.perf_counter()
    result = call()
    wait(device)
    return time.perf_counter() - start, result


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def give_back_freed_memory() -> None:
    """glibc keeps what is freed for later, where a new need for it would not show."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another system: small needs may go unseen


def peak(call: Callable, device: torch.device) -> tuple[object, int]:
    """What `call` returns, and the bytes it held at most beyond those held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return call(), torch.cuda.max_memory_allocated(device) - before
    give_back_freed_memory()
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def watch():
        nonlocal most
        while not done.wait(0.002):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        result = call()
    finally:
        done.set()
        thread.join()
    return result, max(most, process.memory_info().rss) - before
