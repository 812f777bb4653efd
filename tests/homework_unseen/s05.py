import numpy as np


class RegressionNet:
    """
    Regression with one hidden sigmoid layer, linear outputs.
    Every example is a COLUMN of X, every target a column of Y.
    W[i] has shape (n_out, n_in), biases are (n, 1).
    """

    def __init__(self, *, n_inputs, n_units, n_outputs, learning_rate=0.01):
        self.learning_rate = learning_rate
        self.W1 = np.random.normal(0, 1 / np.sqrt(n_inputs), size=(n_units, n_inputs))
        self.b1 = np.zeros((n_units, 1))
        self.W2 = np.random.normal(0, 1 / np.sqrt(n_units), size=(n_outputs, n_units))
        self.b2 = np.zeros((n_outputs, 1))

    @staticmethod
    def _sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def forward(self, X):
        self.X = X
        self.Z1 = self.W1 @ X + self.b1
        self.A1 = self._sigmoid(self.Z1)
        self.Yhat = self.W2 @ self.A1 + self.b2
        return self.Yhat

    def loss(self, Y):
        m = Y.shape[1]
        return np.sum((self.Yhat - Y) ** 2) / (2 * m)

    def backward(self, Y):
        m = Y.shape[1]
        dZ2 = (self.Yhat - Y) / m
        self.dW2 = dZ2 @ self.A1.T
        self.db2 = np.sum(dZ2, axis=1, keepdims=True)
        dA1 = self.W2.T @ dZ2
        dZ1 = dA1 * self.A1 * (1 - self.A1)
        self.dW1 = dZ1 @ self.X.T
        self.db1 = np.sum(dZ1, keepdims=True)

    def step(self):
        for name in ("W1", "b1", "W2", "b2"):
            new = getattr(self, name) - self.learning_rate * getattr(self, "d" + name)
            setattr(self, name, new)

    def fit(self, X, Y, n_epochs=1000):
        losses = []
        for _ in range(n_epochs):
            self.forward(X)
            losses.append(self.loss(Y))
            self.backward(Y)
            self.step()
        return losses


if __name__ == "__main__":
    table = np.genfromtxt("energy.csv", delimiter=";")
    X, Y = table[:, :8].T, table[:, 8:].T
    net = RegressionNet(n_inputs=8, n_units=20, n_outputs=2, learning_rate=0.05)
    L = net.fit(X, Y)
    print("first loss", L[0], "last loss", L[-1])
