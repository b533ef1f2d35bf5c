"""One way of a picture into the kit, whatever it comes as; samples that check themselves; data sets
for workers."""

import pickle
from functools import partial

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageDraw, ImageSequence
from planted import small_cnn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import xai_utils as xu
from xai_utils import plots
from xai_utils.data import Thing, load_dataset
from xai_utils.explorer import explore
from xai_utils.images import fit, image_transform, rgb
from xai_utils.methods import saliency
from xai_utils.metrics import box_masks, instance_recall, iou, mask_contrast, miou

pytestmark = pytest.mark.slow

matplotlib.use("agg")
HALVES = Image.new("RGB", (40, 20), "red")  # left red, right blue
HALVES.paste("blue", (20, 0, 40, 20))
RAMP = np.linspace(0, 255, 800).round().astype(np.uint8).reshape(20, 40)


@pytest.fixture(scope="module")
def encoder():
    return xu.wrap(small_cnn(), image_size=32)


def pixels(picture, **options) -> np.ndarray:
    image = rgb(picture, **options)
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_an_upright_rgb_picture_comes_back_itself():
    assert rgb(HALVES) is HALVES


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, kind):
    upright = Image.new("RGB", (48, 32), "black")  # 8 x 8 blocks survive JPEG
    for place, colour in (((0, 0), "red"), ((40, 0), "blue"), ((0, 24), "white")):
        upright.paste(colour, (*place, place[0] + 8, place[1] + 8))
    turned = {  # how a camera stores it so that a viewer shows it upright
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for way in turned.get(orientation, []):
        stored = stored.transpose(way)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"a.{kind}"
    options = dict(quality=100, subsampling=0) if kind == "jpg" else {}
    options |= dict(lossless=True) if kind == "webp" else {}
    stored.save(file, exif=exif, **options)
    for picture in (file, str(file), Image.open(file), Image.open(file).convert("RGB")):
        found = pixels(picture).astype(int)
        assert found.shape == (32, 48, 3)
        assert np.abs(found - np.asarray(upright)).max() < 30
        assert np.array_equal(pixels(rgb(picture)), found)  # not turned a second time


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "RGBA", "LA"])
def test_modes_of_eight_bits_look_the_same(mode):
    source = Image.fromarray(RAMP) if mode in ("1", "L", "LA") else HALVES
    found, wanted = pixels(source.convert(mode)), np.asarray(source.convert("RGB"))
    if mode == "1":
        assert set(np.unique(found)) == {0, 255}
    else:
        assert np.abs(found.astype(int) - wanted).max() <= 2


def test_a_lab_picture_looks_the_same():
    profiles = [ImageCms.createProfile(p) for p in ("sRGB", "LAB")]
    way = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    found = pixels(ImageCms.applyTransform(HALVES, way)).astype(int)
    assert np.abs(found - np.asarray(HALVES)).max() < 24  # 8 bits of Lab are coarse


GREYS = {
    "I;16": lambda v: Image.fromarray((v * 65535).astype(np.uint16)),
    "I;16B": lambda v: Image.frombytes("I;16B", v.shape[::-1], (v * 65535).astype(">u2").tobytes()),
    "I": lambda v: Image.fromarray((v * 65535).astype(np.int32)),
    "F": lambda v: Image.fromarray(v.astype(np.float32)),
    "uint16": lambda v: (v * 65535).astype(np.uint16),
    "float64": lambda v: v,
    "float16": lambda v: v.astype(np.float16),
    "colour": lambda v: np.stack([v] * 3, -1),
    "opaque": lambda v: np.stack([v, v, v, np.ones_like(v)], -1),
    "tensor": lambda v: torch.tensor(v)[None].expand(3, -1, -1),
    "bfloat16": lambda v: torch.tensor(v)[None].bfloat16(),
    "uint8 tensor": lambda v: torch.tensor(v * 255).round().byte()[None],
}


@pytest.mark.parametrize("kind", GREYS)
def test_greys_of_any_depth_are_scaled_to_eight_bits(kind):
    values = np.linspace(0, 1, 800).reshape(20, 40)
    found = pixels(GREYS[kind](values))[..., 0]
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found / 255 - values).max() < 1 / 255 + (kind == "bfloat16") / 256


