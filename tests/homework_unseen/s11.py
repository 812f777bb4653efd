import numpy as np


class SoftmaxRegression:
    """Multinomial logistic regression trained with (mini-batch) gradient descent."""

    def __init__(self, n_features, n_classes, l2=0.0):
        self.W = np.random.randn(n_features, n_classes) * 0.01
        self.b = np.zeros((1, n_classes))
        self.l2 = l2

    def probabilities(self, X):
        logits = X.dot(self.W) + self.b
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        return exp / exp.sum(axis=1, keepdims=True)

    def loss(self, X, y):
        N = X.shape[0]
        P = self.probabilities(X)
        nll = -np.log(P[range(N), y])
        return np.mean(nll) + 0.5 * self.l2 * np.sum(self.W ** 2)

    def gradient(self, X, y):
        N = X.shape[0]
        G = self.probabilities(X)
        G[range(N), y] -= 1.0
        dW = X.T.dot(G) + self.l2 * self.W
        db = G.sum(axis=0, keepdims=True) / N
        return dW, db

    def fit(self, X, y, lr=0.1, epochs=20, batch=50):
        N = X.shape[0]
        for epoch in range(epochs):
            order = np.random.permutation(N)
            for i in range(0, N, batch):
                chunk = order[i:i + batch]
                dW, db = self.gradient(X[chunk], y[chunk])
                self.W -= lr * dW
                self.b -= lr * db
            print("epoch", epoch + 1, "loss", round(self.loss(X, y), 4))
        return self

    def predict(self, X):
        return np.argmax(self.probabilities(X), axis=1)


def accuracy(a, b):
    return float(np.mean(a == b))


def confusion(a, b, k):
    M = np.zeros((k, k), dtype=int)
    for i, j in zip(a, b):
        M[i, j] += 1
    return M


if __name__ == "__main__":
    X = np.loadtxt("digits_x.txt")
    y = np.loadtxt("digits_y.txt").astype(int)
    model = SoftmaxRegression(X.shape[1], 10, l2=1e-3).fit(X, y)
    print(accuracy(model.predict(X), y))
    print(confusion(y, model.predict(X), 10))
