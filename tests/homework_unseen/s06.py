'''
Exercise 1 - logistic regression with gradient descent
'''
from typing import List, Tuple

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def add_intercept(X: np.ndarray) -> np.ndarray:
    """Put a column of ones before the features."""
    return np.hstack([np.ones((X.shape[0], 1)), X])


def cost_function(theta: np.ndarray, X: np.ndarray, y: np.ndarray, lam: float = 0.0) -> float:
    """Regularised negative log likelihood, averaged. theta[0] isn't regularised."""
    m = y.size
    h = sigmoid(X @ theta)
    J = -(y @ np.log(h) + (1 - y) @ np.log(1 - h)) / m
    return J + lam / (2 * m) * np.sum(theta[1:] ** 2)


def compute_gradient(theta: np.ndarray, X: np.ndarray, y: np.ndarray, lam: float = 0.0) -> np.ndarray:
    m = y.size
    h = sigmoid(X @ theta)
    grad = X.T @ (h - y) / m
    grad[1:] += lam / m * theta[1:]
    return grad


def gradient_descent(
    X: np.ndarray, y: np.ndarray, alpha: float = 0.1, iters: int = 1000, lam: float = 0.0
) -> Tuple[np.ndarray, List[float]]:
    theta = np.zeros(X.shape[1])
    costs: List[float] = []
    for _ in range(iters):
        theta = theta - alpha * compute_gradient(theta, X, y, lam)
        costs.append(cost_function(theta, X, y, lam))
    return theta, costs


def predict(theta: np.ndarray, X: np.ndarray) -> np.ndarray:
    return (sigmoid(X @ theta) >= 0.5).astype(int)


def main() -> None:
    import matplotlib.pyplot as plt

    raw = np.loadtxt("exam_scores.txt", delimiter=",")
    X = add_intercept((raw[:, :2] - raw[:, :2].mean(0)) / raw[:, :2].std(0))
    y = raw[:, 2]
    theta, costs = gradient_descent(X, y, lam=1.0)
    print("theta =", theta)
    print("train accuracy =", (predict(theta, X) == y).mean())
    plt.plot(costs)
    plt.xlabel("iteration")
    plt.savefig("costs.png")


if __name__ == "__main__":
    main()
