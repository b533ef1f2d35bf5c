"""Attention methods for one sample, written from their definitions, a token and a head at a time.

They start from lists over blocks: A[l] attention, S[l] scores before the softmax, G[l] gradient of the target's score with
respect to A[l], each (heads, T, T) nested lists or tensors; `p` says how much of the embedding is read from each token.
"""

import torch


def rollout_loop(A, p):
    tokens = len(p)
    flow = [[float(i == j) for j in range(tokens)] for i in range(tokens)]
    for a in A:
        mean = [[sum(float(head[i][j]) for head in a) / len(a) for j in range(tokens)] for i in range(tokens)]
        with_skip = [[0.5 * mean[i][j] + 0.5 * (i == j) for j in range(tokens)] for i in range(tokens)]
        flow = [[sum(with_skip[i][k] * flow[k][j] for k in range(tokens)) for j in range(tokens)] for i in range(tokens)]
    return read_off(flow, p)


def chefer_loop(A, G, p):
    tokens = len(p)
    r = torch.eye(tokens, dtype=torch.float64)
    for a, g in zip(A, G):
        cam = torch.zeros(tokens, tokens, dtype=torch.float64)
        for i in range(tokens):
            for j in range(tokens):
                cam[i, j] = sum(max(0.0, float(a[h][i][j]) * float(g[h][i][j])) for h in range(len(a))) / len(a)
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
    """Relevance of a linear layer's outputs r -> inputs: each output shares out among its positive terms."""
    shares = [0.0] * len(x)
    for i in range(len(weight)):
        terms = [max(0.0, float(x[j] * weight[i][j])) for j in range(len(x))]
        for j in range(len(x)):
            shares[j] += terms[j] / sum(terms) * float(r[i]) if sum(terms) else 0.0
    return torch.tensor(shares)