def test_a_sixteen_bit_png_is_not_white(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(pixels(tmp_path / "deep.png")[..., 0], RAMP)


def transparent(mode: str) -> Image.Image:
    """Left half red or 60 and opaque, right half blue or 200 and clear."""
    if mode == "P":
        image = HALVES.quantize(2)
        image.info["transparency"] = image.getpixel((39, 0))
        return image
    if mode == "P, bytes":
        image = HALVES.quantize(2)
        image.info["transparency"] = bytes(
            0 if i == image.getpixel((39, 0)) else 255 for i in range(2)
        )
        return image
    if mode == "key":
        image = HALVES.copy()
        image.info["transparency"] = (0, 0, 255)
        return image
    image = HALVES.convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (20, 0, 40, 20))
    image.putalpha(alpha)
    if mode == "PA":
        return image.convert("PA")
    if mode == "La":
        return image.convert("LA").convert("La")
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "PA", "P", "P, bytes", "key"])
def test_what_is_transparent_is_white_and_not_what_hides_there(mode):
    found = pixels(transparent(mode))
    left = np.asarray(HALVES.convert("L").convert("RGB") if "L" in mode else HALVES)[:, :20]
    assert np.array_equal(found[:, :20], left)
    assert (found[:, 20:] == 255).all()


def test_what_is_half_transparent_is_half_white():
    array = np.zeros((4, 4, 4), np.uint8)
    array[..., 3] = 128
    assert (pixels(array) == 127).all()
    assert (pixels(torch.tensor(array).permute(2, 0, 1)) == 127).all()


def test_transparency_survives_files(tmp_path):
    for mode in ("RGBA", "LA", "P", "key"):
        transparent(mode).save(tmp_path / "a.png")
        assert (pixels(tmp_path / "a.png")[:, 20:] == 255).all()
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png", transparency=65535)
    assert (pixels(tmp_path / "deep.png")[RAMP == 255] == 255).all()
    deep.info["transparency"] = 0
    assert (pixels(deep)[RAMP == 0] == 255).all()


def test_an_animation_is_the_frame_that_it_shows(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (pixels(tmp_path / "a.gif") == (255, 0, 0)).all()
    with Image.open(tmp_path / "a.gif") as animation:
        found = [pixels(frame)[0, 0].tolist() for frame in ImageSequence.Iterator(animation)]
    assert found == [[255, 0, 0], [0, 0, 254]] or found == [[255, 0, 0], [0, 0, 255]]


def damaged(folder, kind: str):
    file = folder / f"{kind}.jpg"
    HALVES.resize((400, 400)).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    if kind == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        file.write_text("no picture")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "folder":
        file.mkdir()
    return file


@pytest.mark.parametrize("kind", ["cut", "text", "empty", "folder", "missing"])
def test_a_file_without_a_whole_picture_is_one_error_with_its_path(tmp_path, kind):
    file = damaged(tmp_path, kind)
    with pytest.raises(ValueError, match=f"picture '.*{kind}.jpg' cannot be read as a picture"):
        rgb(file)
    with pytest.raises(ValueError, match=f"image of 'x' '.*{kind}.jpg' cannot be read"):
        xu.Sample("x", file, "a caption")
    if kind == "cut":
        with pytest.raises(ValueError, match="picture '.*cut.jpg' cannot be read"):
            rgb(Image.open(file))


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (None, TypeError, "picture must be a PIL image, a path, an array.*got NoneType"),
        (b"bytes", TypeError, "got bytes"),
        ([[0.0]], TypeError, "got list"),
        (np.zeros((3, 8, 9)), ValueError, r"must be \(H, W\), \(H, W, 3\) or .*got \(3, 8, 9\)"),
        (np.zeros((2, 8, 9, 3)), ValueError, r"got \(2, 8, 9, 3\)"),
        (np.zeros((0, 9, 3)), ValueError, r"got \(0, 9, 3\)"),
        (np.zeros(9), ValueError, r"got \(9,\)"),
        (np.zeros((8, 9, 3), int), TypeError, "must hold uint8, uint16, bool or floats.*int64"),
        (np.full((8, 9), 200.0), ValueError, "picture of floats must lie in 0..1.*200 to 200"),
        (np.full((8, 9, 3), -0.1), ValueError, "must lie in 0..1"),
        (np.full((8, 9, 3), np.nan), ValueError, "must lie in 0..1"),
        (torch.zeros(2, 3, 8, 9), ValueError, r"must be one picture \(3, H, W\), got \(2, 3"),
        (torch.zeros(8, 9, 3), ValueError, r"must be one picture \(3, H, W\)"),
        (torch.full((3, 8, 9), -2.0), ValueError, "must lie in 0..1"),
        (torch.zeros(3, 8, 9).long(), TypeError, "got int64"),
        (Image.new("RGB", (0, 8)), ValueError, r"it has no pixels, its size is \(0, 8\)"),
        (Image.fromarray(np.full((8, 9), 200, np.int32)), ValueError, "mode I must hold 16 bits"),
        (Image.fromarray(np.full((8, 9), -1, np.int32)), ValueError, "mode I must hold 16 bits"),
        (Image.fromarray(np.full((8, 9), 70000, np.int32)), ValueError, "mode I must hold 16"),
        (Image.fromarray(RAMP).convert("F"), ValueError, "mode F of floats must lie in 0..1"),
    ],
)
def test_what_is_no_picture_is_refused(picture, error, message):
    with pytest.raises(error, match=message):
        rgb(picture)


