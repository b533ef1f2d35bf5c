"""Quality of P-IBISA's maps against its cost, N masks x T steps, paired with the paper's 20 x 15.

    python benchmarks/p_ibisa_frontier.py [--n 6] [--seed 0]

Scenes of two things from the `train` split, one map for each thing's caption, beta 2 and phi 1. A
mask does not know how many others there are nor when it will be stopped, so one run of 40 masks
holds every smaller N and T (more than 15 steps for the first 10 masks only). Beside it, masks whose
starts are antithetic (g and -g) or quasi-random (a scrambled Sobol sequence), masks that stop when
their loss no longer falls, and one mask from an even start. "like" is the rank correlation with the
map of 20 other masks, so that no setting is compared with itself; 40 masks hold those and have
none. A setting is called equal where the 95 % intervals of IoU, energy and drop, each minus that of
20 x 15, lie within the margins below, which were set beforehand. Each case is kept in a file of its
own as soon as it is done: stop and start again at will. (It does not go through `evaluate`, which
would compute the common run once for each setting.)
"""

import argparse
import json
import os
from pathlib import Path

os.environ["XAI_PROGRESS"] = "0"

import torch

import xai_utils as xu
from xai_utils.data import recognised
from xai_utils.data.cache import cache_folder
from xai_utils.methods import p_ibisa
from xai_utils.methods.masks import area, sample_grids, total_variation, upsample
from xai_utils.methods.p_ibisa import similar
from xai_utils.metrics import confidence_drop, energy_in_mask, iou, mean_interval, rank_correlation

PAPER, MOST = (
    "20 x 15",
    100,
)  # what all are paired with, and the third of its passes that a fast preset may cost
MARGIN = {"iou": 0.03, "energy": 0.03, "drop": 0.5}
MASKS, STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 40), (5, 7, 10, 15, 20, 30)
BETA, PHI, ALPHA, CELLS = 2.0, 1.0, 3.0, 49


def path(encoder, x, h, start, steps):
    """Where the grids are before each step and after the last (T + 1, N, 7, 7), and the losses of
    each step (T, N)."""
    g, k, size = start.clone(), x.numel(), tuple(x.shape[-2:])
    adam, places, losses = torch.optim.Adam([g], lr=1.0), [g.clone()], []
    for _ in range(steps):
        values, grads = [], []
        for rows in torch.arange(len(g)).split(encoder.best_batch or len(g)):
            leaf = g[rows].requires_grad_()
            m = upsample(leaf, size)
            loss = (
                similar(encoder(x * m[:, None]), h)
                + BETA * (area(m) / k)
                + PHI * (total_variation(m) / k)
            )
            grads.append(torch.autograd.grad(loss.sum(), leaf)[0])
            values.append(loss.detach())
        g.grad = torch.cat(grads)
        adam.step()
        places.append(g.clone())
        losses.append(torch.cat(values))
    return torch.stack(places), torch.stack(losses)


def stopped(losses, least):
    """For each mask the step before which its loss had fallen by less than `least` in two steps,
    else T."""
    falls = losses[:-2] - losses[2:]  # (T - 2, N)
    there = torch.cat([falls < least, torch.ones(1, falls.shape[1], dtype=torch.bool)])
    return (there.int().argmax(0) + 2).clamp(max=len(losses))


def settings(encoder, x, h, seed):
    """name -> (passes, grids (N, 7, 7)), and the grids of the 20 other masks."""
    starts = sample_grids(40, (7, 7), ALPHA, seed)
    first, losses = path(
        encoder, x, h, starts[:12], max(STEPS)
    )  # 12: whole groups of four, as `p_ibisa` has them
    rest, more = path(encoder, x, h, starts[12:], 15)
    first15, losses = (
        torch.cat([first[:16], rest], 1),
        torch.cat([losses[:15], more], 1),
    )  # (16, 40, 7, 7), (15, 40)
    found = {}
    for n in MASKS:
        for t in STEPS:
            if t <= 15 or n <= 10:
                found[f"{n} x {t}"] = n * t, (first if t > 15 else first15)[t, :n]
    for least in (0.02, 0.01, 0.005):
        for n in (10, 20):
            t = stopped(losses[:, :n], least)
            found[f"{n}, stop below {least}"] = int(t.sum()), first15[t, torch.arange(n)]
    half = sample_grids(5, (7, 7), ALPHA, seed)
    mirrored, _ = path(encoder, x, h, torch.stack([half, -half], 1).flatten(0, 1), 15)
    u = torch.quasirandom.SobolEngine(CELLS, scramble=True, seed=seed).draw(10).unflatten(1, (7, 7))
    quasi, _ = path(encoder, x, h, (2 * u - 1) * ALPHA, 15)
    for name, places, counts in (
        ("antithetic", mirrored, (2, 4, 6, 10)),
        ("quasi-random", quasi, (2, 4, 6, 10)),
    ):
        for n in counts:
            for t in (10, 15):
                found[f"{name} {n} x {t}"] = n * t, places[t, :n]
    even, _ = path(encoder, x, h, torch.zeros(1, 7, 7), 30)
    for t in STEPS:
        found[f"even start 1 x {t}"] = t, even[t]
    return found, first15[15, 20:]


