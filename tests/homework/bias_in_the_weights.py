"""Each layer's bias is the first column of its weights, and multiplies a 1 before its inputs."""

import numpy as np


def squash(z):
    return 1 / (1 + np.exp(-z))


def one_before(a):
    return np.hstack([np.ones((len(a), 1)), a])


def cost_function(theta1, theta2, X, y, lam=0.0):
    n = len(X)
    inputs = one_before(X)
    hidden = one_before(squash(inputs @ theta1.T))
    out = squash(hidden @ theta2.T)
    cost = -np.sum(y * np.log(out) + (1 - y) * np.log(1 - out)) / n
    cost += lam / 2 * (np.sum(theta1[:, 1:] ** 2) + np.sum(theta2[:, 1:] ** 2))

    miss = (out - y) / n
    back = miss @ theta2[:, 1:] * hidden[:, 1:] * (1 - hidden[:, 1:])
    grad1 = back.T @ inputs
    grad2 = miss.T @ hidden
    grad1[:, 1:] += lam * theta1[:, 1:]
    grad2[:, 1:] += lam * theta2[:, 1:]
    return cost, grad1, grad2