def old_transform(size, mean, std):
    """As it was before other pictures than PIL RGB were taken."""
    steps = [v2.Lambda(lambda pil: fit(pil.convert("RGB"), size)), v2.ToImage()]
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])


@pytest.mark.parametrize("size", [(224, 224), (300, 200), (32, 48)])
def test_the_transform_of_an_rgb_picture_is_what_it_was_bit_for_bit(size):
    look = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for sample in load_dataset("photos")[:4]:
        new = image_transform(size, *look)(sample.image)
        assert torch.equal(new, old_transform(size, *look)(sample.image))
        assert new.dtype == torch.float32


def test_a_transform_takes_all_that_rgb_takes_and_can_be_pickled(tmp_path):
    HALVES.save(tmp_path / "a.png")
    transform = pickle.loads(pickle.dumps(image_transform((10, 20), (0, 0, 0), (1, 1, 1))))
    x = transform(HALVES)
    for picture in (tmp_path / "a.png", np.asarray(HALVES), HALVES.convert("RGBA")):
        assert torch.equal(transform(picture), x)
    tensor = torch.tensor(np.asarray(HALVES)).permute(2, 0, 1)
    assert torch.equal(transform(tensor), x)
    assert torch.equal(transform(tensor / 255), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(size=(0, 224)), "size must be an integer of at least 1, got 0"),
        (dict(size=(224, 2.0)), "size must be an integer"),
        (dict(size=224), r"size must be \(H, W\), got 224"),
        (dict(size=(224,)), r"size must be \(H, W\)"),
        (dict(mean=(0, 0)), "mean must be three finite numbers"),
        (dict(mean=(0, 0, float("nan"))), "mean must be three finite numbers"),
        (dict(std=(1, 1, 0)), "std must be three finite numbers above 0"),
    ],
)
def test_a_transform_refuses_what_is_no_size_or_colour(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_transform(**dict(size=(224, 224), mean=(0, 0, 0), std=(1, 1, 1)) | arguments)


# --- samples


def test_a_sample_takes_any_picture_and_its_masks_go_the_same_way(tmp_path):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:20, 30:50] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "a.png", exif=exif)
    sample = xu.Sample("a", tmp_path / "a.png", "a block", [Thing("block", (30, 10, 50, 20))])
    assert sample.image.size == (80, 60)
    assert isinstance(sample.things, tuple)
    for size in ((60, 80), (30, 30), (224, 224)):
        mask = sample.masks(size)[0].numpy()
        shown = np.asarray(sample.picture(size)).mean(-1) > 127
        seen = old_transform(size, (0, 0, 0), (1, 1, 1))(Image.fromarray(picture))
        own = image_transform(size, (0, 0, 0), (1, 1, 1))(sample.image)
        assert torch.equal(own, seen)
        assert (mask ^ shown).mean() < 0.01
    again = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(again.image, sample.image)
    assert again.things == sample.things


def test_boxes_are_rounded_outward_and_cut_at_the_border():
    boxes = [(1.2, 2.5, 3.1, 4.0), np.array([-3.5, 0, 5, 5]), (39, 19, 900, 900)]
    sample = xu.Sample("s", HALVES, "halves", [Thing("t", box) for box in boxes])
    wanted = [(1, 2, 4, 4), (0, 0, 5, 5), (39, 19, 40, 20)]
    assert [t.box for t in sample.things] == wanted
    assert all(type(v) is int for t in sample.things for v in t.box)
    masks = sample.masks((20, 40))
    for mask, (left, top, right, bottom) in zip(masks, wanted):
        assert mask.sum() == (right - left) * (bottom - top)
        assert mask[top:bottom, left:right].all()
    assert xu.Sample("s", HALVES, "halves").masks((5, 6)).shape == (0, 5, 6)


