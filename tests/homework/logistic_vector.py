"""Logistic regression whose weights are a vector."""

import numpy as np


def probability(w, b, X):
    return 1 / (1 + np.exp(-(X @ w + b)))


def cost(w, b, X, y):
    p = probability(w, b, X)
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def gradients(w, b, X, y):
    off = probability(w, b, X) - y
    dw = X.T @ off / len(y)
    db = np.mean(off)
    return dw, db


def train(w, b, X, y, rate=0.1, steps=100):
    for _ in range(steps):
        dw, db = gradients(w, b, X, y)
        w = w - rate * dw
        b = b - rate * db
    return w, b
