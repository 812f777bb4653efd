import numpy as np

# XOR with a third constant input so i dont need biases

def nonlin(x):
    return 1/(1+np.exp(-x))

np.random.seed(42)
syn0 = 2*np.random.random((3,4)) - 1
syn1 = 2*np.random.random((4,1)) - 1

def run(X):
    l1 = nonlin(X.dot(syn0))
    l2 = nonlin(l1.dot(syn1))
    return l2

def cost(X, y):
    # squared error summed over everything
    return 0.5*np.sum((run(X)-y)**2)

def train_step(X, y, alpha=1.0):
    global syn0, syn1
    # feed forward
    l0 = X
    l1 = nonlin(l0.dot(syn0))
    l2 = nonlin(l1.dot(syn1))

    # how much did we miss?
    l2_error = y - l2
    l2_delta = l2_error*(l2*(1-l2))
    syn1 = syn1 + alpha*l1.T.dot(l2_delta)

    # how much did each l1 value contribute to the error
    l1_error = l2_delta.dot(syn1.T)
    l1_delta = l1_error*(l1*(1-l1))
    syn0 = syn0 + alpha*l0.T.dot(l1_delta)
    return l2_error

if __name__ == '__main__':
    X = np.array([[0,0,1],
                  [0,1,1],
                  [1,0,1],
                  [1,1,1]])
    y = np.array([[0],[1],[1],[0]])
    for j in range(20000):
        err = train_step(X, y)
        if j % 5000 == 0:
            print("Error:", np.mean(np.abs(err)), cost(X,y))
    print("After training:")
    print(run(X))