@pytest.mark.parametrize("kind", [bool, int, float, np.uint8, np.float32])
def test_masks_of_zeros_and_ones_become_bool(kind):
    mask = np.zeros((20, 40), kind)
    mask[3:5] = 1
    for given in (mask, torch.tensor(mask), Image.fromarray(np.uint8(mask) * 255)):
        thing = Thing("t", (0, 0, 40, 20), given)
        assert thing.mask.dtype == bool
        assert np.array_equal(thing.mask, mask.astype(bool))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (dict(box=(0, 0, 5)), ValueError, "box of 't' must be four finite numbers"),
        (dict(box=None), ValueError, "box of 't' is missing: give box"),
        (dict(box="0123"), ValueError, "box of 't' must be four finite numbers"),
        (dict(box=(0, 0, 5, float("nan"))), ValueError, "box of 't' must be four finite"),
        (dict(box=(0, 0, 5, float("inf"))), ValueError, "box of 't' must be four finite"),
        (dict(box=(0, 0, True, 5)), ValueError, "box of 't' must be four finite"),
        (dict(box=(5, 0, 5, 5)), ValueError, "left < right and top < bottom.*COCO"),
        (dict(box=(0, 9, 5, 5)), ValueError, "left < right and top < bottom"),
        (dict(box=(40, 0, 50, 5)), ValueError, "box of 't' in 's' .* lies outside the picture"),
        (dict(box=(-9, 0, 0, 5)), ValueError, "box of 't' in 's' .* lies outside the picture"),
        (dict(mask=np.full((20, 40), 0.5)), ValueError, "mask of 't' must be bool.*mask > 0.5"),
        (dict(mask=np.full((20, 40), np.nan)), ValueError, "mask of 't' must be bool"),
        (dict(mask=np.full((20, 40), 255.0)), ValueError, "mask of 't' must be bool"),
        (dict(mask=np.full((20, 40), 7)), ValueError, "mask of 't' must be bool"),
        (dict(mask=np.ones((1, 20, 40), bool)), ValueError, r"mask of 't' must be \(H, W\)"),
        (dict(mask=np.ones((40, 20), bool)), ValueError, r"mask of 't' in 's' .*\(20, 40\), got"),
        (dict(mask=np.full((20, 40), "a")), ValueError, "mask of 't' must be bool"),
        (dict(caption=" "), ValueError, "caption of a thing is empty"),
        (dict(caption=3), TypeError, "caption of a thing must be a string, got int"),
    ],
)
def test_a_thing_that_is_none_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        xu.Sample("s", HALVES, "c", (Thing(**dict(caption="t", box=(0, 0, 5, 5)) | fields),))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (dict(id=""), ValueError, "id of a sample is empty"),
        (dict(id=3), TypeError, "id of a sample must be a string"),
        (dict(caption=""), ValueError, "caption of 's' is empty"),
        (dict(caption=None), TypeError, "caption of 's' must be a string, got NoneType"),
        (dict(image=None), TypeError, "image of 's' must be a PIL image"),
        (dict(image=np.full((9, 9), 2.0)), ValueError, "image of 's' of floats must lie in 0..1"),
        (dict(things=Thing("t", (0, 0, 5, 5))), TypeError, "things of 's' must be a tuple"),
        (dict(things=[(0, 0, 5, 5)]), TypeError, "things of 's' must hold Thing, got tuple"),
        (dict(label="cat"), ValueError, "label of 's' must be an integer"),
        (dict(label=-1), ValueError, "label of 's' must be an integer of at least 0"),
        (dict(label=True), ValueError, "label of 's' must be an integer"),
        (dict(source=3), TypeError, "source of 's' must be a string"),
        (dict(matched=1), ValueError, "matched of 's' must be True or False"),
    ],
)
def test_a_sample_that_is_none_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        xu.Sample(**dict(id="s", image=HALVES, caption="c") | fields)


def test_box_masks_are_rounded_outward_and_cut():
    masks = box_masks([np.array([[0.5, 0, 2, 3]]), [(-5, -5, 1, 1), (4, 3, 60, 40)]], (4, 6))
    wanted = torch.zeros(2, 4, 6, dtype=torch.bool)
    wanted[0, :3, :2] = True
    wanted[1, 0, 0] = wanted[1, 3, 4:] = True
    assert torch.equal(masks, wanted)


