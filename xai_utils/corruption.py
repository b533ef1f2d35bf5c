"""What takes parts of an input away: reference images for holes, and inputs without what a map
marks."""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from .checks import check_map, check_text_map

REFERENCES = ("zero", "black", "mean", "blur")


def reference_image(encoder, x: Tensor, reference: str) -> Tensor:
    """What stands for "nothing there", (B, 3, H, W), normalised as the inputs are."""
    if reference == "zero":
        return torch.zeros_like(x)
    if reference == "mean":
        return x.mean((2, 3), keepdim=True).expand_as(x)
    if reference == "black":
        mean, std = (torch.tensor(v).to(x).view(1, 3, 1, 1) for v in (encoder.mean, encoder.std))
        return (-mean / std).expand_as(x)
    if reference == "blur":
        sigma, most = min(x.shape[-2:]) / 10, min(x.shape[-2:]) // 2 - 1
        side = 2 * min(round(2 * sigma), most) + 1
        return gaussian_blur(
            gaussian_blur(x, [side, 1], [sigma, sigma]), [1, side], [sigma, sigma]
        )  # rows, then columns
    raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {reference!r}")


def without_pixels(images: Tensor, map: Tensor, percentile: float) -> Tensor:
    """Pixels above the map's percentile become the image's own mean colour, (B, 3, H, W)."""
    flat = check_map(map, images).flatten(1)
    above = (flat > flat.quantile(percentile / 100, dim=1, keepdim=True)).view(
        len(images), 1, *images.shape[-2:]
    )
    return torch.where(above.to(images.device), images.mean((2, 3), keepdim=True), images)


def blanked(encoder, texts: list[str], map: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """(ids, valid) with the tokens above the map's percentile replaced. CLIP still reads at the
    original end (A14)."""
    ids, valid, tokens = encoder.tokenize(texts)
    ids = ids.clone()
    scores = check_text_map(map, [len(t) for t in tokens])
    for row, own, s in zip(ids, encoder.words(valid), scores):
        above = (s > s.quantile(percentile / 100)).to(ids.device)
        row[own] = row[own].masked_fill(above, encoder.blank)
    return ids, valid
