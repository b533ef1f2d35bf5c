"""What P-IBISA's tables and claims rest on."""

from functools import partial

from .. import metrics
from ..methods import m2ib, nib, ones_map, p_ibisa, random_map, rise
from . import sets
from .base import Judged, Study

SCALED = {"conf-drop": metrics.confidence_drop, "conf-incr": metrics.confidence_increase}
RAW = {"conf-drop (raw)": partial(metrics.confidence_drop, protocol="raw")}
PLACES = {"iou": metrics.iou, "pointing-hit": metrics.pointing_game}
CONTROLS = {"random": random_map, "ones": ones_map}

# The paper's settings: 20 masks, 15 steps; beta = 2 and phi = 1 are those of Table 2.
TABLE_6 = {
    "p-ibisa": partial(p_ibisa, beta=2.0),
    "beta=1": partial(p_ibisa, beta=1.0),
    "beta=3": partial(p_ibisa, beta=3.0),
    "learnable": partial(p_ibisa, beta=None, phi=None),
}


def captions(profile: str) -> list[Judged]:
    """Tables 2 and 6: a picture explained by a text, and by one of two things in it."""
    if profile != "embedded":
        return []
    rivals = {"rise": partial(rise, masks=1000), "m2ib": m2ib, "nib": nib}
    methods = TABLE_6 | rivals | CONTROLS
    common = dict(model="lit-lite0", methods=methods)
    contrast = {"mask-contrast": metrics.mask_contrast}
    return [
        Judged(
            name="scenes",
            samples=partial(sets.scenes, "lit-lite0", 100),
            metrics=SCALED | RAW | PLACES,
            **common,
        ),
        Judged(
            name="scenes, things",
            samples=partial(sets.scenes, "lit-lite0", 60, objects=2, seed=1),
            target="things",
            metrics=SCALED | RAW | PLACES | contrast,
            **common,
        ),
    ]


STUDIES = [
    Study(
        name="p-ibisa-captions",
        asks="Does P-IBISA's map for a text keep the match and lie on what the text names?",
        parts=captions,
    )
]
