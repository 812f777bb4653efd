# ML course - assignment 3
# binary classifier, 1 hidden layer with relu
import numpy as np

np.random.seed(1)

N_FEATURES = 5
N_HIDDEN = 8

# the weights (global so that all functions can use them)
w_hidden = np.random.randn(N_FEATURES, N_HIDDEN) * 0.5
b_hidden = np.zeros(N_HIDDEN) + 0.1
w_out = np.random.randn(N_HIDDEN, 1) * 0.5
b_out = np.zeros(1)


def relu(x):
    return np.maximum(x, 0)


def sigm(x):
    return 1.0 / (1.0 + np.exp(-x))


def forward(X):
    """X has one example per row. Gives back hidden activations and prediction"""
    hidden = relu(np.dot(X, w_hidden) + b_hidden)
    prediction = sigm(np.dot(hidden, w_out) + b_out)
    return hidden, prediction


def cross_entropy(prediction, y):
    # y is a column (n, 1) with 0/1
    eps = 1e-12
    return -np.mean(y * np.log(prediction + eps) + (1 - y) * np.log(1 - prediction + eps))


def backprop(X, y):
    n = X.shape[0]
    hidden, prediction = forward(X)

    # sigmoid and cross entropy together simplify to this
    d_out = (prediction - y) / n
    grad_w_out = np.dot(hidden.T, d_out)
    grad_b_out = d_out.sum(axis=0)

    d_hidden = np.dot(d_out, w_out.T)
    grad_w_hidden = np.dot(X.T, d_hidden)
    grad_b_hidden = d_hidden.sum(axis=0)

    return grad_w_hidden, grad_b_hidden, grad_w_out, grad_b_out


def train(X, y, epochs=500, eta=0.1):
    global w_hidden, b_hidden, w_out, b_out
    for e in range(epochs):
        gwh, gbh, gwo, gbo = backprop(X, y)
        w_hidden = w_hidden - eta * gwh
        b_hidden = b_hidden - eta * gbh
        w_out = w_out - eta * gwo
        b_out = b_out - eta * gbo
        if e % 100 == 0:
            _, p = forward(X)
            print("epoch", e, "loss", cross_entropy(p, y))


if __name__ == "__main__":
    data = np.loadtxt("heart_small.csv", delimiter=",", skiprows=1)
    X = data[:, :N_FEATURES]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = data[:, -1:]
    train(X, y)
    _, p = forward(X)
    print("accuracy:", np.mean((p > 0.5) == y))
