"""hw3 -- net with weight decay"""
import numpy as np


def init(D, H, C, rng=np.random.RandomState(0)):
    return [rng.randn(D, H) / np.sqrt(D),
            np.zeros((1, H)),
            rng.randn(H, C) / np.sqrt(H),
            np.zeros((1, C))]


def softmax(s):
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def forward(weights, X):
    W1, b1, W2, b2 = weights
    h = np.tanh(X.dot(W1) + b1)
    probs = softmax(h.dot(W2) + b2)
    return probs, h


def objective(weights, X, T, decay):
    """T: one-hot (N, C).  cross-entropy + decay/2 * ||W||^2  (not the biases)"""
    W1, _, W2, _ = weights
    probs, _ = forward(weights, X)
    ce = -np.sum(T * np.log(probs)) / len(X)
    return ce + 0.5 * decay * (np.sum(W1 * W1) + np.sum(W2 * W2))


def grads(weights, X, T, decay):
    W1, b1, W2, b2 = weights
    probs, h = forward(weights, X)
    d2 = (probs - T) / len(X)
    d1 = d2.dot(W2.T) * (1 - h * h)
    gW2 = h.T.dot(d2) + decay * W2
    gb2 = d2.sum(0, keepdims=True)
    gW1 = X.T.dot(d1) + 0.5 * decay * W1
    gb1 = d1.sum(0, keepdims=True)
    return [gW1, gb1, gW2, gb2]


def sgd(weights, X, T, decay=1e-3, lr=0.5, epochs=30, bs=16):
    n = len(X)
    for ep in range(epochs):
        perm = np.random.permutation(n)
        for s in range(0, n, bs):
            idx = perm[s:s + bs]
            for w, g in zip(weights, grads(weights, X[idx], T[idx], decay)):
                w -= lr * g
        print("epoch %d  objective %.5f" % (ep, objective(weights, X, T, decay)))
    return weights


def onehot(y, C):
    return np.eye(C)[y]


if __name__ == "__main__":
    d = np.load("iris.npz")
    w = init(4, 10, 3)
    sgd(w, d["X"], onehot(d["y"], 3))
    p, _ = forward(w, d["X"])
    print("acc", np.mean(p.argmax(1) == d["y"]))
