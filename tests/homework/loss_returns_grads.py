"""A class whose loss returns the gradients too: ReLU, softmax over classes, an L2 term."""

import numpy as np


class Classifier:
    def __init__(self, input_size, hidden_size, output_size, std=1e-2):
        self.params = {}
        self.params["W1"] = std * np.random.randn(input_size, hidden_size)
        self.params["b1"] = np.zeros(hidden_size)
        self.params["W2"] = std * np.random.randn(hidden_size, output_size)
        self.params["b2"] = np.zeros(output_size)

    def loss(self, X, y=None, reg=0.0):
        W1, b1 = self.params["W1"], self.params["b1"]
        W2, b2 = self.params["W2"], self.params["b2"]
        count = X.shape[0]
        hidden = np.maximum(0, X.dot(W1) + b1)
        scores = hidden.dot(W2) + b2
        if y is None:
            return scores
        shifted = scores - scores.max(axis=1, keepdims=True)
        exped = np.exp(shifted)
        probs = exped / exped.sum(axis=1, keepdims=True)
        value = -np.log(probs[np.arange(count), y]).sum() / count
        value += 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))
        dscores = probs.copy()
        dscores[np.arange(count), y] -= 1
        dscores /= count
        grads = {}
        grads["W2"] = hidden.T.dot(dscores) + reg * W2
        grads["b2"] = dscores.sum(axis=0)
        dhidden = dscores.dot(W2.T)
        dhidden[hidden <= 0] = 0
        grads["W1"] = X.T.dot(dhidden) + reg * W1
        grads["b1"] = dhidden.sum(axis=0)
        return value, grads
