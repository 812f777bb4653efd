"""A dict called model, examples as rows, integer labels, an L2 term."""

import numpy as np


def build(n_features, n_units, n_classes):
    return {
        "W1": np.random.randn(n_features, n_units) / np.sqrt(n_features),
        "b1": np.zeros((1, n_units)),
        "W2": np.random.randn(n_units, n_classes) / np.sqrt(n_units),
        "b2": np.zeros((1, n_classes)),
    }


def probabilities(model, X):
    a1 = np.tanh(X.dot(model["W1"]) + model["b1"])
    scores = np.exp(a1.dot(model["W2"]) + model["b2"])
    return a1, scores / np.sum(scores, axis=1, keepdims=True)


def calculate_loss(model, X, y, reg_lambda=0.0):
    _, probs = probabilities(model, X)
    data = -np.log(probs[range(len(X)), y])
    penalty = reg_lambda / 2 * (np.sum(model["W1"] ** 2) + np.sum(model["W2"] ** 2))
    return (np.sum(data) + penalty) / len(X)


def backprop(model, X, y, reg_lambda=0.0):
    a1, probs = probabilities(model, X)
    delta3 = probs
    delta3[range(len(X)), y] -= 1
    dW2 = a1.T.dot(delta3) + reg_lambda * model["W2"]
    db2 = np.sum(delta3, axis=0, keepdims=True)
    delta2 = delta3.dot(model["W2"].T) * (1 - np.power(a1, 2))
    dW1 = np.dot(X.T, delta2) + reg_lambda * model["W1"]
    db1 = np.sum(delta2, axis=0, keepdims=True)
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
