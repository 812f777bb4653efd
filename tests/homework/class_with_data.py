"""A class that keeps its data: sigmoid twice, squared error, and weights that are moved at once."""

import numpy as np


def sigma(v):
    return 1.0 / (1.0 + np.exp(-v))


class SmallNet:
    def __init__(self, X, y):
        self.X = X
        self.y = y
        self.w_in = np.random.rand(X.shape[1], 4)
        self.w_out = np.random.rand(4, y.shape[1])

    def feed_forward(self):
        self.mid = sigma(self.X @ self.w_in)
        self.guess = sigma(self.mid @ self.w_out)
        return self.guess

    def back_propagate(self, rate=0.5):
        miss = self.guess - self.y
        push_out = miss * self.guess * (1 - self.guess)
        push_in = (push_out @ self.w_out.T) * self.mid * (1 - self.mid)
        self.w_out = self.w_out - rate * (self.mid.T @ push_out)
        self.w_in = self.w_in - rate * (self.X.T @ push_in)


if __name__ == "__main__":
    data = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], float)
    answers = np.array([[0], [1], [1], [0]], float)
    net = SmallNet(data, answers)
    for step in range(5000):
        net.feed_forward()
        net.back_propagate()
    print(net.guess)
