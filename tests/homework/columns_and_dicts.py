"""Functions with dicts: examples as columns, tanh, sigmoid, binary cross-entropy."""

import numpy as np


def squash(z):
    return 1 / (1 + np.exp(-z))


def initialise(n_x, n_h, n_y):
    rng = np.random.default_rng(1)
    return {
        "W1": rng.normal(size=(n_h, n_x)) * 0.1,
        "b1": np.zeros((n_h, 1)),
        "W2": rng.normal(size=(n_y, n_h)) * 0.1,
        "b2": np.zeros((n_y, 1)),
    }


def forward_pass(X, parameters):
    Z1 = parameters["W1"] @ X + parameters["b1"]
    A1 = np.tanh(Z1)
    Z2 = parameters["W2"] @ A1 + parameters["b2"]
    A2 = squash(Z2)
    store = {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2}
    return A2, store


def cross_entropy_cost(A2, Y):
    m = Y.shape[1]
    total = np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))
    return float(-total / m)


def backward_pass(parameters, store, X, Y):
    m = X.shape[1]
    dZ2 = store["A2"] - Y
    dW2 = dZ2 @ store["A1"].T / m
    db2 = np.sum(dZ2, axis=1, keepdims=True) / m
    dZ1 = (parameters["W2"].T @ dZ2) * (1 - store["A1"] ** 2)
    dW1 = dZ1 @ X.T / m
    db1 = np.sum(dZ1, axis=1, keepdims=True) / m
    return {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2}


def apply_gradients(parameters, grads, learning_rate=1.0):
    for key in parameters:
        parameters[key] = parameters[key] - learning_rate * grads["d" + key]
    return parameters
