"""Which stamps does a dual encoder know by name? Maps for words it does not know say nothing about the method."""

import torch
import torch.nn.functional as F

from ..types import DualEncoder
from .stamps import stamps, table


@torch.no_grad()
def recognised(model: DualEncoder, *, split: str = "test", top: int = 5) -> list[str]:
    """Ids of the split's stamps whose own caption is among the `top` of all stamps' captions, each stamp alone on grey."""
    captions = sorted({row["caption"] for row in table()})
    texts = F.normalize(model.encode_text(captions), dim=-1)  # (captions, D)
    known, shown = [], stamps(split, 0, None)
    for i in range(0, len(shown), 32):
        samples = shown[i : i + 32]
        x = torch.stack([model.image.transform(s.image) for s in samples])
        order = (F.normalize(model.encode_image(x), dim=-1) @ texts.T).topk(top).indices.tolist()
        known += [s.id for s, best in zip(samples, order) if s.things[0].caption in [captions[k] for k in best]]
    return known
