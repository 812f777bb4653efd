"""Functions with every weight as an argument: columns, ReLU, softmax, integer labels."""

import numpy as np


def init_params():
    W1 = np.random.rand(4, 3) - 0.5
    b1 = np.random.rand(4, 1) - 0.5
    W2 = np.random.rand(2, 4) - 0.5
    b2 = np.random.rand(2, 1) - 0.5
    return W1, b1, W2, b2


def relu(Z):
    return np.maximum(Z, 0)


def softmax(Z):
    e = np.exp(Z - Z.max(axis=0))
    return e / e.sum(axis=0)


def forward_prop(W1, b1, W2, b2, X):
    Z1 = W1.dot(X) + b1
    A1 = relu(Z1)
    Z2 = W2.dot(A1) + b2
    A2 = softmax(Z2)
    return Z1, A1, Z2, A2


def one_hot(Y, classes):
    rows = np.zeros((Y.size, classes))
    rows[np.arange(Y.size), Y] = 1
    return rows.T


def backward_prop(Z1, A1, Z2, A2, W1, W2, X, Y):
    m = Y.size
    dZ2 = A2 - one_hot(Y, A2.shape[0])
    dW2 = 1 / m * dZ2.dot(A1.T)
    db2 = 1 / m * dZ2.sum(axis=1, keepdims=True)
    dZ1 = W2.T.dot(dZ2) * (Z1 > 0)
    dW1 = 1 / m * dZ1.dot(X.T)
    db1 = 1 / m * dZ1.sum(axis=1, keepdims=True)
    return dW1, db1, dW2, db2


def update_params(W1, b1, W2, b2, dW1, db1, dW2, db2, alpha):
    return W1 - alpha * dW1, b1 - alpha * db1, W2 - alpha * dW2, b2 - alpha * db2
