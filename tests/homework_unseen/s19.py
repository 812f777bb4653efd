"""Lab 3: three-layer network for classification, leaky ReLU activations."""
import numpy as np


class LeakyNet:
    def __init__(self, sizes, negative_slope=0.1, seed=123):
        self.negative_slope = negative_slope
        rng = np.random.RandomState(seed)
        self.weights = [rng.randn(a, b) * np.sqrt(2 / a) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros(b) for b in sizes[1:]]

    def activation(self, z):
        return np.where(z > 0, z, self.negative_slope * z)

    def activation_grad(self, z):
        return np.where(z > 0, 1.0, 0.0)

    def forward(self, X):
        """Returns softmax probabilities; keeps what the backward pass needs."""
        self.zs = []
        self.activations = [X]
        last = len(self.weights) - 1
        for i, (W, b) in enumerate(zip(self.weights, self.biases)):
            z = self.activations[-1] @ W + b
            self.zs.append(z)
            if i < last:
                self.activations.append(self.activation(z))
        shifted = np.exp(z - z.max(axis=1, keepdims=True))
        self.probs = shifted / shifted.sum(axis=1, keepdims=True)
        return self.probs

    def cross_entropy(self, y):
        return -np.mean(np.log(self.probs[np.arange(y.shape[0]), y]))

    def backward(self, y):
        """y: integer class labels. Fills self.grad_w and self.grad_b."""
        n = y.shape[0]
        self.grad_w = [None for _ in self.weights]
        self.grad_b = [None for _ in self.biases]

        delta = self.probs.copy()
        delta[np.arange(n), y] -= 1
        delta /= n

        for i in range(len(self.weights) - 1, -1, -1):
            self.grad_w[i] = self.activations[i].T @ delta
            self.grad_b[i] = delta.sum(axis=0)
            if i > 0:
                delta = (delta @ self.weights[i].T) * self.activation_grad(self.zs[i - 1])

    def step(self, lr):
        for i in range(len(self.weights)):
            self.weights[i] -= lr * self.grad_w[i]
            self.biases[i] -= lr * self.grad_b[i]


def batches(X, y, size):
    order = np.random.permutation(len(X))
    for k in range(0, len(X), size):
        yield X[order[k:k + size]], y[order[k:k + size]]


def fit(net, X, y, epochs=10, size=64, lr=0.05):
    for epoch in range(epochs):
        losses = []
        for xb, yb in batches(X, y, size):
            net.forward(xb)
            losses.append(net.cross_entropy(yb))
            net.backward(yb)
            net.step(lr)
        print(f"[{epoch}] mean loss {np.mean(losses):.4f}")


if __name__ == "__main__":
    X, y = np.load("fashion_x.npy"), np.load("fashion_y.npy")
    fit(LeakyNet([784, 128, 64, 10]), X.reshape(len(X), -1) / 255.0, y)
