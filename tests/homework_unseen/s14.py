import numpy as np


def logistic(a):
    return 1.0 / (1.0 + np.exp(-a))


def logistic_prime(a):
    """Derivative of the logistic function, a is the pre-activation."""
    s = logistic(a)
    return s * (1.0 - s)


class FeedForward:
    """Feed-forward network with logistic units everywhere.

    layers = list with the number of units per layer, e.g. [784, 30, 10]
    loss   = sum over outputs of (out - target)^2, averaged over the batch
    """

    def __init__(self, layers):
        self.L = len(layers) - 1
        self.w = [np.random.randn(n, m) / np.sqrt(n) for n, m in zip(layers[:-1], layers[1:])]
        self.c = [np.random.randn(1, m) * 0.1 for m in layers[1:]]

    def forward(self, X):
        acts, pres = [X], []
        for k in range(self.L):
            pres.append(np.matmul(acts[k], self.w[k]) + self.c[k])
            acts.append(logistic(pres[k]))
        return acts, pres

    def loss(self, X, T):
        out = self.forward(X)[0][-1]
        return np.mean(np.sum((out - T) ** 2, axis=1))

    def gradients(self, X, T):
        acts, pres = self.forward(X)
        gw = [None] * self.L
        gc = [None] * self.L
        e = 2.0 * (acts[-1] - T)
        for k in reversed(range(self.L)):
            d = e * logistic_prime(pres[k])
            gw[k] = np.matmul(acts[k].T, d) / len(X)
            gc[k] = np.mean(d, axis=0, keepdims=True)
            e = np.matmul(d, self.w[k].T)
        return gw, gc

    def fit(self, X, T, eta=3.0, epochs=30, batch_size=10):
        for epoch in range(epochs):
            p = np.random.permutation(len(X))
            for start in range(0, len(X), batch_size):
                sel = p[start:start + batch_size]
                gw, gc = self.gradients(X[sel], T[sel])
                for k in range(self.L):
                    self.w[k] -= eta * gw[k]
                    self.c[k] -= eta * gc[k]
            print('epoch', epoch, 'loss', self.loss(X, T))


def numerical_gradient(net, X, T, k, i, j, h=1e-5):
    # only for checking
    old = net.w[k][i, j]
    net.w[k][i, j] = old + h
    up = net.loss(X, T)
    net.w[k][i, j] = old - h
    down = net.loss(X, T)
    net.w[k][i, j] = old
    return (up - down) / (2 * h)


if __name__ == '__main__':
    import gzip, pickle
    with gzip.open('mnist.pkl.gz', 'rb') as f:
        (xtr, ytr), _, _ = pickle.load(f, encoding='latin1')
    net = FeedForward([784, 30, 10])
    net.fit(xtr, np.eye(10)[ytr])
