"""Stamps: about 300 photographs of single things, cut out, each with a caption.

They come with Debian's package tuxpaint-stamps-default. It is fetched with apt-get into a private
folder, without root; `XAI_STAMPS` may name the .deb or an unpacked folder instead.
"""

import csv
import hashlib
import re
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from .cache import cache_folder, prepared
from .debian import DataMissing, unpacked
from .samples import Dataset, Sample, Thing

PACKAGE = "tuxpaint-stamps-default"
SIDE = 224  # the longer side of a prepared stamp, pixels
LEFT_OUT = re.compile(  # symbols and copies, then drawings that the package does not call cartoons
    r"symbols|cartoon|flags|roadsigns|space/|halloween/|dreydl|police|_mirror|newyears"
    r"|clothes/button|food/pizza|body_?parts/eye"
    r"|explosion|clothes/t_|hats/|hedgehog|echidna|tooth|insects/(bee|fly)"
    r"|fish/shrimp|dishes/glass|lightning"
    r"|christmas/(Santa|santahat|star|candy_cane|hard_candy|stocking|lamp|bow|xmas)"
    r"|christmas/tree|inukshuk-outline"
    r"|easter/(bluebird|bunny|butterfly|chick|daffodil|wrapped)|candle|menorah"
)
# captions that are sentences, names or puns instead of the name of the thing
CAPTIONS = {
    "broccoli": "broccoli",
    "corn": "sweet yellow corn",
    "toilet": "a toilet",
    "stethoscope": "a stethoscope",
    "bluegroper": "a blue groper",
    "edward_bear": "a teddy bear",
    "bradley": "an armored fighting vehicle",
    "infantry-stryker": "an armored personnel carrier",
    "ww2_german_gun": "an old field gun",
    "fire": "a fire",
    "measuring_tape": "a measuring tape",
    "old_naval_shell": "an old naval shell",
    "Mince_Pie": "a mince pie",
    "Roast_turkey": "a roast turkey",
    "Candy_cane_photo_1": "a candy cane",
    "Candy_cane_photo_2": "a candy cane",
    "tomato": "a ripe tomato",
    "lionfish": "a lionfish",
    "hippopotamus": "a hippopotamus",
    "uk_post_box": "a red post box",
    "wheelie_bin": "a wheelie bin",
    "7spoke256": "a car wheel",
    "cep-2": "a cep",
    "rambutan": "a rambutan tree",
    "hoverfly": "a hoverfly",
    "German_Christmas_toy": "a wooden toy",
    "chemparathi": "a hibiscus flower",
    "anthoorium": "an anthurium",
    "adeenia": "a desert rose",
    "appooppanthady": "an Indian milkweed",
    "bolsom": "a balsam flower",
    "chuvanna_plastic_poo": "a red plastic flower",
    "holly_leaves": "holly leaves",
    "final-roll-call": "a soldier's memorial",
    "grannysmith": "a rag doll",
}


SPLITS = ("train", "test", "novel")


def stamps(split: str, seed: int, n: int | None) -> Dataset:
    """Single stamps on plain grey, `test` and `train` placing the same ones differently, `novel`
    showing others."""
    rows = [r for r in table() if r["novel"] == (split == "novel")][:n]
    return Dataset(f"stamps/{split}", len(rows), partial(stamp, rows, [seed, SPLITS.index(split)]))


def stamp(rows: list[dict], seeds: list[int], i: int) -> Sample:
    """One stamp on plain grey; its place follows from `seeds` and i."""
    row, rng = rows[i], np.random.default_rng([*seeds, i, 1])
    grey = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    image, thing = paste(grey, row, rng, (0.6, 0.9))
    return Sample(row["id"], image, f"{thing.caption} on a grey ground", (thing,), row["label"])


def table() -> list[dict]:
    """All stamps, sorted by id: id, file, caption, label, novel."""
    return read_table(str(cache_folder()))


