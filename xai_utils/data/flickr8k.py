"""Flickr8k (Hodosh, Young and Hockenmaier 2013): photographs with five captions each, and what
people say of how well some pairs belong together.

flickr8k/Flickr8k_Dataset/*.jpg          the pictures (the archive calls the folder
                                         Flicker8k_Dataset)
flickr8k/Flickr8k_text/Flickr8k.token.txt           picture#k, a tab, caption k
flickr8k/Flickr8k_text/Flickr_8k.trainImages.txt    one picture a line; the same for dev and test
flickr8k/Flickr8k_text/ExpertAnnotations.txt        picture, caption's name, three judgements 1..4
"""

from pathlib import Path

from .distributed import Row, Source, drawn, lines, numbered

PICTURES = "Flickr8k_Dataset", "Flicker8k_Dataset"
TEXT = "Flickr8k_text"


def find(folder: Path, split: str) -> dict[str, Path]:
    found = {
        "pictures": FLICKR8K.one_of(folder, *PICTURES),
        "captions": FLICKR8K.one_of(folder, f"{TEXT}/Flickr8k.token.txt"),
    }
    if split == "expert":
        found["list"] = FLICKR8K.one_of(folder, f"{TEXT}/ExpertAnnotations.txt", split=split)
    elif split != "all":
        file = f"{TEXT}/Flickr_8k.{split}Images.txt"
        found["list"] = FLICKR8K.one_of(folder, file, split=split)
    return found


def read(folder: Path, split: str, n: int | None, seed: int) -> list[Row]:
    found = find(folder, split)
    captions = captions_of(found["captions"])
    if split == "expert":
        pairs = [line.rstrip("\r") for line in lines(found["list"]) if line.strip()]
        return [judged(found["pictures"], captions, pairs[i]) for i in drawn(len(pairs), n, seed)]
    if split == "all":
        names = [name for name in captions if name.endswith(".jpg")]  # one is called .jpg.1
    else:
        names = [line.strip() for line in lines(found["list"]) if line.strip()]
    return [
        Row(name, found["pictures"], name, **numbered(captions.get(name, {})))
        for name in (names[i] for i in drawn(len(names), n, seed))
    ]


def captions_of(path: Path) -> dict[str, dict[int, str]]:
    """Picture -> number -> caption. The first tab of a line ends the name, for a caption may hold
    tabs and "#"; a line without a name, a number or a caption is left out."""
    captions: dict[str, dict[int, str]] = {}
    for line in lines(path):
        name, _, text = line.partition("\t")
        picture, _, number = name.rpartition("#")
        if picture and number.isdecimal() and text.strip():
            captions.setdefault(picture, {})[int(number)] = text.strip()
    return captions


def judged(pictures: Path, captions: dict[str, dict[int, str]], line: str) -> Row:
    """A picture with a caption that a retrieval system gave it, of another picture or its own, and
    three people's judgements from 1 (nothing of it is there) to 4 (all is)."""
    picture, name, *judgements = (*line.split("\t"), "")
    of, _, number = name.rpartition("#")
    own = captions.get(of, {})
    known = number.isdecimal() and int(number) in own
    return Row(
        f"{picture}~{name}",
        pictures,
        picture,
        (own[int(number)],) if known else (),
        source=picture,
        matched=of == picture,
        judgements=tuple(judgements[:3]),
        references=numbered(captions.get(picture, {}))["captions"],
    )


FLICKR8K = Source(
    "flickr8k",
    "Flickr8k",
    ("test", "train", "dev", "all", "expert"),
    "the University of Illinois on request (forms.illinois.edu/sec/1713398), as"
    " Flickr8k_Dataset.zip and Flickr8k_text.zip",
    "pictures of Flickr users, for research and education only",
    find,
    read,
)
