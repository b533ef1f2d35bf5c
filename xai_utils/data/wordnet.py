"""WordNet 3.0 for METEOR's synonyms, from Debian's package wordnet-base."""

import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from .cache import cache_folder, prepared
from .debian import DataMissing, unpacked

PACKAGE = "wordnet-base"


def wordnet() -> WordNetCorpusReader:
    """WordNet as nltk reads it. Raises DataMissing where the package cannot be had; `XAI_WORDNET`
    may name it."""
    return read_wordnet(str(cache_folder()))


@cache
def read_wordnet(_root: str) -> WordNetCorpusReader:
    folder = prepared("wordnet-1", build)
    nltk.data.path.append(str(folder))  # nltk reads only below its own folders
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no other languages
        return WordNetCorpusReader(str(folder / "corpora/wordnet"), None)


def build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = unpacked(
            PACKAGE,
            "XAI_WORDNET",
            Path(scratch),
            "the other caption scores work without; for METEOR",
        )
        index = next(source.rglob("index.noun"), None)
        if index is None:
            raise DataMissing(
                f"no index.noun under {source}: XAI_WORDNET must name the unpacked {PACKAGE} or its"
                " .deb"
            )
        home = folder / "corpora/wordnet"
        home.mkdir(parents=True)
        for file in index.parent.iterdir():
            if file.suffix in {".noun", ".verb", ".adj", ".adv", ".exc", ".rev"}:
                shutil.copyfile(file, home / file.name)
    # nltk wants two more, which the package leaves out and synonyms do not need: the names of 45
    # topics, keys of senses
    (home / "lexnames").write_text("".join(f"{i:02d}\ttopic.{i}\t1\n" for i in range(45)))
    (home / "index.sense").write_text("")
