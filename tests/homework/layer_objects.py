"""Layers as objects with a forward and a backward pass, put together in a model."""

import numpy as np


class Dense:
    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_in, n_out) / np.sqrt(n_in)
        self.b = np.zeros((1, n_out))

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad):
        self.dW = self.x.T @ grad
        self.db = grad.sum(axis=0, keepdims=True)
        return grad @ self.W.T


class Rectifier:
    def forward(self, x):
        self.on = x > 0
        return x * self.on

    def backward(self, grad):
        return grad * self.on


class Model:
    def __init__(self, n_features, n_hidden, n_classes):
        self.layers = [Dense(n_features, n_hidden), Rectifier(), Dense(n_hidden, n_classes)]

    def forward(self, X):
        for layer in self.layers:
            X = layer.forward(X)
        e = np.exp(X - X.max(axis=1, keepdims=True))
        self.probs = e / e.sum(axis=1, keepdims=True)
        return self.probs

    def backward(self, y):
        grad = (self.probs - y) / len(y)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)

    def step(self, lr):
        for layer in self.layers:
            if hasattr(layer, "W"):
                layer.W -= lr * layer.dW
                layer.b -= lr * layer.db
