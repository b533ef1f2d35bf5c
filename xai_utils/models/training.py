"""A training loop that goes on from its last checkpoint."""

import csv
import time
from pathlib import Path

import numpy as np
import torch

from ..batching import progress

EVERY = 100  # steps from one checkpoint to the next


def loop(
    out: Path,
    module,
    terms,
    weights: dict[str, float],
    *,
    n: int,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
):
    """AdamW, cosine decay after 5 % of warm-up, gradients clipped at 1; goes on from
    out/checkpoint.pt.

    terms(rows, step) -> the terms of the loss on these rows of n; `weights` says how they are
    summed
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=lr, weight_decay=0.05)
    warm = max(1, steps // 20)

    def rate(step: int) -> float:
        part = min(1, max(0, step - warm) / max(1, steps - warm))
        return min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * part)) + 0.001)

    file, log, begun = out / "checkpoint.pt", [], 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        log, begun = state["log"], len(state["log"])
    clock = time.time()
    for step in progress(range(begun, steps), "training"):
        optimiser.param_groups[0]["lr"] = float(lr * rate(step))
        found = terms(batch_rows(n, batch, step, seed), step)
        optimiser.zero_grad()
        grads = torch.autograd.grad(sum(w * found[k] for k, w in weights.items()), trained)
        for p, g in zip(trained, grads):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        log.append({k: v.item() for k, v in found.items()})
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            save(out, module, optimiser, log)
            recent = {k: f"{np.mean([row[k] for row in log[-EVERY:]]):.3f}" for k in weights}
            print(
                f"step {step + 1}/{steps}",
                recent,
                f"{(step + 1 - begun) * batch / (time.time() - clock):.0f} pictures/s",
                flush=True,
            )
    return module.eval()


def batch_rows(n: int, batch: int, step: int, seed: int) -> torch.Tensor:
    """The rows of a step: every row once in n // batch steps, in an order that only seed and step
    decide."""
    round_, place = divmod(step, n // batch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100_003 + round_))
    return order[place * batch : (place + 1) * batch]


def save(out: Path, module, optimiser, log: list[dict]) -> None:
    aside = out / "checkpoint.part"
    torch.save(dict(module=module.state_dict(), optimiser=optimiser.state_dict(), log=log), aside)
    aside.replace(out / "checkpoint.pt")
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *log[0]])
        writer.writeheader()
        writer.writerows({"step": i + 1, **row} for i, row in enumerate(log))
