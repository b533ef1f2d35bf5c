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
    decay: float = 0.05,
    muon: float = 0.0,
):
    """AdamW, cosine decay after 5 % of warm-up, gradients clipped at 1; goes on from
    out/checkpoint.pt.

    terms(rows, step) -> the terms of the loss on these rows of n; `weights` says how they are
    summed
    decay  AdamW's weight decay
    muon   the learning rate of Muon (Jordan et al. 2024), which then trains the matrices inside
           `blocks` in AdamW's place; 0: AdamW trains all
    """
    optimisers = optimisers_of(module, lr, decay, muon)
    trained = [p for o in optimisers for p in o.param_groups[0]["params"]]
    rates = [o.param_groups[0]["lr"] for o in optimisers]
    warm = max(1, steps // 20)

    def rate(step: int) -> float:
        part = min(1, max(0, step - warm) / max(1, steps - warm))
        return float(min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * part)) + 0.001))

    file, log, begun = out / "checkpoint.pt", [], 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        module.load_state_dict(state["module"])
        for optimiser, its in zip(optimisers, state["optimisers"]):
            optimiser.load_state_dict(its)
        log, begun = state["log"], len(state["log"])
    clock = time.time()
    for step in progress(range(begun, steps), "training"):
        found = terms(batch_rows(n, batch, step, seed), step)
        grads = torch.autograd.grad(sum(w * found[k] for k, w in weights.items()), trained)
        for p, g in zip(trained, grads):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimiser, most in zip(optimisers, rates):
            optimiser.param_groups[0]["lr"] = most * rate(step)
            optimiser.step()
        log.append({k: v.item() for k, v in found.items()})
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            save(out, module, optimisers, log)
            recent = {k: f"{np.mean([row[k] for row in log[-EVERY:]]):.3f}" for k in weights}
            print(
                f"step {step + 1}/{steps}",
                recent,
                f"{(step + 1 - begun) * batch / (time.time() - clock):.0f} pictures/s",
                flush=True,
            )
    return module.eval()


def optimisers_of(module, lr: float, decay: float, muon: float) -> list[torch.optim.Optimizer]:
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    inside = [p for k, p in trained.items() if muon and ".blocks." in k and p.ndim == 2]
    others = [p for p in trained.values() if all(p is not q for q in inside)]
    adamw = torch.optim.AdamW(others, lr=lr, weight_decay=decay)
    return [adamw, torch.optim.Muon(inside, lr=muon, weight_decay=0.01)] if inside else [adamw]


def batch_rows(n: int, batch: int, step: int, seed: int) -> torch.Tensor:
    """The rows of a step: every row once in n // batch steps, in an order that only seed and step
    decide."""
    round_, place = divmod(step, n // batch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 100_003 + round_))
    return order[place * batch : (place + 1) * batch]


def save(out: Path, module, optimisers: list, log: list[dict]) -> None:
    aside = out / "checkpoint.part"
    its = [optimiser.state_dict() for optimiser in optimisers]
    torch.save(dict(module=module.state_dict(), optimisers=its, log=log), aside)
    aside.replace(out / "checkpoint.pt")
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *log[0]])
        writer.writeheader()
        writer.writerows({"step": i + 1, **row} for i, row in enumerate(log))
