import numpy as np

SLOPE = 0.01   # leaky relu


def leaky(z):
    return np.where(z >= 0, z, SLOPE * z)


def d_leaky(z):
    g = np.ones_like(z)
    g[z < 0] = SLOPE
    return g


def make_network(n_in, n_h1, n_h2, seed=7):
    """three layers; returns the tuple ((w, b), (w, b), (w, b))"""
    r = np.random.RandomState(seed)

    def layer(fan_in, fan_out):
        return (r.randn(fan_out, fan_in) * np.sqrt(2.0 / fan_in), np.zeros((fan_out, 1)))

    return (layer(n_in, n_h1), layer(n_h1, n_h2), layer(n_h2, 1))


def forward_pass(network, X):
    # X: features x examples
    (wa, ba), (wb, bb), (wc, bc) = network
    za = wa @ X + ba
    ha = leaky(za)
    zb = wb @ ha + bb
    hb = leaky(zb)
    logit = wc @ hb + bc
    p = 1 / (1 + np.exp(-logit))
    cache = (X, za, ha, zb, hb, p)
    return p, cache


def bce(p, y):
    """y has shape (1, m)"""
    return float(np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p)))


def backward_pass(network, cache, y):
    (wa, ba), (wb, bb), (wc, bc) = network
    X, za, ha, zb, hb, p = cache
    m = X.shape[1]

    # derivative of bce w.r.t. p, then through the sigmoid (the long way)
    dp = (-(y / p) + (1 - y) / (1 - p)) / m
    dc = dp * p * (1 - p)
    db = (wc.T @ dc) * d_leaky(zb)
    da = (wb.T @ db) * d_leaky(za)

    col = np.ones((m, 1))
    return ((da @ X.T, da @ col),
            (db @ ha.T, db @ col),
            (dc @ hb.T, dc @ col))


def apply(network, gradients, lr):
    return tuple((w - lr * gw, b - lr * gb) for (w, b), (gw, gb) in zip(network, gradients))


def train(network, X, y, lr=0.1, steps=200):
    for k in range(steps):
        p, cache = forward_pass(network, X)
        network = apply(network, backward_pass(network, cache, y), lr)
        if k % 50 == 0:
            print(k, bce(p, y))
    return network


if __name__ == '__main__':
    blob = np.load('cats_vs_noncats.npy', allow_pickle=True).item()
    X = blob['x'].reshape(len(blob['x']), -1).T / 255
    y = blob['y'][None, :]
    net = make_network(X.shape[0], 20, 7)
    net = train(net, X, y)
