import numpy as np


class Net():
    def __init__(self, n_i, n_h, n_o):
        self.Wxh = np.random.uniform(-0.5, 0.5, (n_i, n_h))
        self.bh = np.random.uniform(-0.1, 0.1, n_h)
        self.Why = np.random.uniform(-0.5, 0.5, (n_h, n_o))
        self.by = np.random.uniform(-0.1, 0.1, n_o)
        # gradients
        self.dWxh = None
        self.dbh = None
        self.dWhy = None
        self.dby = None

    def forward(self, x):
        self.x = x
        self.s = x @ self.Wxh + self.bh
        self.h = self.s * (self.s > 0)     # relu
        self.out = self.h @ self.Why + self.by
        return self.out

    def mse(self, target):
        # mean over all numbers in the batch (examples AND outputs)
        return ((self.out - target) ** 2).mean()

    def backward(self, target):
        # d/dout of mean((out-t)^2) = 2 (out-t) / number of elements
        g = 2 * (self.out - target) / target.size
        self.dWhy = self.h.T @ g
        self.dby = g.sum(0)
        g = g @ self.Why.T
        g = g * (self.h > 0)
        self.dWxh = self.x.T @ g
        self.dbh = g.sum(0)

    def sgd(self, lr):
        self.Wxh -= lr * self.dWxh
        self.bh -= lr * self.dbh
        self.Why -= lr * self.dWhy
        self.by -= lr * self.dby


if __name__ == '__main__':
    import matplotlib.pyplot as plt
    x = np.linspace(-3, 3, 200).reshape(-1, 1)
    t = np.sin(x)
    net = Net(1, 40, 1)
    for it in range(5001):
        net.forward(x)
        if it % 1000 == 0:
            print(it, net.mse(t))
        net.backward(t)
        net.sgd(0.05)
    plt.plot(x, t, 'k', x, net.forward(x), 'r')
    plt.show()
