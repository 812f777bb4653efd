"""Weights as global names, and functions that use them."""

import numpy as np

np.random.seed(3)
n_inputs, n_hidden, n_outputs = 5, 6, 3
W1 = np.random.randn(n_inputs, n_hidden) * 0.3
b1 = np.zeros(n_hidden)
W2 = np.random.randn(n_hidden, n_outputs) * 0.3
b2 = np.zeros(n_outputs)
lr = 0.1


def softmax(s):
    s = np.exp(s - np.max(s, axis=1, keepdims=True))
    return s / np.sum(s, axis=1, keepdims=True)


def forward(X):
    h = np.tanh(X @ W1 + b1)
    return h, softmax(h @ W2 + b2)


def gradients(X, T):
    h, p = forward(X)
    d2 = (p - T) / X.shape[0]
    gW2 = h.T @ d2
    gb2 = d2.sum(0)
    d1 = (d2 @ W2.T) * (1 - h**2)
    gW1 = X.T @ d1
    gb1 = d1.sum(0)
    return gW1, gb1, gW2, gb2


def train(X, T, steps=100):
    global W1, b1, W2, b2
    for _ in range(steps):
        gW1, gb1, gW2, gb2 = gradients(X, T)
        W1 = W1 - lr * gW1
        b1 = b1 - lr * gb1
        W2 = W2 - lr * gW2
        b2 = b2 - lr * gb2
