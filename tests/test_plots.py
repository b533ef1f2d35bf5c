import base64
import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

import xai_utils as xu
from xai_utils import page, plots
from xai_utils.methods import random_map, saliency

matplotlib.use("agg")
LONG = "a rider in a red coat on a very_long_name_without_any-spaces, " * 2
SHAPES = {"square": (24, 24), "wide": (20, 60), "tall": (48, 24)}


@pytest.fixture(autouse=True)
def the_style():
    plots.style()
    yield
    plt.close("all")


def picture(shape) -> PIL.Image.Image:
    return PIL.Image.new("RGB", shape[::-1], "orange")


def boxes(fig) -> list:
    """Where every text, panel and colour bar lies, in pixels of the file; empty texts left out."""
    fig.draw_without_rendering()
    texts = list(fig.texts)
    found = [ax.get_window_extent() for ax in fig.axes if ax.images]
    for ax in fig.axes:
        if ax.get_label() == "colour bar":
            found.append(ax.get_window_extent())
            texts += [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.yaxis.label]
        texts += [ax.title, *ax.texts]
    return found + [t.get_window_extent() for t in texts if t.get_text()]


def check_layout(fig) -> None:
    """Nothing lies on anything else or outside the figure, pictures are wide enough, and so is no
    figure too wide."""
    found = boxes(fig)
    for a, b in itertools.combinations(found, 2):
        x = min(a.x1, b.x1) - max(a.x0, b.x0)
        y = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(x, y) < 1.5, (a, b)  # letters are drawn on whole pixels
    wide, high = fig.get_size_inches() * fig.dpi
    assert wide <= page.PAGE * plots.DPI + 30
    for box in found:
        assert -1 < box.x0 < box.x1 < wide + 1, box
        assert -1 < box.y0 < box.y1 < high + 1, box
    shown = [ax.get_window_extent() for ax in fig.axes if ax.images]
    assert all(box.width > 0.99 * page.PANEL * plots.DPI for box in shown)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 5, 8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("title", ["a cat", f"{LONG} кошка, γάτα"])
def test_panels_are_wide_enough_and_nothing_overlaps(columns, shape, title):
    map, names = np.linspace(0, 1, np.prod(SHAPES[shape])).reshape(SHAPES[shape]), [title, "b"]
    cell = (title, picture(SHAPES[shape]), map)
    row = [(title, picture(SHAPES["square"])), *[cell] * (columns - 1)]
    signed = [k % 2 == 0 for k in range(columns)]
    fig = plots.panels([row, row], unit=f"nats, {title}", signed=signed, row_names=names)
    check_layout(fig)
    assert sum(bool(ax.images) for ax in fig.axes) == 2 * columns


def test_columns_that_do_not_fit_go_on_below_with_every_row():
    rows = [[(f"{r} {c}", picture((8, 8))) for c in range(8)] for r in "ab"]
    rows[1][7] = None
    fig = plots.panels(rows, unit="", row_names=["a", "b"])
    drawn = [ax for ax in fig.axes if ax.images]
    titles = [ax.get_title() for ax in drawn]
    assert titles[:5] == ["a 0", "a 1", "a 2", "a 3", "b 0"]
    assert titles[8:] == ["a 4", "a 5", "a 6", "a 7", "b 4", "b 5", "b 6"]
    assert [t.get_text() for t in fig.texts] == ["a", "b", "a", "b"]
    lefts = [round(ax.get_position().x0, 6) for ax in drawn]
    assert lefts[:4] == lefts[8:12]


def test_panels_are_as_wide_as_asked_where_the_page_has_room():
    cells = [("", picture((8, 8)))] * 2
    for side, inches in ((0.5, page.PANEL), (2.0, 2.0), (9.0, 4.4)):
        fig = plots.panels([cells], unit="", side=side)
        width = fig.axes[0].get_window_extent().width / plots.DPI
        assert width == pytest.approx(inches, abs=0.05)


