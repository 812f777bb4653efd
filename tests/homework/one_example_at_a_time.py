"""A class that is trained on one list of numbers at a time."""

import numpy as np


class Perceptron:
    def __init__(self, input_nodes, hidden_nodes, output_nodes, learning_rate):
        self.wih = np.random.normal(0.0, input_nodes**-0.5, (hidden_nodes, input_nodes))
        self.who = np.random.normal(0.0, hidden_nodes**-0.5, (output_nodes, hidden_nodes))
        self.lr = learning_rate

    def squash(self, v):
        return 1 / (1 + np.exp(-v))

    def train(self, inputs_list, targets_list):
        inputs = np.array(inputs_list, ndmin=2).T
        targets = np.array(targets_list, ndmin=2).T
        hidden = self.squash(np.dot(self.wih, inputs))
        final = self.squash(np.dot(self.who, hidden))
        errors = targets - final
        out_delta = errors * final * (1.0 - final)
        hidden_delta = np.dot(self.who.T, out_delta) * hidden * (1.0 - hidden)
        self.who += self.lr * np.dot(out_delta, hidden.T)
        self.wih += self.lr * np.dot(hidden_delta, inputs.T)

    def query(self, inputs_list):
        inputs = np.array(inputs_list, ndmin=2).T
        hidden = self.squash(np.dot(self.wih, inputs))
        return self.squash(np.dot(self.who, hidden))
