import os

os.environ.setdefault("XAI_PROGRESS", "0")

import pytest  # noqa: E402
import torch
from torch import nn

import xai_utils as xu
from xai_utils.data import DataMissing, load_dataset


@pytest.fixture(scope="session")
def conse():
    return xu.load_model("conse-lite0", device="cpu")


@pytest.fixture(scope="session")
def classifier():
    return xu.load_model("efficientnet-lite0", device="cpu")


@pytest.fixture(scope="session")
def stamps():
    try:
        return load_dataset("stamps")
    except DataMissing as error:
        pytest.skip(str(error))


class Small(nn.Module):
    """A smooth CNN with everything that a method could disturb: batch norm, dropout, parameters
    that want gradients."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2),
            nn.BatchNorm2d(8),
            nn.Tanh(),
            nn.Conv2d(8, 16, 5, 2, 2),
            nn.Tanh(),
            nn.Dropout(0.5),
        )
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        return self.out(self.body(x).mean((2, 3)))


@pytest.fixture
def small():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Small()
        model(torch.randn(8, 3, 32, 32))  # so that the running statistics are not the default
        return model


class Planted(nn.Module):
    """Its embedding depends on one patch only: rows 8..16, columns 16..24 of a 32 x 32 image."""

    rows, columns = slice(8, 16), slice(16, 24)

    def forward(self, x):
        patch = x[:, :, self.rows, self.columns].mean((2, 3))  # (B, 3)
        return torch.cat(
            [patch, torch.ones_like(patch)], 1
        )  # the constant half keeps the cosine informative


@pytest.fixture
def planted():
    return Planted()
