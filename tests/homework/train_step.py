"""A class with one method for a whole step; labels are one column of 0 and 1."""

import numpy as np


class BinaryNet:
    def __init__(self, dim_in, dim_hidden, learning_rate=0.3):
        self.learning_rate = learning_rate
        self.weights_hidden = np.random.uniform(-1, 1, (dim_in, dim_hidden))
        self.bias_hidden = np.zeros((1, dim_hidden))
        self.weights_out = np.random.uniform(-1, 1, (dim_hidden, 1))
        self.bias_out = np.zeros((1, 1))

    @staticmethod
    def logistic(v):
        return 1 / (1 + np.exp(-v))

    def predict_proba(self, X):
        self.hidden = np.tanh(X @ self.weights_hidden + self.bias_hidden)
        return self.logistic(self.hidden @ self.weights_out + self.bias_out)

    def train_step(self, X, y):
        n = len(X)
        prob = self.predict_proba(X)
        delta_out = (prob - y) / n
        delta_hidden = delta_out @ self.weights_out.T * (1 - self.hidden**2)
        self.weights_out -= self.learning_rate * self.hidden.T @ delta_out
        self.bias_out -= self.learning_rate * delta_out.sum(axis=0, keepdims=True)
        self.weights_hidden -= self.learning_rate * X.T @ delta_hidden
        self.bias_hidden -= self.learning_rate * delta_hidden.sum(axis=0, keepdims=True)
        return -np.mean(y * np.log(prob) + (1 - y) * np.log(1 - prob))
