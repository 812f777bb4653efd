import numpy as np
import random

# Neural network, works with any number of layers. e.g. MLP([2, 3, 1])
# one example at a time (stochastic gradient descent)

def sigmoid(z):
    return 1/(1+np.exp(-z))

class MLP(object):

    def __init__(self, sizes):
        self.sizes = sizes
        self.n_layers = len(sizes)
        self.weights = []
        self.biases = []
        for i in range(1, len(sizes)):
            self.weights.append(np.random.randn(sizes[i], sizes[i-1]))
            self.biases.append(np.random.randn(sizes[i], 1))

    def predict(self, x):
        """ x is a column vector """
        out = x
        for w, b in zip(self.weights, self.biases):
            out = sigmoid(w.dot(out) + b)
        return out

    def error(self, x, t):
        # half squared error of one example
        d = self.predict(x) - t
        return 0.5*float(np.sum(d*d))

    def learn_one(self, x, t, lr):
        """ one step with a single example x, target t (both column vectors) """
        # go forward and remember everything
        outs = [x]
        for w, b in zip(self.weights, self.biases):
            outs.append(sigmoid(w.dot(outs[-1]) + b))

        # go backward
        # (t - o) so we ADD at the end
        delta = (t - outs[-1]) * outs[-1] * (1 - outs[-1])
        for l in range(self.n_layers-2, -1, -1):
            w_step = delta.dot(outs[l].T)
            b_step = delta
            # next delta needs the old weights, calculate it first!
            delta = self.weights[l].T.dot(delta) * outs[l] * (1 - outs[l])
            self.weights[l] = self.weights[l] + lr*w_step
            self.biases[l] = self.biases[l] + lr*b_step

    def train(self, examples, epochs, lr=0.5):
        for ep in range(epochs):
            random.shuffle(examples)
            for x, t in examples:
                self.learn_one(x, t, lr)
            if ep % 100 == 0:
                print(ep, sum(self.error(x, t) for x, t in examples))


if __name__ == '__main__':
    xor = [
        (np.array([[0.], [0.]]), np.array([[0.]])),
        (np.array([[0.], [1.]]), np.array([[1.]])),
        (np.array([[1.], [0.]]), np.array([[1.]])),
        (np.array([[1.], [1.]]), np.array([[0.]])),
    ]
    nn = MLP([2, 3, 1])
    nn.train(xor, 3000)
    for x, t in xor:
        print(x.ravel(), t.ravel(), nn.predict(x).ravel())
