"""A slider over maps that are already computed."""

import ipywidgets as widgets
import matplotlib.pyplot as plt

from .plots import panels


def explore(picture, maps: dict, *, name: str, unit: str, signed: bool = False) -> widgets.Widget:
    """A slider over `maps` (setting -> (H, W)) on `picture`, all on one scale; `name` is what the settings are called."""
    settings = list(maps)
    values = list(maps.values())
    limits = (min(float(m.min()) for m in values), max(float(m.max()) for m in values))

    def draw(setting):
        fig = panels([[("", picture), (f"{name} = {setting}", picture, maps[setting])]], unit=unit, signed=signed, limits=limits)
        plt.show(fig)

    return widgets.interactive(draw, setting=widgets.SelectionSlider(options=settings, description=name))