def test_rows_with_a_unit_each_have_a_scale_and_a_bar_each():
    maps = [np.linspace(low, high, 400).reshape(20, 20) for low, high in ((0, 40), (-2, 1))]
    rows = [[("picture", picture((20, 20))), ("", None, m), ("", None, m / 2)] for m in maps]
    rows.append([None, ("", None, maps[0])])
    units = ["nats", "cosine", None]
    fig = plots.panels(rows, unit=units, signed=[False, True, False], row_names=units)
    check_layout(fig)
    drawn = [ax.images[0].get_clim() for ax in fig.axes if ax.images and not ax.get_title()]
    assert drawn == [(0, 40)] * 2 + [(-2, 2)] * 2 + [(0, 1)]
    bars = [ax for ax in fig.axes if ax.get_label() == "colour bar"]
    assert [ax.get_ylabel() for ax in bars] == ["nats", "cosine", "of its own range"]
    tops = [ax.get_position().y1 for ax in fig.axes if ax.images and not ax.get_title()]
    assert [ax.get_position().y1 for ax in bars] == pytest.approx([tops[k] for k in (0, 2, 4)])


def test_maps_without_a_common_unit_are_scaled_by_themselves_and_zero_stays_in_the_middle():
    plain, signed = np.linspace(2, 5, 400).reshape(20, 20), np.linspace(-1, 3, 400).reshape(20, 20)
    fig = plots.panels([[("", None, plain), ("", None, signed)]], unit=None, signed=[False, True])
    left, right = (ax.images[0] for ax in fig.axes[:2])
    assert left.get_clim() == (0, 1)
    assert right.get_clim() == (-1, 1)
    assert left.get_cmap().name == "magma"
    assert right.get_cmap().name == "coolwarm"
    most = np.quantile(plain, 0.99)
    assert np.allclose(left.get_array(), np.clip((plain - 2) / (most - 2), 0, 1))
    most = np.quantile(np.abs(signed), 0.99)
    assert np.allclose(right.get_array(), np.clip(signed / most, -1, 1))
    assert np.array_equal(np.sign(right.get_array()), np.sign(signed))
    bars = [ax for ax in fig.axes if ax.get_label() == "colour bar"]
    assert [ax.get_ylabel() for ax in bars] == ["of its own range", "of its own range, signed"]
    assert np.array_equal(page.own_scale(np.zeros((2, 2)), True), np.zeros((2, 2)))
    assert np.array_equal(page.own_scale(np.ones((2, 2)), False), np.zeros((2, 2)))
    spike = np.eye(1, 400)
    assert np.array_equal(page.own_scale(5 * spike, False), spike)
    assert np.array_equal(page.own_scale(-5 * spike, True), -spike)


def test_the_scale_of_signed_maps_reaches_to_the_largest_of_either_sign():
    map = np.linspace(0, 1, 800).reshape(20, 40)
    assert page.limits_of([map], True, "nats", (-3, 1)) == (-3.0, 3.0)
    assert page.limits_of([map], True, "nats", (0, 1)) == (-1.0, 1.0)
    assert page.limits_of([map], False, "nats", (0, 1)) == (0.0, 1.0)


@pytest.mark.parametrize("words", [3, 40])
@pytest.mark.parametrize("unit", ["nats", None])
def test_words_go_on_below_and_nothing_overlaps(words, unit):
    tokens = (["a", "зебра", "##stripes</w>", "incomprehensibilities"] * 10)[:words]
    rows = {LONG: np.arange(words), "m2ib": np.arange(words) - 2.0}
    fig = plots.words(rows, tokens, unit=unit, signed=[False, True])
    check_layout(fig)
    shown = [t.get_text() for t in fig.axes[0].texts]
    assert shown.count("m2ib") == (1 if words == 3 else 5)
    assert "##stripes" in shown
    fills = [patch.get_facecolor() for patch in fig.axes[0].patches]
    assert len(fills) == 2 * words
    magma, coolwarm = page.colours(False), page.colours(True)
    if unit is None:
        assert np.allclose(fills[0], magma(0.0))
        assert np.allclose(fills[words + 2], coolwarm(0.5))  # 0 of the signed row


def attributions(rank: int, unit="nats", signed=False, tokens=None):
    shape = (2, 24, 24) if rank == 3 else (2, len(tokens[0]))
    return xu.Attribution(torch.rand(shape, dtype=torch.float32), unit, signed, tokens=tokens)


@pytest.mark.parametrize("methods", [1, 6])
def test_a_pair_is_one_page_with_its_picture_its_maps_and_its_words(methods):
    tokens = [["a"], "a man in a wet suit rides a wave on a surfboard".split()]
    kinds = itertools.islice(itertools.cycle([("nats", False), ("cosine", True)]), methods)
    labels = [(f"method {k}", *kind) for k, kind in enumerate(kinds)]
    images = {label: attributions(3, unit, signed) for label, unit, signed in labels}
    texts = {k: attributions(2, a.unit, a.signed, [tokens[1]] * 2) for k, a in images.items()}
    fig = plots.pair(picture((30, 40)), images, texts, case=1)
    check_layout(fig)
    assert sum(bool(ax.images) for ax in fig.axes) == 1 + methods
    shown = [t.get_text() for ax in fig.axes for t in ax.texts]
    assert shown.count("surfboard") == methods
    bars = [ax for ax in fig.axes if ax.get_label() == "colour bar"]
    assert len(bars) == 2  # one a side; of several units, both kinds for both sides
    if methods == 1:
        low, high = fig.axes[1].images[-1].get_clim()
        assert (low, high) == (0, images["method 0"].map[1].max())


