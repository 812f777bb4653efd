"""Homework 2: a fully connected network with one hidden layer.

Architecture: affine - ReLU - affine - softmax, with L2 regularisation on the weights.
"""
import numpy as np


class ShallowClassifier:
    """Two-layer classifier.

    Inputs are rows of X; labels are integers 0 <= y[i] < n_classes.
    """

    def __init__(self, input_dim, hidden_dim=64, n_classes=10, weight_scale=1e-2, reg=0.0, seed=None):
        rng = np.random.default_rng(seed)
        self.reg = reg
        self.params = {
            "W1": weight_scale * rng.standard_normal((input_dim, hidden_dim)),
            "b1": np.zeros(hidden_dim),
            "W2": weight_scale * rng.standard_normal((hidden_dim, n_classes)),
            "b2": np.zeros(n_classes),
        }

    def scores(self, X):
        p = self.params
        pre = X @ p["W1"] + p["b1"]
        act = np.where(pre > 0, pre, 0.0)
        return act @ p["W2"] + p["b2"], (pre, act)

    def loss(self, X, y=None):
        """Return the scores if y is None, otherwise (loss, grads)."""
        p = self.params
        S, (pre, act) = self.scores(X)
        if y is None:
            return S

        N = X.shape[0]
        S = S - S.max(axis=1, keepdims=True)
        log_probs = S - np.log(np.exp(S).sum(axis=1, keepdims=True))
        data_loss = -log_probs[np.arange(N), y].mean()
        reg_loss = self.reg * (np.sum(p["W1"] ** 2) + np.sum(p["W2"] ** 2))
        total = data_loss + reg_loss

        grads = {}
        dS = np.exp(log_probs)
        dS[np.arange(N), y] -= 1
        dS /= N
        grads["W2"] = act.T @ dS + 2 * self.reg * p["W2"]
        grads["b2"] = dS.sum(axis=0)
        dpre = dS @ p["W2"].T
        dpre[pre <= 0] = 0
        grads["W1"] = X.T @ dpre + 2 * self.reg * p["W1"]
        grads["b1"] = dpre.sum(axis=0)
        return total, grads

    def fit(self, X, y, lr=1e-1, batch_size=32, n_iters=500, verbose=False):
        history = []
        for it in range(n_iters):
            idx = np.random.choice(len(X), batch_size)
            loss, grads = self.loss(X[idx], y[idx])
            for name in self.params:
                self.params[name] -= lr * grads[name]
            history.append(loss)
            if verbose and it % 100 == 0:
                print(f"iteration {it}: loss {loss:.4f}")
        return history

    def predict(self, X):
        return self.loss(X).argmax(axis=1)


if __name__ == "__main__":
    import matplotlib.pyplot as plt

    X = np.load("train_images.npy").reshape(-1, 784) / 255.0
    y = np.load("train_labels.npy")
    net = ShallowClassifier(784, 100, 10, reg=1e-4)
    hist = net.fit(X, y, verbose=True)
    plt.plot(hist)
    plt.show()
