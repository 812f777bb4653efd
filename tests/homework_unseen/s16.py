# Übungsblatt 5, Aufgabe 1: Mehrschichtiges Perzeptron
import numpy as np


class Perzeptron:
    def __init__(self, anzahl_eingaben, anzahl_verdeckt, anzahl_ausgaben, lernrate=0.1):
        self.lernrate = lernrate
        self.V = np.random.uniform(-1, 1, (anzahl_eingaben, anzahl_verdeckt))
        self.bv = np.zeros((1, anzahl_verdeckt))
        self.W = np.random.uniform(-1, 1, (anzahl_verdeckt, anzahl_ausgaben))
        self.bw = np.zeros((1, anzahl_ausgaben))

    def vorwaerts(self, X):
        # tanh in der verdeckten Schicht, linear am Ausgang
        self.verdeckt = np.tanh(np.dot(X, self.V) + self.bv)
        self.ausgabe = np.dot(self.verdeckt, self.W) + self.bw
        return self.ausgabe

    def fehler(self, X, T):
        # halber quadratischer Fehler, summiert
        return 0.5 * np.sum((T - self.vorwaerts(X)) ** 2)

    def lernschritt(self, X, T):
        Y = self.vorwaerts(X)

        # Fehlersignale (Soll - Ist, daher spaeter +)
        delta_aus = T - Y
        delta_ver = np.dot(delta_aus, self.W.T) * (1.0 - self.verdeckt ** 2)

        # Gewichte anpassen
        self.W += self.lernrate * np.dot(self.verdeckt.T, delta_aus)
        self.bw += self.lernrate * np.sum(delta_aus, axis=0, keepdims=True)
        self.V += self.lernrate * np.dot(X.T, delta_ver)
        self.bv -= self.lernrate * np.sum(delta_ver, axis=0, keepdims=True)

    def lernen(self, X, T, epochen=1000):
        verlauf = []
        for i in range(epochen):
            self.lernschritt(X, T)
            verlauf.append(self.fehler(X, T))
        return verlauf


if __name__ == '__main__':
    import matplotlib.pyplot as plt
    daten = np.loadtxt('messwerte.dat')
    netz = Perzeptron(1, 10, 1, lernrate=0.001)
    verlauf = netz.lernen(daten[:, :1], daten[:, 1:2])
    plt.semilogy(verlauf)
    plt.xlabel('Epoche')
    plt.ylabel('Fehler')
    plt.show()
