"""How far apart are two processors? The same maps and metrics with this processor's instructions
and with fewer of them, which round in another way.

    python benchmarks/rounding.py [N]

A difference is relative to the spread of the metric over all maps; flips are values of yes or no
that changed. `studies/tolerance.py` lets a check of the evidence pass by these numbers.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd

FEWER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tables = []
        for name, more in (("own", {}), ("fewer", FEWER)):
            file = Path(folder) / f"{name}.parquet"
            command = [sys.executable, __file__, str(n), str(file)]
            subprocess.run(command, check=True, env=os.environ | more)
            tables.append(pd.read_parquet(file))
    print(compared(*tables).to_markdown(index=False, floatfmt=".2g"))


def compared(own: pd.DataFrame, fewer: pd.DataFrame) -> pd.DataFrame:
    """One line for each model, method and metric."""
    apart = (own.value - fewer.value).abs()
    lines = []
    for (model, side, metric), rows in own.groupby(["model", "modality", "metric"], sort=False):
        spread = rows.value.max() - rows.value.min()
        yes_no = set(rows.value) <= {0, 1, 100}
        for method, of in rows.groupby("method", sort=False):
            found = apart[of.index]
            line = dict(model=model, side=side, metric=metric, method=method, n=len(of))
            line["flips"] = int((found > 0).sum()) if yes_no else ""
            line["largest"] = "" if yes_no else found.max() / spread
            lines.append(line)
    return pd.DataFrame(lines)


def measure(n: int, file: Path) -> None:
    import torch

    import xai_utils as xu
    from xai_utils import metrics
    from xai_utils.methods import adaib, grad_cam, integrated_gradients, m2ib, nib, p_ibisa, rise
    from xai_utils.studies.sets import scenes

    torch.set_num_threads(1)
    images = {
        "p-ibisa": p_ibisa,
        "m2ib": m2ib,
        "nib": nib,
        "adaib": partial(adaib, g="mlp"),
        "grad-cam": grad_cam,
        "integrated-gradients": integrated_gradients,
        "rise": partial(rise, masks=100),
    }
    texts = {k: images[k] for k in ("p-ibisa", "m2ib", "nib", "adaib")}
    confidence = [metrics.confidence_drop, metrics.confidence_increase]
    places = [metrics.iou, metrics.pointing_game, metrics.energy_in_mask]
    curves = [partial(metrics.morf, steps=14), partial(metrics.lerf, steps=14)]
    tables = []
    for name in ("lit-lite0", "vit-photos"):
        model = xu.load_model(name)
        c = xu.cases(model, scenes(name, n))
        tables.append(xu.score(xu.explain(images, c), c, confidence + places + curves))
        c = xu.cases(model, scenes(name, n), modality="text")
        tables.append(xu.score(xu.explain(texts, c), c, confidence))
    pd.concat(tables, ignore_index=True).to_parquet(file)


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) == 2:
        measure(int(given[0]), Path(given[1]))
    else:
        main(int(given[0]) if given else 8)
