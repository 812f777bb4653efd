"""A class with fit, as in scikit-learn: epochs, a learning rate, integer classes."""

import numpy as np


class NeuralNet:
    def __init__(self, n_hidden=4, epochs=50, eta=0.1, random_state=1):
        self.n_hidden = n_hidden
        self.epochs = epochs
        self.eta = eta
        self.random = np.random.RandomState(random_state)

    def _onehot(self, y, n_classes):
        rows = np.zeros((y.shape[0], n_classes))
        for i, label in enumerate(y.astype(int)):
            rows[i, label] = 1.0
        return rows

    def _forward(self, X):
        z_h = X @ self.w_h + self.b_h
        a_h = 1.0 / (1.0 + np.exp(-z_h))
        z_out = a_h @ self.w_out + self.b_out
        a_out = 1.0 / (1.0 + np.exp(-z_out))
        return z_h, a_h, z_out, a_out

    def fit(self, X, y):
        n_output = len(np.unique(y))
        if not hasattr(self, "w_h"):
            self.w_h = self.random.normal(0.0, 0.1, (X.shape[1], self.n_hidden))
            self.b_h = np.zeros(self.n_hidden)
            self.w_out = self.random.normal(0.0, 0.1, (self.n_hidden, n_output))
            self.b_out = np.zeros(n_output)
        target = self._onehot(y, n_output)
        for _ in range(self.epochs):
            z_h, a_h, z_out, a_out = self._forward(X)
            delta_out = a_out - target
            delta_h = (delta_out @ self.w_out.T) * a_h * (1.0 - a_h)
            grad_w_h = X.T @ delta_h
            grad_b_h = np.sum(delta_h, axis=0)
            grad_w_out = a_h.T @ delta_out
            grad_b_out = np.sum(delta_out, axis=0)
            self.w_h -= self.eta * grad_w_h
            self.b_h -= self.eta * grad_b_h
            self.w_out -= self.eta * grad_w_out
            self.b_out -= self.eta * grad_b_out
        return self