def judged(encoder, x, h, mask, seed, check):
    """setting -> its passes and scores for one picture (1, 3, H, W), text (1, D) and exact mask (H,
    W)."""
    found, other = settings(encoder, x, h, seed)
    size = tuple(x.shape[-2:])
    maps = torch.stack([upsample(g, size).mean(0) for _, g in found.values()])
    if check:
        assert torch.equal(
            maps[list(found).index(PAPER)],
            p_ibisa(encoder, x, h, beta=BETA, phi=PHI, seed=seed).map[0],
        )
    like = rank_correlation(maps, upsample(other, size).mean(0).expand_as(maps))
    scores = []
    for part in maps.split(4):
        several = (encoder, x.expand(len(part), -1, -1, -1), h.expand(len(part), -1), part)
        on = dict(masks=mask.expand(len(part), -1, -1))
        columns = (
            iou(*several, **on),
            energy_in_mask(*several, **on),
            confidence_drop(*several, protocol="raw"),
        )
        scores.append(torch.stack([c.float() for c in columns], 1))
    rows = zip(found.items(), torch.cat(scores).tolist(), like.tolist())
    scores = {
        name: dict(passes=n, iou=a, energy=e, drop=d, like=r)
        for (name, (n, _)), (a, e, d), r in rows
    }
    return {
        name: row | (dict(like=float("nan")) if name.startswith("40 ") else {})
        for name, row in scores.items()
    }


def cases(model, n, seed):
    for s in xu.load_dataset(
        "scenes", split="train", n=n, objects=2, seed=seed, stamps=recognised(model, split="train")
    ):
        for k, thing in enumerate(s.things):
            yield (
                f"{s.id}-{k}",
                model.image.transform(s.image)[None],
                thing.caption,
                s.masks(model.image.image_size)[k],
            )


def show(results):
    print(
        f"\nmean and 95 % interval over {len(results)} pairs; iou, energy, drop, like:"
        f" minus those of {PAPER}"
    )
    print(
        "setting | passes | IoU | minus | energy | minus | raw drop | minus | like | minus | equal"
    )
    for name in results[0]:
        rows, paper = [r[name] for r in results], [r[PAPER] for r in results]
        passes, cells, equal = sum(r["passes"] for r in rows) / len(rows), [], True
        for key in ("iou", "energy", "drop", "like"):
            if (
                rows[0][key] != rows[0][key]
            ):  # 40 masks hold those that the others are compared with
                cells += ["", ""]
                continue
            less = mean_interval([r[key] - p[key] for r, p in zip(rows, paper)])
            equal &= -MARGIN.get(key, 2) < less[1] and less[2] < MARGIN.get(key, 2)
            cells += [
                f"{sum(r[key] for r in rows) / len(rows):.3f}",
                "{:.3f} [{:.3f}, {:.3f}]".format(*less),
            ]
        fast = " fast" if equal and passes <= MOST else ""
        print(" | ".join([name, f"{passes:.0f}", *cells, ("yes" if equal else "no") + fast]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=6, help="scenes, two pairs each")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and the starts")
    parser.add_argument(
        "--out", type=Path, help="folder for the finished cases; default: in the kit's cache"
    )
    a = parser.parse_args()
    out, model = (
        a.out or cache_folder() / "p_ibisa_frontier",
        xu.load_model("conse-lite0", device="cpu"),
    )
    out.mkdir(parents=True, exist_ok=True)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, conse-lite0, {a.n} scenes,"
        f" seed {a.seed}",
        flush=True,
    )
    results = []
    for name, x, caption, mask in cases(model, a.n, a.seed):
        file = out / f"{name}.json"
        if not file.exists():
            h = model.encode_text([caption])
            scores = judged(model.image, x, h, mask, a.seed, check=not results)
            file.with_suffix(".part").write_text(json.dumps(scores))
            file.with_suffix(".part").rename(file)
        results.append(json.loads(file.read_text()))
        print(f"{name} {caption}: IoU {results[-1][PAPER]['iou']:.2f}", flush=True)
    show(results)


if __name__ == "__main__":
    main()
