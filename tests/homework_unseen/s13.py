"""
Deep Learning I, exercise sheet 4, task 2
Three-layer perceptron: input -> hidden -> hidden -> output
"""
import numpy as np


class ThreeLayerPerceptron:
    def __init__(self, n_in: int, width: int, n_out: int, seed: int = 0):
        # both hidden layers have the same width
        rng = np.random.default_rng(seed)
        self.W1 = rng.normal(0.0, 1.0 / np.sqrt(n_in), (n_in, width))
        self.W2 = rng.normal(0.0, 1.0 / np.sqrt(width), (width, width))
        self.W3 = rng.normal(0.0, 1.0 / np.sqrt(width), (width, n_out))
        self.b1 = np.zeros((1, width))
        self.b2 = np.zeros((1, width))
        self.b3 = np.zeros((1, n_out))

    def forward(self, X: np.ndarray) -> np.ndarray:
        self.A0 = X
        self.A1 = np.tanh(self.A0 @ self.W1 + self.b1)
        self.A2 = np.tanh(self.A1 @ self.W2 + self.b2)
        Z3 = self.A2 @ self.W3 + self.b3
        E = np.exp(Z3 - Z3.max(axis=1, keepdims=True))
        self.P = E / E.sum(axis=1, keepdims=True)
        return self.P

    def loss(self, Y: np.ndarray) -> float:
        """Y one-hot, shape (N, n_out)"""
        return float(-np.sum(Y * np.log(self.P)) / Y.shape[0])

    def backward(self, Y: np.ndarray) -> dict:
        N = Y.shape[0]
        D3 = (self.P - Y) / N
        D2 = (D3 @ self.W3.T) * (1 - self.A2 ** 2)
        D1 = (D2 @ self.W2) * (1 - self.A1 ** 2)
        return {
            "W3": self.A2.T @ D3, "b3": D3.sum(axis=0, keepdims=True),
            "W2": self.A1.T @ D2, "b2": D2.sum(axis=0, keepdims=True),
            "W1": self.A0.T @ D1, "b1": D1.sum(axis=0, keepdims=True),
        }

    def train(self, X, Y, lr=0.1, epochs=100):
        for epoch in range(epochs):
            self.forward(X)
            for name, grad in self.backward(Y).items():
                setattr(self, name, getattr(self, name) - lr * grad)
            if epoch % 10 == 0:
                print(f"{epoch:4d}  {self.loss(Y):.6f}")


if __name__ == "__main__":
    with np.load("wine.npz") as f:
        X, y = f["data"], f["target"]
    X = (X - X.mean(0)) / X.std(0)
    net = ThreeLayerPerceptron(X.shape[1], 16, 3)
    net.train(X, np.eye(3)[y])
