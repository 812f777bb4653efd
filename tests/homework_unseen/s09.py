#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""Programming assignment, week 4."""

import numpy as np


class Network:

    def __init__(self, in_features=2, hidden_features=16, num_classes=3, step_size=1.0, random_state=0):
        gen = np.random.default_rng(random_state)
        self.step_size = step_size
        self.num_classes = num_classes
        self.theta1 = gen.normal(scale=0.3, size=(hidden_features, in_features))
        self.bias1 = np.zeros((hidden_features, 1))
        self.theta2 = gen.normal(scale=0.3, size=(num_classes, hidden_features))
        self.bias2 = np.zeros((num_classes, 1))

    def forward(self, X):
        """X is (in_features, m). Returns probabilities (num_classes, m) and a cache for backward."""
        a1 = np.tanh(np.dot(self.theta1, X) + self.bias1)
        z2 = np.dot(self.theta2, a1) + self.bias2
        z2 -= z2.max(axis=0)
        e = np.exp(z2)
        probs = e / e.sum(axis=0)
        return probs, {"X": X, "a1": a1, "probs": probs}

    def loss(self, probs, labels):
        """Mean negative log-likelihood, labels are ints of shape (m,)."""
        m = labels.shape[0]
        return -np.log(probs[labels, np.arange(m)]).sum() / m

    def backward(self, cache, labels):
        m = labels.shape[0]
        target = np.zeros((self.num_classes, m))
        target[labels, np.arange(m)] = 1.0

        # I divide by m at the end, not here
        err2 = cache["probs"] - target
        err1 = np.dot(self.theta2.T, err2) * (1.0 - np.power(cache["a1"], 2))

        return {
            "theta1": np.dot(err1, cache["X"].T) / m,
            "bias1": err1.mean(axis=1, keepdims=True),
            "theta2": np.dot(err2, cache["a1"].T) / m,
            "bias2": err2.mean(axis=1, keepdims=True),
        }

    def update(self, gradients):
        for key, value in gradients.items():
            self.__dict__[key] = self.__dict__[key] - self.step_size * value

    def train(self, X, labels, iterations=1000, print_every=100):
        for i in range(iterations):
            probs, cache = self.forward(X)
            self.update(self.backward(cache, labels))
            if print_every and i % print_every == 0:
                print("Cost after iteration %i: %f" % (i, self.loss(probs, labels)))


def spiral(points=100, classes=3):
    """Toy data."""
    X = np.zeros((2, points * classes))
    y = np.zeros(points * classes, dtype=int)
    for c in range(classes):
        r = np.linspace(0.0, 1, points)
        t = np.linspace(c * 4, (c + 1) * 4, points) + np.random.randn(points) * 0.2
        X[:, c * points:(c + 1) * points] = np.vstack([r * np.sin(t), r * np.cos(t)])
        y[c * points:(c + 1) * points] = c
    return X, y


if __name__ == "__main__":
    X, y = spiral()
    net = Network(hidden_features=32)
    net.train(X, y)
    p, _ = net.forward(X)
    print("training accuracy", (p.argmax(axis=0) == y).mean())
