import numpy as np

def layer_sizes(X, Y, n_h=4):
    return X.shape[0], n_h, Y.shape[0]

def initialize(n_x, n_h, n_y):
    np.random.seed(2)
    params = {}
    params['W1'] = np.random.randn(n_h, n_x) * 0.5
    params['b1'] = np.zeros((n_h, 1))
    params['W2'] = np.random.randn(n_y, n_h) * 0.5
    params['b2'] = np.zeros((n_y, 1))
    return params

def sigmoid(z):
    s = 1 / (1 + np.exp(-z))
    return s

def forward_prop(X, params):
    Z1 = params['W1'] @ X + params['b1']
    A1 = np.tanh(Z1)
    Z2 = params['W2'] @ A1 + params['b2']
    A2 = sigmoid(Z2)
    cache = {'Z1': Z1, 'A1': A1, 'Z2': Z2, 'A2': A2}
    return A2, cache

def compute_cost(A2, Y):
    m = Y.shape[1]
    logprobs = Y * np.log(A2) + (1 - Y) * np.log(1 - A2)
    cost = -np.sum(logprobs) / m
    return np.squeeze(cost)

def backward_prop(params, cache, X, Y):
    m = X.shape[1]
    A1 = cache['A1']
    A2 = cache['A2']

    dZ2 = A2 - Y
    dW2 = (1 / m) * dZ2 @ A1.T
    db2 = (1 / m) * np.sum(dZ2, axis=1, keepdims=True)
    dZ1 = (params['W2'].T @ dZ2) * A1 * (1 - A1)
    dW1 = (1 / m) * dZ1 @ X.T
    db1 = (1 / m) * np.sum(dZ1, axis=1, keepdims=True)

    grads = {'dW1': dW1, 'db1': db1, 'dW2': dW2, 'db2': db2}
    return grads

def update(params, grads, learning_rate=1.2):
    for k in ['W1', 'b1', 'W2', 'b2']:
        params[k] = params[k] - learning_rate * grads['d' + k]
    return params

def nn_model(X, Y, n_h, num_iterations=10000, print_cost=False):
    n_x, n_h, n_y = layer_sizes(X, Y, n_h)
    params = initialize(n_x, n_h, n_y)
    for i in range(num_iterations):
        A2, cache = forward_prop(X, params)
        cost = compute_cost(A2, Y)
        grads = backward_prop(params, cache, X, Y)
        params = update(params, grads)
        if print_cost and i % 1000 == 0:
            print("Cost after iteration {}: {}".format(i, cost))
    return params

if __name__ == '__main__':
    from planar_data import load_planar   # course file
    X, Y = load_planar()
    p = nn_model(X, Y, 4, print_cost=True)
