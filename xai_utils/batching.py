"""How many rows go through an encoder together, and the bar that shows how far a loop has come."""

import os
from collections.abc import Iterable
from contextvars import ContextVar

import torch
from torch import Tensor


def row_groups(encoder, samples: int, copies: int, chunk: int) -> list[Tensor]:
    """The indices of samples x copies rows, in groups of at most `chunk` that go through the
    encoder together.

    On a CPU a group stays within one sample and within the encoder's best batch, so that a sample
    meets the same groups, and so the same rounding, alone and in a batch.
    """
    most = (
        chunk if encoder.device.type != "cpu" else min(chunk, copies, encoder.best_batch or copies)
    )
    whole = max(1, most // copies)  # samples that fit in one group
    rows = torch.arange(samples * copies, device=encoder.device).split(whole * copies)
    return [group for part in rows for group in part.split(most)]


QUIET = ContextVar(
    "QUIET", default=False
)  # set while a bar of a larger piece of work is on the screen


def progress(steps: Iterable, what: str):
    """A progress bar over `steps`; XAI_PROGRESS=0 switches all of them off."""
    from tqdm.auto import tqdm

    return tqdm(
        steps, desc=what, leave=False, disable=QUIET.get() or os.environ.get("XAI_PROGRESS") == "0"
    )
