"""Algorithm 1 of P-IBISA as it is printed: one image, one mask, one Adam at a time, torch's own bicubic."""

import torch
import torch.nn.functional as F


def p_ibisa_loop(f, x, h_t, *, starts, steps, beta, phi, lr, align="cosine", dissimilar=False, weights_lr=0.1, t_min=0.1):
    """x (3, H, W), h_t (D,), starts: list of (h, w) grids -> (H, W). beta None: learned weights (Eq. 8)."""
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
            m = torch.sigmoid(F.interpolate(g[None, None], size=(height, width), mode="bicubic"))[0, 0]
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
                loss = loss + torch.exp(-b) * l1 / k + torch.exp(-p) * tv / k + (b + p) / t + torch.exp(-t)
            else:
                loss = loss + beta * l1 / k + phi * tv / k
            adam.zero_grad()
            inputs = [g, weights] if beta is None else [g]
            for leaf, grad in zip(inputs, torch.autograd.grad(loss, inputs)):
                leaf.grad = grad
            adam.step()
            with torch.no_grad():
                weights[2].clamp_(min=t_min)
        finished.append(torch.sigmoid(F.interpolate(g.detach()[None, None], size=(height, width), mode="bicubic"))[0, 0])
    return sum(finished) / len(finished)