@pytest.mark.parametrize(
    ("boxes", "size", "error", "message"),
    [
        ([[(6, 0, 9, 9)]], (4, 6), ValueError, r"boxes\[0\]\[0\] .* lies outside the picture"),
        ([[], [(-9, 0, -2, 9)]], (4, 6), ValueError, r"boxes\[1\]\[0\] .* lies outside"),
        ([[(3, 0, 2, 9)]], (4, 6), ValueError, "left < right"),
        ([(0, 0, 2, 3)], (4, 6), ValueError, r"boxes\[0\]\[0\] must be four finite numbers"),
        ([3], (4, 6), TypeError, r"boxes\[0\] must be a list"),
        (3, (4, 6), TypeError, "boxes must be a list"),
        ([[(0, 0, 2, 3)]], 6, ValueError, r"size must be \(H, W\)"),
        ([[(0, 0, 2, 3)]], (0, 6), ValueError, "size must be an integer of at least 1"),
    ],
)
def test_box_masks_refuse_what_is_no_box(boxes, size, error, message):
    with pytest.raises(error, match=message):
        box_masks(boxes, size)


def test_metrics_refuse_masks_that_are_none(encoder):
    x = torch.zeros(1, 3, 32, 32)
    call = encoder, x, torch.ones(1, 4), torch.rand(1, 32, 32)
    half = torch.zeros(1, 32, 32, dtype=torch.bool)
    half[:, :16] = True
    for masks in (half.float(), half[0], half.numpy(), half[:, ::2]):
        with pytest.raises(ValueError, match=r"masks must be a bool tensor of shape \(1, 32, 32\)"):
            iou(*call, masks=masks)
    with pytest.raises(ValueError, match="torch.float32.*masks > 0.5"):
        iou(*call, masks=half.float())
    with pytest.raises(ValueError, match="others must be a bool tensor"):
        mask_contrast(*call, masks=half, others=half.float())
    for percentile in (-1, 100, float("nan"), "75", True):
        with pytest.raises(ValueError, match="percentile must"):
            instance_recall(*call, masks=half, percentile=percentile)
    for part in (0, 1.5, None):
        with pytest.raises(ValueError, match="part must be"):
            instance_recall(*call, masks=half, part=part)
    for threshold in (-0.1, 1, "0.5"):
        with pytest.raises(ValueError, match="threshold must"):
            miou(*call, masks=half, threshold=threshold)


# --- your own pictures


def own_samples(folder) -> list[xu.Sample]:
    HALVES.save(folder / "a.png")
    thing = Thing("the blue half", (20, 0, 40, 20))
    sizes = np.zeros((30, 50), np.uint16)
    return [
        xu.Sample("a", folder / "a.png", "two halves", (thing,)),
        xu.Sample("b", HALVES.convert("RGBA").rotate(90, expand=True), "above", (thing,)[:0]),
        xu.Sample("c", sizes, "black", (Thing("all", (0, 0, 50, 30)),)),
    ]


def test_a_list_of_samples_goes_all_the_way(tmp_path, encoder):
    samples = own_samples(tmp_path)
    c = xu.cases(encoder, samples, target="self", n=np.int64(2))
    assert c.names == ["a", "b"]
    maps = xu.explain({"saliency": saliency}, c)
    assert len(xu.score(maps, c, [xu_metric()])) == 2
    plots.gallery(maps, c)
    plt.close("all")
    boxed = [samples[0], samples[2]]
    both = xu.cases(encoder, tuple(boxed), target="self")
    assert both.masks.shape == (2, 32, 32)
    assert both.masks[1].all()
    found = xu.evaluate(
        {"saliency": saliency}, encoder, boxed, [iou], out=tmp_path / "out", target="self"
    )
    scored = xu.score(xu.explain({"saliency": saliency}, both), both, [iou])
    assert np.allclose(found.value, scored.value)
    assert (found.error == "").all()
    torch_set = torch.utils.data.Subset(boxed, [1])  # has a length and items, no slices
    assert xu.cases(encoder, torch_set, target="self").names == ["c"]


def xu_metric():
    from xai_utils.metrics import deletion_auc

    return partial(deletion_auc, steps=2)


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ([HALVES], TypeError, r"dataset\[0\] must be a Sample, got Image: Sample\(id, image"),
        (xu.Sample("s", HALVES, "c"), TypeError, "dataset must be a list of Sample.*got Sample"),
        ({"a": xu.Sample("s", HALVES, "c")}, TypeError, "dataset must be a list of Sample.*dict"),
        ((s for s in ()), TypeError, "dataset must be a list of Sample.*got generator"),
        (None, TypeError, "dataset must be a list of Sample.*got NoneType"),
        ([], ValueError, "dataset is empty"),
        ("holiday", ValueError, "name must be one of photos"),
    ],
)
def test_a_dataset_that_is_none_is_refused(tmp_path, encoder, dataset, error, message):
    with pytest.raises(error, match=message):
        xu.cases(encoder, dataset, target="self")
    with pytest.raises(error, match=message):
        xu.evaluate({"s": saliency}, encoder, dataset, [iou], out=tmp_path, target="self")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", 3, len), ValueError, "name is empty"),
        (("own", -1, len), ValueError, "n must be an integer of at least 0"),
        (("own", 2.5, len), ValueError, "n must be an integer"),
        (("own", 2, None), TypeError, "make must be a function"),
    ],
)
def test_a_dataset_of_ones_own_checks_itself(arguments, error, message):
    with pytest.raises(error, match=message):
        xu.Dataset(*arguments)


