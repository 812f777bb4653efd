"""One step of gradient descent that gives new weights and leaves the old ones alone."""

import numpy as np


def init_weights(n_in, n_hidden, n_out):
    draw = np.random.default_rng(1).normal
    return {
        "W1": draw(size=(n_in, n_hidden)), "b1": np.zeros(n_hidden),
        "W2": draw(size=(n_hidden, n_out)), "b2": np.zeros(n_out),
    }


def forward(weights, X):
    hidden = np.tanh(X @ weights["W1"] + weights["b1"])
    scores = hidden @ weights["W2"] + weights["b2"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def update(weights, X, T, lr):
    hidden, guess = forward(weights, X)
    delta2 = (guess - T) / len(X)
    delta1 = delta2 @ weights["W2"].T * (1 - hidden**2)
    return {
        "W1": weights["W1"] - lr * X.T @ delta1,
        "b1": weights["b1"] - lr * delta1.sum(axis=0),
        "W2": weights["W2"] - lr * hidden.T @ delta2,
        "b2": weights["b2"] - lr * delta2.sum(axis=0),
    }
