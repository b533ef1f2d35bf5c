"""A slider over maps that are already computed."""

import os

import ipywidgets as widgets
import matplotlib.pyplot as plt

from .plots import panels


def explore(
    picture, maps: dict, *, name: str, unit: str, signed: bool = False
) -> widgets.Widget | None:
    """A slider over `maps` (setting -> (H, W)) on `picture`, all on one scale; `name` is what the
    settings are called.

    In a run without a person (XAI_PROGRESS=0) a line of text: a widget that captures its output
    makes nbclient, and so papermill, wait for ever now and then.
    """
    if os.environ.get("XAI_PROGRESS") == "0":
        return print(f"a slider over {name}, when run in JupyterLab")
    settings = list(maps)
    values = list(maps.values())
    limits = (min(float(m.min()) for m in values), max(float(m.max()) for m in values))

    def draw(setting):
        fig = panels(
            [[("", picture), (f"{name} = {setting}", picture, maps[setting])]],
            unit=unit,
            signed=signed,
            limits=limits,
        )
        plt.show(fig)

    return widgets.interactive(
        draw, setting=widgets.SelectionSlider(options=settings, description=name)
    )