# --- workers


def stacked(transform, samples) -> tuple[list[str], torch.Tensor]:
    return [s.id for s in samples], torch.stack([transform(s.image) for s in samples])


@pytest.mark.parametrize("name", ["photos", "stamps", "scenes", "copies"])
def test_data_sets_can_be_pickled(stamps, name):
    dataset = load_dataset(name, n=2)
    again = pickle.loads(pickle.dumps(dataset))
    assert [s.id for s in again] == [s.id for s in dataset]
    assert np.array_equal(again[1].image, dataset[1].image)


def test_a_loader_with_workers_makes_the_same_pictures():
    dataset = load_dataset("photos", n=2)
    collate = partial(stacked, image_transform((32, 32), (0, 0, 0), (1, 1, 1)))
    loader = DataLoader(
        dataset, 2, num_workers=1, multiprocessing_context="spawn", collate_fn=collate
    )
    ((ids, x),) = loader
    assert ids == ["chelsea", "coffee"]
    assert torch.equal(x, collate(dataset[:])[1])


# --- drawing


def test_panels_draw_a_picture_where_its_map_is():
    picture = Image.new("RGB", (640, 480), "black")
    ImageDraw.Draw(picture).rectangle((320, 0, 560, 240), fill="white")
    small = np.asarray(fit(picture, (56, 56))).mean(-1) / 255
    for map in (small, torch.tensor(small)):
        fig = plots.panels([[("", picture, map, [small > 0.5])]], unit="")
        under, over = fig.axes[0].images
        assert under.get_extent() == over.get_extent()
        assert fig.axes[0].get_xlim() == (-0.5, 55.5)
        assert fig.axes[0].get_ylim() == (55.5, -0.5)
        seen = under.get_array()
        assert seen.shape == (336, 336, 3)  # finer than the map, of the same part
        coarse = seen.reshape(56, 6, 56, 6, 3).mean((1, 3, 4)) / 255
        assert np.abs(coarse - small).max() < 0.3
        assert np.abs(coarse - small).mean() < 0.01
        plt.close(fig)
    fig = plots.panels([[("", picture), ("", fit(picture, (56, 56)), small)]], unit="")
    assert fig.axes[0].images[0].get_array().shape == (480, 640, 3)
    assert fig.axes[1].images[0].get_array().shape == (56, 56, 3)
    plt.close(fig)


def test_panels_take_any_picture_and_numbers_of_their_own(tmp_path):
    HALVES.save(tmp_path / "a.png")
    spectrum = torch.linspace(-3, 2, 800).view(20, 40)
    cells = [("file", tmp_path / "a.png"), ("16 bits", RAMP.astype(np.uint16) * 257), None]
    fig = plots.panels([[*cells, ("numbers", spectrum)], [("", HALVES)]], unit="")
    shown = [ax.images[0].get_array() for ax in fig.axes if ax.images]
    plt.close(fig)
    assert np.array_equal(shown[0], HALVES)
    assert np.array_equal(shown[1][..., 0], RAMP)
    assert np.array_equal(shown[2], spectrum)


def test_panels_draw_every_outline():
    masks = np.eye(20, 40, dtype=bool)[None].repeat(4, 0)
    fig = plots.panels([[("", HALVES, None, masks)]], unit="")
    assert len(fig.axes[0].collections) == 4
    plt.close(fig)


