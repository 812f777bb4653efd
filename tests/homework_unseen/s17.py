import numpy as np

class NeuralNetwork:
    def __init__(self, layer_dims, alpha = 0.05):
        self.alpha = alpha
        self.W1 = np.random.randn(layer_dims[1], layer_dims[0])*np.sqrt(2/layer_dims[0])
        self.b1 = np.zeros((layer_dims[1],1))
        self.W2 = np.random.randn(layer_dims[2], layer_dims[1])*np.sqrt(2/layer_dims[1])
        self.b2 = np.zeros((layer_dims[2],1))

    def softmax(self, Z):
        Z = Z - np.max(Z, axis=0, keepdims=True)
        return np.exp(Z)/np.sum(np.exp(Z), axis=0, keepdims=True)

    def feedforward(self, X):
        self.Z1 = np.dot(self.W1, X) + self.b1
        self.A1 = np.maximum(0, self.Z1)
        self.Z2 = np.dot(self.W2, self.A1) + self.b2
        self.A2 = self.softmax(self.Z2)
        return self.A2

    def get_loss(self, X, Y):
        # Y one hot, one column for each example
        m = X.shape[1]
        return -1/m*np.sum(Y*np.log(self.feedforward(X)))

    def backprop(self, X, Y):
        m = X.shape[1]
        self.feedforward(X)
        dZ2 = 1/m*(self.A2 - Y)
        dW2 = np.dot(dZ2, self.A1.T)
        db2 = np.sum(dZ2, axis=1, keepdims=True)
        dA1 = np.dot(self.W2.T, dZ2)
        dZ1 = dA1*(self.Z1 > 0)
        dW1 = np.dot(dZ1, X.T)
        db1 = dZ1
        return dW1, db1, dW2, db2

    def update_weights(self, dW1, db1, dW2, db2):
        self.W1 = self.W1 - self.alpha*dW1
        self.b1 = self.b1 - self.alpha*db1
        self.W2 = self.W2 - self.alpha*dW2
        self.b2 = self.b2 - self.alpha*db2

    def train(self, X, Y, iterations = 300):
        for i in range(iterations):
            dW1, db1, dW2, db2 = self.backprop(X, Y)
            self.update_weights(dW1, db1, dW2, db2)
            if i % 50 == 0:
                print("Iteration: ", i, " loss: ", self.get_loss(X, Y))


if __name__ == "__main__":
    data = np.array(np.genfromtxt("digit-recognizer/train.csv", delimiter=",", skip_header=1))
    np.random.shuffle(data)
    X = data[:,1:].T/255.
    labels = data[:,0].astype(int)
    Y = np.eye(10)[labels].T
    nn = NeuralNetwork([784, 10, 10])
    nn.train(X, Y)
