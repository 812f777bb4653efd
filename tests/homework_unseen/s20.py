import numpy as np

# Bias trick: a 1 is appended to the input and to the hidden layer,
# so Theta1 is (hidden, in + 1) and Theta2 is (out, hidden + 1).
# Bias is column 0.


def g(z):
    return 1. / (1. + np.exp(-z))


def with_ones(A):
    return np.c_[np.ones(A.shape[0]), A]


def rand_init(L_in, L_out, eps=0.5):
    return np.random.rand(L_out, L_in + 1) * 2 * eps - eps


def nn_cost(Theta1, Theta2, X, Y, lam):
    """Sigmoid outputs (one-vs-all), Y is one-hot (m, K).

    Returns the cost J and the two gradients.
    """
    m = X.shape[0]

    # ---- forward
    a1 = with_ones(X)
    z2 = a1.dot(Theta1.T)
    a2 = with_ones(g(z2))
    a3 = g(a2.dot(Theta2.T))

    J = (-Y * np.log(a3) - (1 - Y) * np.log(1 - a3)).sum() / m
    J += lam / (2. * m) * ((Theta1[:, 1:] ** 2).sum() + (Theta2[:, 1:] ** 2).sum())

    # ---- backward
    d3 = a3 - Y
    d2 = d3.dot(Theta2[:, 1:]) * g(z2) * (1 - g(z2))

    Theta1_grad = d2.T.dot(a1) / m
    Theta2_grad = d3.T.dot(a2) / m

    # regularise, but not the bias column
    Theta1_grad[:, 1:] += lam / m * Theta1[:, 1:]
    Theta2_grad[:, 1:] += lam / m * Theta2[:, 1:]

    return J, Theta1_grad, Theta2_grad


def train(X, Y, hidden=25, lam=1., alpha=0.8, iters=400):
    T1 = rand_init(X.shape[1], hidden)
    T2 = rand_init(hidden, Y.shape[1])
    for i in range(iters):
        J, G1, G2 = nn_cost(T1, T2, X, Y, lam)
        T1 -= alpha * G1
        T2 -= alpha * G2
        if i % 50 == 0:
            print('iter', i, 'J =', J)
    return T1, T2


def predict(T1, T2, X):
    return g(with_ones(g(with_ones(X).dot(T1.T))).dot(T2.T)).argmax(axis=1)


if __name__ == '__main__':
    from scipy.io import loadmat
    d = loadmat('digits5000.mat')
    y = d['y'].ravel() % 10
    T1, T2 = train(d['X'], np.eye(10)[y])
    print('accuracy', (predict(T1, T2, d['X']) == y).mean())
