"""A slider over maps that are already computed."""

import os

import ipywidgets as widgets
import matplotlib.pyplot as plt

from .checks import check_flag
from .images import rgb
from .page import common_limits
from .plots import check_drawn, panels


def explore(
    picture, maps: dict, *, name: str, unit: str, signed: bool = False
) -> widgets.Widget | None:
    """A slider over `maps` (setting -> (H, W)) on `picture`, all on one scale; `name` is what the
    settings are called.

    In a run without a person (XAI_PROGRESS=0) a line of text: a widget that captures its output
    makes nbclient, and so papermill, wait for ever now and then.
    """
    if not isinstance(maps, dict) or not maps:
        raise TypeError(f"maps must be a dict of setting -> map (H, W), got {maps!r}")
    check_flag("signed", signed)
    values = [check_drawn(map, f"maps[{setting!r}]") for setting, map in maps.items()]
    if len({map.shape for map in values}) > 1:
        raise ValueError("maps must all have one shape (H, W)")
    picture = rgb(picture)
    if os.environ.get("XAI_PROGRESS") == "0":
        return print(f"a slider over {name}, when run in JupyterLab")
    settings, limits = list(maps), common_limits(values, signed)

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