MAP = np.linspace(0, 1, 800).reshape(20, 40)
SEEN = xu.Attribution(torch.tensor(MAP)[None].float(), "nats", False)
TEXT, OTHER = (
    xu.Attribution(torch.ones(1, 2), "nats", False, tokens=[words])
    for words in (["two", "halves"], ["two", "parts"])
)


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([], {}, TypeError, "rows must be a list"),
        ([[]], {}, ValueError, "rows has no cells"),
        ([("", HALVES)], {}, TypeError, r"rows\[0\] must be a list of cells"),
        ([[("", HALVES, MAP, [], 3)]], {}, TypeError, r"rows\[0\]\[0\] must be \(title"),
        ([[(3, HALVES)]], {}, TypeError, r"title of rows\[0\]\[0\] must be a string"),
        ([[("", None)]], {}, ValueError, r"rows\[0\]\[0\] has neither a picture nor a map"),
        ([[("", 3)]], {}, TypeError, r"picture of rows\[0\]\[0\] must be a PIL image"),
        ([[("", HALVES, MAP * np.nan)]], {}, ValueError, "map of .* holds NaN"),
        ([[("", HALVES, MAP[0])]], {}, ValueError, r"map of .*got \(40,\): plots.words draws"),
        ([[("", HALVES, MAP[None])]], {}, ValueError, r"map of .*\(H, W\), got \(1, 20, 40\)"),
        ([[("", MAP, MAP[:5])]], {}, ValueError, r"picture of .* the map's shape \(5, 40\)"),
        ([[("", HALVES, MAP, [MAP[:9] > 0.5])]], {}, ValueError, "outlines of .* must have shape"),
        ([[("", HALVES, None, [MAP.T > 0.5])]], {}, ValueError, "outlines of .* must have shape"),
        ([[("", HALVES, MAP, [MAP])]], {}, ValueError, "outline of .* must be bool"),
        ([[("", HALVES, MAP, MAP > 0.5)]], {}, ValueError, r"outline of .* must be \(H, W\)"),
        ([[("", HALVES, MAP)]], dict(limits=(1, 0)), ValueError, "limits must be finite"),
        ([[("", HALVES, MAP)]], dict(limits=(0, np.nan)), ValueError, "limits must be finite"),
        ([[("", HALVES, MAP)]], dict(limits=3), ValueError, r"limits must be \(low, high\)"),
        ([[("", HALVES, MAP)]], dict(side=0), ValueError, "side must be a number above 0"),
        ([[("", HALVES, MAP)]], dict(signed="no"), ValueError, "signed must be True, False or 1"),
        ([[("", HALVES, MAP)] * 2], dict(signed=[True]), ValueError, "signed must be .* 2 of them"),
        ([[("", HALVES, MAP)]], dict(overlay="no"), ValueError, "overlay must be True or False"),
        ([[("", HALVES, MAP)]], dict(row_names=[]), ValueError, "row_names must hold 1 names"),
        ([[("", HALVES, MAP)]], dict(unit=["a", "b"]), ValueError, "unit must be one unit or 1 of"),
        ([[("", HALVES, MAP)]], dict(unit=["a"], limits=(0, 1)), ValueError, "limits must be None"),
        ([[("", HALVES, MAP)]], dict(unit=[3]), TypeError, "unit must be a string or None"),
        ([[("", HALVES, -MAP)]], dict(unit=[None]), ValueError, "has negative values"),
        ([[("", HALVES, MAP)]], dict(unit=3), TypeError, "unit must be a string or None"),
        ([[("", HALVES, MAP)]], dict(unit=None, limits=(0, 1)), ValueError, "limits must be None"),
        (
            [[("", HALVES, -MAP)]],
            dict(unit=None),
            ValueError,
            r"rows\[0\]\[0\] has negative values",
        ),
    ],
)
def test_panels_refuse_what_cannot_be_drawn(rows, options, error, message):
    before = plt.get_fignums()
    with pytest.raises(error, match=message):
        plots.panels(rows, **dict(unit="") | options)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("rows", "tokens", "options", "error", "message"),
    [
        ({}, ["a"], {}, TypeError, "rows must be a dict"),
        ([[1.0]], ["a"], {}, TypeError, "rows must be a dict"),
        ({"r": [1.0]}, "a", {}, TypeError, "tokens must be a list of the words"),
        ({"r": [1.0]}, [], {}, TypeError, "tokens must be a list of the words"),
        ({"r": [1.0]}, [["a"]], {}, TypeError, r"tokens must be .*a.tokens\[0\]"),
        ({"r": [1.0]}, ["a", "b"], {}, ValueError, r"rows\['r'\] must hold 2 scores"),
        ({"r": np.ones((1, 2))}, ["a"], {}, ValueError, r"rows\['r'\] must hold 1 scores"),
        ({"r": [np.nan, np.nan]}, ["a", "b"], {}, ValueError, "rows holds no score, only NaN"),
        ({"r": [np.inf, 1.0]}, ["a", "b"], {}, ValueError, r"rows\['r'\] holds infinite"),
        ({"r": [1.0]}, ["a"], dict(limits=(1, 0)), ValueError, "limits must be"),
        ({"r": [1.0]}, ["a"], dict(signed=None), ValueError, "signed must be True, False or 1"),
        ({"r": [1.0]}, ["a"], dict(unit=b""), TypeError, "unit must be a string or None"),
        ({"r": [-1.0]}, ["a"], dict(unit=None), ValueError, r"rows\['r'\] has negative values"),
    ],
)
def test_words_refuse_what_cannot_be_drawn(rows, tokens, options, error, message):
    with pytest.raises(error, match=message):
        plots.words(rows, tokens, **dict(unit="") | options)


