# Práctica 2 - Red neuronal con una capa oculta
# Cada fila de X es un ejemplo. Las etiquetas son enteros.
import numpy as np


def inicializar(n_entrada, n_oculta, n_salida):
    """Pesos aleatorios pequeños, sesgos a cero."""
    pesos = {
        'entrada_oculta': np.random.randn(n_entrada, n_oculta) * 0.1,
        'sesgo_oculta': np.zeros(n_oculta),
        'oculta_salida': np.random.randn(n_oculta, n_salida) * 0.1,
        'sesgo_salida': np.zeros(n_salida),
    }
    return pesos


def propagar(pesos, X):
    # capa oculta (ReLU)
    z = X.dot(pesos['entrada_oculta']) + pesos['sesgo_oculta']
    h = np.maximum(0, z)
    # capa de salida (softmax)
    o = h.dot(pesos['oculta_salida']) + pesos['sesgo_salida']
    o = np.exp(o - o.max(axis=1)[:, None])
    p = o / o.sum(axis=1)[:, None]
    return z, h, p


def perdida(pesos, X, y):
    # entropía cruzada, SUMA sobre los ejemplos (sin dividir por n)
    _, _, p = propagar(pesos, X)
    return -np.log(p[np.arange(len(y)), y]).sum()


def retropropagar(pesos, X, y):
    z, h, p = propagar(pesos, X)
    # error en la salida: p - y
    delta = p.copy()
    delta[np.arange(len(y)), y] -= 1
    g = {}
    g['oculta_salida'] = np.dot(h.T, delta)
    g['sesgo_salida'] = delta.sum(axis=0)
    # error en la oculta, solo pasa donde la ReLU está activa
    delta = np.dot(delta, pesos['oculta_salida'].T) * (z > 0).astype(float)
    g['entrada_oculta'] = np.dot(X.T, delta)
    g['sesgo_oculta'] = delta.sum(axis=0)
    return g


def entrenar(pesos, X, y, tasa=0.001, epocas=200):
    for i in range(epocas):
        g = retropropagar(pesos, X, y)
        for clave in pesos:
            pesos[clave] = pesos[clave] - tasa * g[clave]
        if i % 20 == 0:
            print('época', i, 'pérdida', perdida(pesos, X, y))
    return pesos


def predecir(pesos, X):
    return propagar(pesos, X)[2].argmax(axis=1)


if __name__ == '__main__':
    datos = np.genfromtxt('flores.csv', delimiter=',')
    X, y = datos[:, :-1], datos[:, -1].astype(int)
    pesos = entrenar(inicializar(X.shape[1], 12, y.max() + 1), X, y)
    print('aciertos:', (predecir(pesos, X) == y).mean())
