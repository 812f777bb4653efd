"""Weights as a list of pairs (W, b), of any depth; regression with a mean squared error."""

import numpy as np


def init_network(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(a, b)) * 0.5, np.zeros(b)) for a, b in zip(sizes, sizes[1:])]


def predict(params, x):
    for W, b in params[:-1]:
        x = np.maximum(x @ W + b, 0)
    W, b = params[-1]
    return x @ W + b


def mse_loss(params, x, y):
    return np.mean((predict(params, x) - y) ** 2)


def mse_grads(params, x, y):
    inputs, pre = [x], []
    for W, b in params[:-1]:
        z = inputs[-1] @ W + b
        pre.append(z)
        inputs.append(np.maximum(z, 0))
    W, b = params[-1]
    out = inputs[-1] @ W + b
    delta = 2 * (out - y) / y.size
    grads = []
    for i in range(len(params) - 1, -1, -1):
        grads.append((inputs[i].T @ delta, delta.sum(axis=0)))
        if i:
            delta = (delta @ params[i][0].T) * (pre[i - 1] > 0)
    return grads[::-1]
