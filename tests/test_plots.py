import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch

import xai_utils as xu
from xai_utils import plots
from xai_utils.methods import random_map, saliency

matplotlib.use("agg")


def test_a_gallery_has_a_row_for_each_method_and_scales_each_map_by_itself():
    encoder = xu.wrap(lambda x: x.mean((2, 3)), image_size=32)
    photos = xu.load_dataset("photos")[:2]
    cases = xu.cases(encoder, photos, target="self")
    maps = xu.explain({"random": random_map, "saliency": saliency}, cases)
    maps["signed"] = xu.Attribution(
        map=torch.linspace(-1, 3, 2048).view(2, 32, 32), unit="", signed=True
    )
    fig = plots.gallery(maps, cases, blocks=2)
    drawn = [part.axes for part in fig.subfigs]
    plt.close(fig)
    assert [len(axes) for axes in drawn] == [6, 6]  # a row of pictures, two rows of maps
    names = [ax.get_ylabel() for axes in drawn for ax in axes[2::2]]
    assert names == ["random", "saliency", "signed", ""]
    for i in range(2):
        shown = drawn[0][2 + i].images[0]
        map = maps["random"].map[i].numpy()
        assert np.allclose(shown.get_clim(), (map.min(), map.max()))
        low, high = drawn[1][2 + i].images[0].get_clim()
        assert low == -high
        assert np.isclose(high, np.quantile(np.abs(maps["signed"].map[i].numpy()), 0.99))
    assert not drawn[1][4].images  # the second block is shorter
