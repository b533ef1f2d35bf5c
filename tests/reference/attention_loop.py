"""Attention methods for one sample, written from their definitions, a token and a head at a time.

They start from lists over blocks: A[l] attention, S[l] scores before the softmax, G[l] gradient of
the target's score with respect to A[l], each (heads, T, T) nested lists or tensors; `p` says how
much of the embedding is read from each token.
"""

import torch


def rollout_loop(A, p):
    tokens = len(p)
    flow = [[float(i == j) for j in range(tokens)] for i in range(tokens)]
    for a in A:
        mean = [
            [sum(float(head[i][j]) for head in a) / len(a) for j in range(tokens)]
            for i in range(tokens)
        ]
        with_skip = [
            [0.5 * mean[i][j] + 0.5 * (i == j) for j in range(tokens)] for i in range(tokens)
        ]
        flow = [
            [sum(with_skip[i][k] * flow[k][j] for k in range(tokens)) for j in range(tokens)]
            for i in range(tokens)
        ]
    return read_off(flow, p)


def chefer_loop(A, G, p):
    tokens = len(p)
    r = torch.eye(tokens, dtype=torch.float64)
    for a, g in zip(A, G):
        cam = torch.zeros(tokens, tokens, dtype=torch.float64)
        for i in range(tokens):
            for j in range(tokens):
                cam[i, j] = sum(
                    max(0.0, float(a[h][i][j]) * float(g[h][i][j])) for h in range(len(a))
                ) / len(a)
        r = r + cam @ r
    return read_off((r - torch.eye(tokens)).tolist(), p)


def ag_cam_loop(S, G, p):
    tokens = len(p)
    total = [[0.0] * tokens for _ in range(tokens)]
    for s, g in zip(S, G):
        for h in range(len(s)):
            for i in range(tokens):
                for j in range(tokens):
                    feature = 1 / (1 + torch.exp(-s[h][i][j].double()).item())
                    total[i][j] += feature * max(0.0, float(g[h][i][j]))
    return read_off(total, p)


def read_off(rows, p):
    return torch.tensor([sum(p[i] * rows[i][j] for i in range(len(p))) for j in range(len(p))])


def linear_loop(x, weight, r):
    """Relevance of a linear layer's outputs r -> inputs: each output shares out among its positive
    terms."""
    shares = [0.0] * len(x)
    for i in range(len(weight)):
        terms = [max(0.0, float(x[j] * weight[i][j])) for j in range(len(x))]
        for j in range(len(x)):
            shares[j] += terms[j] / sum(terms) * float(r[i]) if sum(terms) else 0.0
    return torch.tensor(shares)


def by_definition(f, inputs, r):
    """Deep Taylor's G: relevance r of f(inputs) -> inputs, x times what autograd sends back of r /
    f."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = f(*inputs)
    grads = torch.autograd.grad(out, inputs, r / (out + torch.where(out < 0, -1e-9, 1e-9)))
    return [(x * g).detach() for x, g in zip(inputs, grads)]


def normalised(r_u, r_v, r):
    u, v = r_u.sum(), r_v.sum()
    both = u.abs() + v.abs()
    return r_u * (u.abs() / both) * (r.sum() / u), r_v * (v.abs() / both) * (r.sum() / v)


def linear_by_rows(x, weight, r):
    return torch.stack([linear_loop(row, weight.detach(), out) for row, out in zip(x, r)]).to(x)


def class_token(model, z, c):
    """The logit of class c, its relevance at the tokens z, (T, width), and the row that is read, of
    a timm ViT that normalises and then reads the class token."""
    n = model.norm(z)
    terms = (n[0] * model.head.weight[c]).clamp(min=0).detach()
    r = torch.zeros_like(n)
    r[0] = terms / terms.sum()
    return model.head(n[0])[c], r, torch.eye(len(r)).to(r)[0]


def mean_of_patches(model, z, c):
    """The same of one that averages the patches and normalises their mean."""
    front, (tokens, width) = model.num_prefix_tokens, z.shape
    h = model.fc_norm(z[front:].mean(0))
    at_h = (h * model.head.weight[c]).detach().clamp(min=0).tolist()
    r, p = torch.zeros_like(z), torch.zeros(tokens).to(z)
    for d in range(width):
        sign = 1 if z[front:, d].mean() > 0 else -1
        terms = [max(0.0, sign * z[t, d].item()) for t in range(front, tokens)]
        for t in range(front, tokens):  # the norm passes the relevance of h on to the mean
            r[t, d] = at_h[d] / sum(at_h) * terms[t - front] / sum(terms)
    p[front:] = 1 / (tokens - front)
    return model.head(h)[c], r, p


def chefer_lrp_loop(model, image, c, end=class_token):
    """The map over tokens (T,) of a timm ViT for one image and class, a step of its forward pass at
    a time."""
    z = model._pos_embed(model.patch_embed(image[None])).detach()[0]  # (T, width)
    kept = []
    for block in model.blocks:
        a = block.attn
        n1 = block.norm1(z)
        q, k, v = a.qkv(n1).reshape(len(z), 3, a.num_heads, a.head_dim).permute(1, 2, 0, 3)
        attention = (q @ k.mT * a.head_dim**-0.5).softmax(-1)
        mixed = (attention @ v).transpose(0, 1).flatten(1)
        branch = a.proj(mixed)
        x = z + branch
        n2 = block.norm2(x)
        active = block.mlp.act(block.mlp.fc1(n2))
        out = block.mlp.fc2(active)
        state = dict(
            z=z,
            n1=n1,
            q=q,
            k=k,
            v=v,
            a=attention,
            mixed=mixed,
            branch=branch,
            x=x,
            n2=n2,
            active=active,
            mlp=out,
        )
        kept.append(state | dict(block=block))
        z = x + out
    logit, r, p = end(model, z, c)
    grads = torch.autograd.grad(logit, [s["a"] for s in kept])
    r, cams = r.detach(), []
    for s, g in reversed(list(zip(kept, grads))):
        s = {
            key: value.detach() if isinstance(value, torch.Tensor) else value
            for key, value in s.items()
        }
        block, heads = s["block"], s["a"].shape[0]
        r_x, r_mlp = normalised(*by_definition(torch.add, [s["x"], s["mlp"]], r), r)
        r_active = linear_by_rows(s["active"], block.mlp.fc2.weight, r_mlp)
        r = r_x + linear_by_rows(s["n2"], block.mlp.fc1.weight, r_active)
        r_z, r_branch = normalised(*by_definition(torch.add, [s["z"], s["branch"]], r), r)
        r_mixed = (
            linear_by_rows(s["mixed"], block.attn.proj.weight, r_branch)
            .unflatten(1, (heads, -1))
            .transpose(0, 1)
        )
        r_a, r_v = normalised(*by_definition(torch.matmul, [s["a"], s["v"]], r_mixed), r_mixed)
        r_q, r_k = normalised(*by_definition(lambda q, k: q @ k.mT, [s["q"], s["k"]], r_a), r_a)
        r_qkv = torch.cat([t.transpose(0, 1).flatten(1) for t in (r_q, r_k, r_v)], 1)
        r = r_z + linear_by_rows(s["n1"], block.attn.qkv.weight, r_qkv)
        cams.append(torch.eye(len(r)) + (g * r_a).clamp(min=0).mean(0))
    flow = torch.eye(len(r)).to(r)
    for cam in cams:  # from the last block to the first
        flow = flow @ cam
    return p @ flow - p
