"""Networks as scikit-learn has them: a classifier, a regressor, and a search that trains together.

They take scikit-learn's parameter names and give its attributes; what differs is in README's table.
A fitted estimator holds plain NumPy arrays, and predicts without JAX.
"""

from jaxmlp.sklearn.classifier import MLPClassifier
from jaxmlp.sklearn.regressor import MLPRegressor
from jaxmlp.sklearn.search import SweepSearchCV
