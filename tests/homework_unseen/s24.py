import numpy as np


def init_params(dims):
    """dims = (n_x, n_1, n_2, n_y). He initialisation."""
    params = {}
    for l in range(1, 4):
        params[f"W{l}"] = np.random.randn(dims[l], dims[l - 1]) * np.sqrt(2.0 / dims[l - 1])
        params[f"b{l}"] = np.zeros((dims[l], 1))
    return params


def relu(Z):
    return np.maximum(0.0, Z)


def forward(params, X):
    """linear -> relu -> linear -> relu -> linear. Columns of X are the examples."""
    Z1 = params["W1"] @ X + params["b1"]
    A1 = relu(Z1)
    Z2 = params["W2"] @ A1 + params["b2"]
    A2 = relu(Z2)
    Y_hat = params["W3"] @ A2 + params["b3"]
    return Y_hat, (Z1, A1, Z2, A2)


def loss_fn(Y_hat, Y):
    """Sum of squares over the outputs, mean over the examples."""
    return np.sum((Y_hat - Y) ** 2) / Y.shape[1]


def compute_gradients(params, cache, X, Y, Y_hat):
    Z1, A1, Z2, A2 = cache
    m = X.shape[1]
    grads = {}

    dZ3 = 2.0 * (Y_hat - Y) / m
    grads["W3"] = dZ3 @ A2.T
    grads["b3"] = dZ3.sum(axis=1, keepdims=True)

    dZ2 = (params["W3"].T @ dZ3) * (Z2 > 0)
    grads["W2"] = dZ2 @ Z1.T
    grads["b2"] = dZ2.sum(axis=1, keepdims=True)

    dZ1 = (params["W2"].T @ dZ2) * (Z1 > 0)
    grads["W1"] = dZ1 @ X.T
    grads["b1"] = dZ1.sum(axis=1, keepdims=True)
    return grads


def update(params, grads, lr):
    return {k: params[k] - lr * grads[k] for k in params}


def train(X, Y, hidden=(32, 16), lr=1e-2, epochs=500, batch_size=None):
    params = init_params((X.shape[0], *hidden, Y.shape[0]))
    m = X.shape[1]
    batch_size = batch_size or m
    for epoch in range(epochs):
        order = np.random.permutation(m)
        for s in range(0, m, batch_size):
            cols = order[s:s + batch_size]
            Y_hat, cache = forward(params, X[:, cols])
            grads = compute_gradients(params, cache, X[:, cols], Y[:, cols], Y_hat)
            params = update(params, grads, lr)
        if epoch % 100 == 0:
            print(epoch, loss_fn(forward(params, X)[0], Y))
    return params


if __name__ == "__main__":
    bikes = np.genfromtxt("bike_sharing.csv", delimiter=",", names=True)
    cols = [c for c in bikes.dtype.names if c != "count"]
    X = np.vstack([bikes[c] for c in cols])
    Y = bikes["count"][None, :]
    train(X, Y / Y.max(), batch_size=128)
