"""The metrics word for word: one sample, one step, one pixel or token at a time."""

import torch
import torch.nn.functional as F


def perturbed_images(x, map, *, block, first, reference, insert=False):
    """x (3, H, W), map (H, W) without ties between blocks -> list of images, the first before any
    step, one block a step."""
    height, width = map.shape
    blocks = [(r, c) for r in range(0, height, block) for c in range(0, width, block)]
    blocks.sort(
        key=lambda p: map[p[0] : p[0] + block, p[1] : p[1] + block].mean().item(),
        reverse=first == "most",
    )
    here = reference.clone() if insert else x.clone()
    there = x if insert else reference
    images = [here.clone()]
    for r, c in blocks:
        here[:, r : r + block, c : c + block] = there[:, r : r + block, c : c + block]
        images.append(here.clone())
    return images


def perturbation_curve_loop(f, x, target, map, *, block, first, reference, insert=False, head=None):
    values = []
    for image in perturbed_images(
        x, map, block=block, first=first, reference=reference, insert=insert
    ):
        h = f(image[None])
        if head is None:
            values.append(F.cosine_similarity(h, target[None])[0].item())
        else:
            values.append(torch.softmax(head(h)[0], 0)[target].item())
    return values


def zero_shot_roar_loop(corrupt, f, queries, partners, query_is_corrupted):
    """100 (Acc_o - Acc_c) / Acc_o from two lists of embeddings and the corrupted ones."""

    def accuracy(a, b):
        right = 0
        for i in range(len(a)):
            similarities = [F.cosine_similarity(a[i], b[j], dim=0).item() for j in range(len(b))]
            right += all(similarities[i] > s for j, s in enumerate(similarities) if j != i)
        return right / len(a)

    before = accuracy(queries, partners)
    after = accuracy(corrupt, partners) if query_is_corrupted else accuracy(queries, corrupt)
    return 100 * (before - after) / before