def test_galleries_refuse_what_cannot_be_drawn(encoder):
    c = xu.cases(encoder, [xu.Sample("s", HALVES, "c")], target="self")
    a = xu.explain({"s": saliency}, c)["s"]
    for maps, side, error, message in (
        ({}, 2, TypeError, "maps must be a dict"),
        ({"s": a.map}, 2, TypeError, r"maps\['s'\] must be an Attribution, got Tensor"),
        ({"s": xu.Attribution(a.map[:, 0], "", False)}, 2, ValueError, r"maps\['s'\] must have"),
        ({"s": xu.Attribution(a.map * np.nan, "", False)}, 2, ValueError, r"maps\['s'\] holds NaN"),
        ({"s": a}, 0, ValueError, "side must be a number above 0"),
    ):
        with pytest.raises(error, match=message):
            plots.gallery(maps, c, side=side)
    with pytest.raises(TypeError, match="cases must be cases of images, got list"):
        plots.gallery({"s": a}, [1])


def test_pictures_masks_and_figures_that_are_none_are_refused(encoder):
    x = torch.zeros(3, 32, 32)
    with pytest.raises(TypeError, match="encoder must be an image encoder"):
        plots.as_picture(None, x)
    for bad in (x[None], x[0], x.numpy(), x.permute(1, 2, 0)):
        with pytest.raises(ValueError, match=r"x must be one picture, a tensor \(3, H, W\)"):
            plots.as_picture(encoder, bad)
    with pytest.raises(ValueError, match="x holds NaN"):
        plots.as_picture(encoder, x * np.nan)
    with pytest.raises(ValueError, match="titles must hold 3 titles, one a mask, got 1"):
        plots.mask_panels(x, ["one"])
    with pytest.raises(ValueError, match=r"masks must lie in \[0, 1\]"):
        plots.mask_panels(x - 1, ["a", "b", "c"])
    with pytest.raises(TypeError, match="fig must be a matplotlib Figure, got NoneType"):
        plots.show(None, "name", "caption", "alt")
    fig = plt.figure()
    with pytest.raises(ValueError, match="name must be a file's name"):
        plots.show(fig, "a/b", "caption", "alt")
    plt.close(fig)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(images={}), TypeError, "images must be a dict of label -> Attribution"),
        (dict(texts=[1]), TypeError, "texts must be a dict of label -> Attribution"),
        (dict(images={"m": MAP}), TypeError, r"images\['m'\] must be an Attribution, got ndarray"),
        (dict(images={"m": TEXT}), ValueError, r"images\['m'\] must be of a picture, got \(1, 2\)"),
        (dict(texts={"m": SEEN}), ValueError, r"texts\['m'\] must be of a text, got \(1, 20, 40\)"),
        (dict(texts={"m": TEXT, "n": OTHER}), ValueError, "texts must all be of one text"),
        (dict(case=1), ValueError, "case must be below 1, got 1"),
        (dict(case=-1), ValueError, "case must be an integer of at least 0"),
        (dict(outlines=[MAP]), ValueError, "outline of .* must be bool"),
        (dict(side=0), ValueError, "side must be a number above 0"),
        (dict(picture=3), TypeError, "must be a PIL image"),
    ],
)
def test_pairs_refuse_what_cannot_be_drawn(options, error, message):
    call = dict(picture=HALVES, images={"m": SEEN}, texts={"m": TEXT}) | options
    with pytest.raises(error, match=message):
        plots.pair(**call)


def test_the_explorer_refuses_what_cannot_be_drawn(monkeypatch):
    monkeypatch.delenv("XAI_PROGRESS", raising=False)
    for maps, error, message in (
        ({}, TypeError, "maps must be a dict"),
        ([MAP], TypeError, "maps must be a dict"),
        ({1: MAP, 2: MAP[:5]}, ValueError, "maps must all have one shape"),
        ({1: MAP[0]}, ValueError, r"maps\[1\] must be \(H, W\)"),
        ({1: MAP * np.nan}, ValueError, r"maps\[1\] holds NaN"),
    ):
        with pytest.raises(error, match=message):
            explore(HALVES, maps, name="beta", unit="")
    with pytest.raises(TypeError, match="picture must be a PIL image"):
        explore(3, {1: MAP}, name="beta", unit="")