@cache
def read_table(_root: str) -> list[dict]:
    folder = prepared("stamps-3", build)
    with (folder / "stamps.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for r in rows:
        r["file"], r["novel"] = folder / r["file"], r["novel"] == "1"
        r["label"] = int(r["label"]) if r["label"] else None
    return rows


def paste(
    ground: Image.Image, row: dict, rng: np.random.Generator, scale: tuple[float, float]
) -> tuple[Image.Image, Thing]:
    """Put a stamp on `ground`, its longer side between scale[0] and scale[1] of the ground's
    shorter one."""
    stamp = Image.open(row["file"])
    side = rng.uniform(*scale) * min(ground.size)
    stamp = stamp.resize(
        [max(1, round(s * side / max(stamp.size))) for s in stamp.size], Image.Resampling.LANCZOS
    )
    left = int(rng.integers(ground.width - stamp.width + 1))
    top = int(rng.integers(ground.height - stamp.height + 1))
    ground.paste(stamp, (left, top), stamp)
    mask = np.zeros(ground.size[::-1], bool)
    mask[top : top + stamp.height, left : left + stamp.width] = np.array(stamp)[..., 3] >= 128
    return ground, Thing(row["caption"], (left, top, left + stamp.width, top + stamp.height), mask)


def build(folder: Path) -> None:
    """Unpack the package, keep the photographs of things, crop each to what is not transparent,
    write stamps.csv."""
    with tempfile.TemporaryDirectory() as scratch:
        source = unpacked(
            PACKAGE, "XAI_STAMPS", Path(scratch), "photos work without; for stamps and scenes"
        )
        rows, seen = [], set()
        for path in sorted(source.rglob("*.png")):
            name = path.relative_to(source).as_posix().split("tuxpaint/stamps/")[-1]
            caption = read_caption(path)
            if LEFT_OUT.search(name) or not caption:
                continue
            with Image.open(path) as image:
                image = image.convert("RGBA")
            image = image.crop(image.getchannel("A").point(lambda a: 255 * (a >= 128)).getbbox())
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            key = hashlib.sha256(image.tobytes()).hexdigest()
            if key in seen:
                continue
            seen.add(key)
            ident = re.sub(r"[^a-z0-9]+", "-", name.removesuffix(".png").lower()).strip("-")
            novel = (
                int(hashlib.sha256(caption.encode()).hexdigest(), 16) % 5 == 0
            )  # by caption: twins stay together
            image.save(folder / f"{ident}.png")
            rows.append([ident, f"{ident}.png", caption, imagenet_label(caption), int(novel)])
    if len(rows) < 100:
        raise DataMissing(
            f"only {len(rows)} stamps under {source}: XAI_STAMPS must name the unpacked {PACKAGE}"
            " or its .deb"
        )
    with (folder / "stamps.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "file", "caption", "label", "novel"], *sorted(rows)])


def read_caption(png: Path) -> str:
    """ "A peacock (a male peafowl)." -> "a peacock"; empty where the stamp has no caption of its
    own."""
    if png.stem in CAPTIONS:
        return CAPTIONS[png.stem]
    txt = png.with_suffix(".txt")
    line = txt.read_text("utf-8", "replace").split("\n")[0] if txt.is_file() else ""
    name = re.split(r"[(,.!;:—]| that | is ", line)[0].strip()
    name = re.sub(
        "[“”\"']", "", name.replace("’", "'") if "’s" in name else name.replace("’", "")
    ).strip()
    return name[:1].lower() + name[1:] if re.match(r"(An?|The|Two|Some|Big) ", name) else ""


@cache
def imagenet_index() -> dict[str, int]:
    import timm

    info = timm.data.ImageNetInfo()
    names = {}
    for i in range(1000):
        for name in info.index_to_description(i).lower().split(", "):
            names.setdefault(name.strip(), i)
    return names


def imagenet_label(caption: str) -> int | str:
    """The ImageNet class that bears exactly this name, else ""."""
    return imagenet_index().get(re.sub(r"^(an?|the|a pair of) ", "", caption).lower(), "")
