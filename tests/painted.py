"""Data sets of plain pictures: the k-th is 40 + k pixels wide, by which a test knows it again."""

import io
import pickle
from pathlib import Path

import pytest
from PIL import Image

from xai_utils.data import Dataset, SampleError, load_dataset


def picture(k: int, kind: str = "jpeg", mode: str = "RGB") -> bytes:
    """The k-th picture, 40 + k wide and 30 high, as a file's bytes."""
    file = io.BytesIO()
    Image.new(mode, (40 + k, 30), 15 * k if mode == "L" else (15 * k, 90, 200)).save(file, kind)
    return file.getvalue()


def write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def number(sample) -> int:
    return sample.image.width - 40


def told(dataset: Dataset) -> dict[str, tuple[int, str]]:
    """Id -> which picture, with which caption."""
    return {sample.id: (number(sample), sample.caption) for sample in dataset}


def failing(dataset: Dataset) -> dict[int, str]:
    """Index -> message of the samples that cannot be read."""
    said = {}
    for i in range(len(dataset)):
        try:
            dataset[i]
        except SampleError as error:
            said[i] = str(error)
    return said


def check_one_fails(dataset: Dataset, i: int, message: str) -> None:
    """All samples but the i-th can be read."""
    with pytest.raises(SampleError, match=message):
        dataset[i]
    assert list(failing(dataset)) == [i]


def check_drawing(name: str, root: Path) -> None:
    """What holds for every set: fewer samples are the beginning of more, the order follows from the
    seed, and a dataset can be pickled."""
    every = told(load_dataset(name, root=root))
    drawn = [
        [*told(load_dataset(name, root=root, n=n, seed=s)).items()]
        for n, s in ((2, 3), (len(every), 3), (len(every) + 9, 3), (len(every), 4))
    ]
    assert drawn[1][:2] == drawn[0] and drawn[1] == drawn[2]
    assert dict(drawn[1]) == dict(drawn[3]) == every
    assert drawn[1] != drawn[3]
    dataset = load_dataset(name, root=root)
    assert told(pickle.loads(pickle.dumps(dataset))) == every
