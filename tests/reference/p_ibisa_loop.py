"""Algorithm 1 of P-IBISA as it is printed: one image, one mask, one Adam at a time, torch's own
bicubic."""

import torch
import torch.nn.functional as F


def p_ibisa_loop(
    f,
    x,
    h_t,
    *,
    starts,
    steps,
    beta,
    phi,
    lr,
    align="cosine",
    dissimilar=False,
    weights_lr=0.1,
    t_min=0.1,
):
    """x (3, H, W), h_t (D,), starts: list of (h, w) grids -> (H, W). beta None: learned weights
    (Eq. 8)."""
    c, height, width = x.shape
    k = c * height * width
    finished = []
    for start in starts:
        g = start.clone().to(x).requires_grad_()
        weights = torch.tensor([0.0, 0.0, 1.0]).to(x).requires_grad_()
        groups = [{"params": [g], "lr": lr}]
        if beta is None:
            groups.append({"params": [weights], "lr": weights_lr})
        adam = torch.optim.Adam(groups)
        for _ in range(steps):
            m = torch.sigmoid(F.interpolate(g[None, None], size=(height, width), mode="bicubic"))[
                0, 0
            ]
            h = f((x * m)[None])[0]
            cosine = torch.dot(h, h_t) / (h.norm() * h_t.norm())
            if dissimilar:
                loss = torch.clamp(cosine, min=0)
            elif align == "mse":
                loss = ((h - h_t) ** 2).mean()
            else:
                loss = 1 - cosine
            l1, tv = m.sum(), (m[1:] - m[:-1]).abs().sum() + (m[:, 1:] - m[:, :-1]).abs().sum()
            if beta is None:
                b, p, t = weights
                loss = (
                    loss
                    + torch.exp(-b) * l1 / k
                    + torch.exp(-p) * tv / k
                    + (b + p) / t
                    + torch.exp(-t)
                )
            else:
                loss = loss + beta * l1 / k + phi * tv / k
            adam.zero_grad()
            inputs = [g, weights] if beta is None else [g]
            for leaf, grad in zip(inputs, torch.autograd.grad(loss, inputs)):
                leaf.grad = grad
            adam.step()
            with torch.no_grad():
                if t_min is None:
                    weights[2] = 1.0
                else:
                    weights[2].clamp_(min=t_min)
        finished.append(
            torch.sigmoid(
                F.interpolate(g.detach()[None, None], size=(height, width), mode="bicubic")
            )[0, 0]
        )
    return sum(finished) / len(finished)


def p_ibisa_text_loop(
    bert,
    ids,
    blank,
    h_t,
    *,
    starts,
    steps,
    beta,
    k,
    lr,
    align="cosine",
    dissimilar=False,
    weights_lr=0.1,
    t_min=0.1,
):
    """The same for one text: ids (T + 2,), starts a list of (T,) -> (T,). One word at a time gives
    way to the padding token.

    The penalty is the area alone; beta None: beta and t are learned. `bert` is a transformers
    model, its states averaged.
    """
    finished = []
    for start in starts:
        g = start.clone().to(h_t).requires_grad_()
        weights = torch.tensor([0.0, 1.0]).to(h_t).requires_grad_()
        adam = torch.optim.Adam(
            [{"params": [g], "lr": lr}, {"params": [weights], "lr": weights_lr}]
        )
        for _ in range(steps):
            m = torch.sigmoid(g)
            words = []
            for place, token in enumerate(ids):
                word = bert.embeddings.word_embeddings(token)
                if 0 < place < len(ids) - 1:
                    word = m[place - 1] * word + (
                        1 - m[place - 1]
                    ) * bert.embeddings.word_embeddings(torch.tensor(blank))
                words.append(word)
            h = bert(inputs_embeds=torch.stack(words)[None]).last_hidden_state[0].mean(0)
            cosine = torch.dot(h, h_t) / (h.norm() * h_t.norm())
            loss = (
                torch.clamp(cosine, min=0)
                if dissimilar
                else ((h - h_t) ** 2).mean()
                if align == "mse"
                else 1 - cosine
            )
            if beta is None:
                b, t = weights
                loss = loss + torch.exp(-b) * m.sum() / k + b / t + torch.exp(-t)
            else:
                loss = loss + beta * m.sum() / k
            adam.zero_grad()
            leaves = [g, weights] if beta is None else [g]
            for leaf, grad in zip(leaves, torch.autograd.grad(loss, leaves)):
                leaf.grad = grad
            adam.step()
            with torch.no_grad():
                weights[1].clamp_(min=t_min)
        finished.append(torch.sigmoid(g.detach()))
    return sum(finished) / len(finished)