def test_a_gallery_has_a_row_for_each_case_and_scales_each_map_by_itself():
    encoder = xu.wrap(lambda x: x.mean((2, 3)), image_size=32)
    photos = xu.load_dataset("photos")[:2]
    cases = xu.cases(encoder, photos, target="self")
    maps = xu.explain({"random": random_map, "saliency": saliency}, cases)
    maps["signed"] = xu.Attribution(
        map=torch.linspace(-1, 3, 2048).view(2, 32, 32), unit="", signed=True
    )
    fig = plots.gallery(maps, cases)
    drawn = [ax for ax in fig.axes if ax.images]
    assert len(drawn) == 2 * 4  # a row for each case: the picture and three maps
    assert [ax.get_title() for ax in drawn[1:4]] == ["random", "saliency", "signed"]
    for i in range(2):
        first, last = drawn[4 * i + 1].images[0], drawn[4 * i + 3].images[0]
        assert np.allclose(
            first.get_array(), page.own_scale(maps["random"].map[i].numpy(), False), atol=1e-6
        )
        assert last.get_clim() == (-1, 1)


def test_a_forest_of_many_panels_goes_on_below():
    lines = pd.DataFrame({"panel": list("abcdefg") * 2, "label": ["x"] * 7 + ["y"] * 7})
    lines = lines.assign(mean=0.0, low=-1.0, high=1.0)
    fig = plots.forest(lines, xlabel="points", panel="panel")
    assert [ax.get_title() for ax in fig.axes] == list("abcdefg")
    fig.draw_without_rendering()
    lefts = [round(ax.get_position().x0, 3) for ax in fig.axes]
    assert len(set(lefts)) == 3
    assert fig.get_size_inches()[0] <= page.PAGE


def test_a_line_of_text_is_as_wide_as_it_is_drawn():
    fig = plt.figure(figsize=(8, 2))
    for text in ("a cat", "Wide WORDS", "кошка", "σ² = 0.1"):
        drawn = fig.text(0, 0.5, text, fontsize=page.LETTERS).get_window_extent()
        assert page.text_width(text) == pytest.approx(drawn.width / fig.dpi, abs=0.03)
    lines = page.wrapped("integrated_gradients of unbreakablewords", 1.0).split("\n")
    assert lines[0] == "integrated_"
    assert "".join(lines).replace(" ", "") == "integrated_gradientsofunbreakablewords"
    assert max(map(page.text_width, lines)) <= 1.0


def test_figures_are_in_true_colour_pictures_as_jpeg_and_lines_as_png(tmp_path, monkeypatch):
    ramp = np.uint8(np.stack(np.broadcast_arrays(np.arange(256), np.arange(256)[:, None], 9), -1))
    panels = plots.panels([[("a ramp", PIL.Image.fromarray(ramp))]], unit="", side=4.0)
    curve, ax = plt.subplots(figsize=(6, 2))
    ax.plot([1, 2], [3, 4])
    monkeypatch.setenv("XAI_FIGURES", str(tmp_path))
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *what: shown.extend(what))
    for fig, name, kind in ((panels, "a.jpg", "jpeg"), (curve, "b.png", "png")):
        inches = fig.get_size_inches()
        plots.show(fig, name[0], "A caption.", "what is to be seen")
        image, caption = shown[-2:]
        data, metadata = image._repr_mimebundle_()
        look = {"width": round(100 * inches[0]), "alt": "what is to be seen"}
        assert metadata == {f"image/{kind}": look}
        assert base64.b64decode(data[f"image/{kind}"]) == (tmp_path / name).read_bytes()
        assert caption.data == "*A caption.*"
        file = PIL.Image.open(tmp_path / name)
        assert file.size == pytest.approx(inches * 150, abs=1)
        assert file.mode == "RGB"
    colours = np.asarray(PIL.Image.open(tmp_path / "a.jpg"))[100:500, 100:500]
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 10_000
