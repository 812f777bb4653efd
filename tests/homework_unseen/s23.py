# TP3 - reseau de neurones, regression
# un seul exemple a la fois puis mise a jour (SGD pur)
import numpy as np

rng = np.random.RandomState(3)


def creer_reseau(n_entrees, n_caches, n_sorties):
    # dictionnaire: w1 (caches x entrees), w2 (sorties x caches), sans biais
    return dict(w1=rng.normal(0, .5, (n_caches, n_entrees)),
                w2=rng.normal(0, .5, (n_sorties, n_caches)))


def calcule(reseau, x):
    cache = np.tanh(reseau["w1"] @ x)
    sortie = 1 / (1 + np.exp(-(reseau["w2"] @ cache)))
    return cache, sortie


def cout(reseau, x, y):
    # erreur quadratique (avec 1/2)
    _, s = calcule(reseau, x)
    return ((y - s) ** 2).sum() / 2


def mise_a_jour(reseau, x, y, pas=0.1):
    """Un pas de descente avec un exemple (x et y sont des vecteurs 1-D)."""
    h, s = calcule(reseau, x)
    # sortie: sigmoide, s' = s(1-s)
    d2 = -(y - s) * s * (1 - s)
    # couche cachee: tanh' = 1 - h^2
    # attention, on prend w2 AVANT la mise a jour
    d1 = (1 - h) * (1 + h) * (d2 @ reseau["w2"])
    reseau["w2"] = reseau["w2"] - pas * np.outer(d2, h)
    reseau["w1"] = reseau["w1"] - pas * np.outer(d1, x)


def entrainer(reseau, X, Y, epoques=100, pas=0.1):
    for e in range(epoques):
        for i in rng.permutation(len(X)):
            mise_a_jour(reseau, X[i], Y[i], pas)
        if e % 10 == 0:
            print("epoque", e, "cout", sum(cout(reseau, x, y) for x, y in zip(X, Y)) / len(X))


if __name__ == "__main__":
    tableau = np.loadtxt("donnees_tp3.txt")
    X = np.column_stack([tableau[:, :-1], np.ones(len(tableau))])
    Y = tableau[:, -1:]
    r = creer_reseau(X.shape[1], 8, 1)
    entrainer(r, X, Y)
