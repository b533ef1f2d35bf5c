import os

os.environ.setdefault("XAI_PROGRESS", "0")

import pytest  # noqa: E402
from planted import small_cnn

import xai_utils as xu
from xai_utils.data import DataMissing, load_dataset


@pytest.fixture(scope="session")
def conse():
    return xu.load_model("conse-lite0", device="cpu")


@pytest.fixture(scope="session")
def lit():
    return xu.load_model("lit-lite0", device="cpu")


@pytest.fixture(scope="session")
def classifier():
    return xu.load_model("efficientnet-lite0", device="cpu")


@pytest.fixture(scope="session")
def stamps():
    try:
        return load_dataset("stamps")
    except DataMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def small():
    return small_cnn()
