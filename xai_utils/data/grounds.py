"""Grounds for scenes: photographs of meadows, mountains, rocks, water, floors and a wall,
in which no thing stands.

They are parts of the wallpapers and of the painting templates that two of Debian's packages hold.
Both are fetched as the stamps are; `XAI_WALLPAPERS` and `XAI_TEMPLATES` may name their .deb files
or unpacked folders instead.
"""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from .cache import cache_folder, prepared
from .debian import DataMissing, unpacked
from .stamps import SIDE

WALLPAPERS = ("lomiri-wallpapers-16.04", "XAI_WALLPAPERS")
TEMPLATES = ("tuxpaint-data", "XAI_TEMPLATES")
# package, file, (left, top, right, bottom) of the part in hundredths of the picture, and the
# hundredth of the part's height below which things stand
PARTS = {
    "beach": (WALLPAPERS, "Bridge_by_Sander_Klootwijk", (0, 62, 25, 100), 62),
    "concrete": (WALLPAPERS, "Picture_0B_by_freespace", (0, 60, 24, 100), 35),
    "cork": (WALLPAPERS, "Wine_by_Jakkub_Mede", (80, 62, 100, 100), 35),
    "hillside": (WALLPAPERS, "sunset_by_Aitzol_Berasategi", (0, 55, 60, 100), 25),
    "meadow": (WALLPAPERS, "aitzgorri_by_Aitzol_Berasategi", (0, 10, 100, 100), 60),
    "mountains": (WALLPAPERS, "picosdeeuropa_by_Aitzol_Berasategi", (0, 10, 100, 100), 60),
    "pasture": (WALLPAPERS, "aitzgorri_by_Aitzol_Berasategi", (10, 64, 60, 100), 5),
    "planks": (WALLPAPERS, "friends_by_Aitzol_Berasategi", (58, 0, 100, 40), 35),
    "slope": (WALLPAPERS, "picosdeeuropa_by_Aitzol_Berasategi", (30, 65, 75, 97), 5),
    "stream": (WALLPAPERS, "life_by_Aitzol_Berasategi", (0, 15, 100, 100), 50),
    "moss": (TEMPLATES, "mossy_log", (0, 5, 100, 100), 40),
    "mudstone": (TEMPLATES, "mudstone", (0, 10, 100, 100), 20),
    "pebbles": (TEMPLATES, "rocks", (0, 0, 100, 100), 25),
    "waves": (TEMPLATES, "ocean_waves", (0, 10, 100, 100), 50),
}
SHORT = 320  # the shorter side of a prepared part, pixels
LIGHT = 110  # of 255: the least mean of a prepared part
ZOOM = (0.75, 1)  # how much of the shorter side a ground shows
BLUR = (0.4, 1.1)  # pixels: what is behind the things is a little out of focus


def ground(rng: np.random.Generator) -> tuple[Image.Image, int]:
    """SIDE x SIDE pixels of a photograph down to its lower edge, perhaps mirrored, a little out of
    focus; and the row of pixels below which things stand."""
    image, floor = parts()[rng.integers(len(PARTS))]
    side = round(SHORT * rng.uniform(*ZOOM))
    left, top = int(rng.integers(image.width - side + 1)), image.height - side
    floor = max(0, round((floor / 100 * image.height - top) * SIDE / side))
    box = (left, top, left + side, image.height)
    image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    return image.filter(ImageFilter.BoxBlur(rng.uniform(*BLUR))), floor


def parts() -> list[tuple[Image.Image, int]]:
    """All parts, each with its floor. Raises DataMissing where a package cannot be had."""
    return read_parts(str(cache_folder()))


@cache
def read_parts(_root: str) -> list[tuple[Image.Image, int]]:
    folder, found = prepared("grounds-1", build), []
    for name, (*_, floor) in PARTS.items():
        with Image.open(folder / f"{name}.png") as image:
            found.append((image.convert("RGB"), floor))
    return found


def build(folder: Path) -> None:
    """Unpack the packages and keep the parts, their shorter side SHORT pixels."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = {
            (package, variable): unpacked(
                package,
                variable,
                Path(scratch) / package,
                "photos and stamps work without; for scenes",
            )
            for package, variable in (WALLPAPERS, TEMPLATES)
        }
        for name, (origin, file, hundredths, _) in PARTS.items():
            path = next(sources[origin].rglob(f"{file}.jpg"), None)
            if path is None:
                package, variable = origin
                raise DataMissing(
                    f"no {file}.jpg under {sources[origin]}: {variable} must name the unpacked"
                    f" {package} or its .deb"
                )
            with Image.open(path) as image:
                box = [round(h * s / 100) for h, s in zip(hundredths, 2 * image.size)]
                part = image.convert("RGB").crop(box)
            size = [round(s * SHORT / min(part.size)) for s in part.size]
            part = part.resize(size, Image.Resampling.LANCZOS)
            lightened(part).save(folder / f"{name}.png")


def lightened(image: Image.Image) -> Image.Image:
    """A dark photograph as if exposed longer, so that its mean comes to about LIGHT."""
    power = min(1, np.log(LIGHT / 255) / np.log(np.asarray(image).mean() / 255))
    return image.point([round(255 * (v / 255) ** power) for v in range(256)] * 3)
