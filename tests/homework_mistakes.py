"""Mistakes in the homework of `tests/homework`, each with the line and the kind to be named."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """A mistake.

    Attributes:
        file: in `tests/homework`.
        old, new: lines, and what is written in their place.
        line: of the file that is to be named: a part of its text.
        kinds: that are right for it.
    """

    file: str
    old: str
    new: str
    line: str
    kinds: tuple[str, ...]


MISTAKES = [
    Mistake(
        "class_with_data.py",
        "push_out = miss * self.guess * (1 - self.guess)",
        "push_out = miss * (1 - self.guess)",
        "push_out = miss * (1 - self.guess)",
        ("wrong slope", "half of the slope"),
    ),
    Mistake(
        "class_with_data.py",
        "push_in = (push_out @ self.w_out.T) * self.mid * (1 - self.mid)",
        "push_in = (push_out @ self.w_out.T) * self.mid",
        "push_in = (push_out @ self.w_out.T) * self.mid",
        ("value for slope",),
    ),
    Mistake(
        "class_with_data.py",
        "self.w_out = self.w_out - rate * (self.mid.T @ push_out)",
        "self.w_out = self.w_out + rate * (self.mid.T @ push_out)",
        "self.w_out = self.w_out + rate * (self.mid.T @ push_out)",
        ("sign",),
    ),
    Mistake(
        "class_with_data.py",
        "push_in = (push_out @ self.w_out.T)",
        "push_in = (miss @ self.w_out.T)",
        "push_in = (miss @ self.w_out.T)",
        ("stale value",),
    ),
    Mistake(
        "columns_and_dicts.py",
        'dZ1 = (parameters["W2"].T @ dZ2) * (1 - store["A1"] ** 2)',
        'dZ1 = (parameters["W2"].T @ dZ2) * (1 - store["Z1"] ** 2)',
        'dZ1 = (parameters["W2"].T @ dZ2) * (1 - store["Z1"] ** 2)',
        ("slope of a value",),
    ),
    Mistake(
        "columns_and_dicts.py",
        "db2 = np.sum(dZ2, axis=1, keepdims=True) / m",
        "db2 = np.sum(dZ2, axis=1, keepdims=True)",
        "db2 = np.sum(dZ2, axis=1, keepdims=True)",
        ("sum for mean",),
    ),
    Mistake(
        "columns_and_dicts.py",
        'dZ1 = (parameters["W2"].T @ dZ2) * (1 - store["A1"] ** 2)',
        'dZ1 = (parameters["W2"].T @ dZ2) * store["A1"] * (1 - store["A1"])',
        'dZ1 = (parameters["W2"].T @ dZ2) * store["A1"] * (1 - store["A1"])',
        ("wrong slope",),
    ),
    Mistake(
        "columns_and_dicts.py",
        "dW1 = dZ1 @ X.T / m",
        "dW1 = dZ1 @ X.T",
        "dW1 = dZ1 @ X.T",
        ("sum for mean",),
    ),
    Mistake(
        "loss_returns_grads.py",
        "dhidden[hidden <= 0] = 0",
        "pass",
        "dhidden = dscores.dot",
        ("mask missing",),
    ),
    Mistake(
        "loss_returns_grads.py",
        "dscores /= count",
        "dscores /= count * count",
        "dscores /= count * count",
        ("divided twice",),
    ),
    Mistake(
        "loss_returns_grads.py",
        'grads["b1"] = dhidden.sum(axis=0)',
        'grads["b1"] = dhidden.mean(axis=0)',
        'grads["b1"] = dhidden.mean(axis=0)',
        ("mean for sum", "divided twice"),
    ),
    Mistake(
        "loss_returns_grads.py",
        "dhidden = dscores.dot(W2.T)",
        "dhidden = probs.dot(W2.T)",
        "dhidden = probs.dot(W2.T)",
        ("stale value",),
    ),
    Mistake(
        "weights_as_arguments.py",
        "dZ1 = W2.T.dot(dZ2) * (Z1 > 0)",
        "dZ1 = W2.T.dot(dZ2) * (Z1 < 0)",
        "dZ1 = W2.T.dot(dZ2) * (Z1 < 0)",
        ("mask inverted",),
    ),
    Mistake(
        "weights_as_arguments.py",
        "db1 = 1 / m * dZ1.sum(axis=1, keepdims=True)",
        "db1 = 1 / m * dZ1.sum()",
        "db1 = 1 / m * dZ1.sum()",
        ("wrong axis",),
    ),
    Mistake(
        "weights_as_arguments.py",
        "dW2 = 1 / m * dZ2.dot(A1.T)",
        "dW2 = 1 / m * dZ2.dot(Z1.T)",
        "dW2 = 1 / m * dZ2.dot(Z1.T)",
        ("z for h",),
    ),
    Mistake(
        "weights_as_arguments.py",
        "dZ2 = A2 - one_hot(Y, A2.shape[0])",
        "dZ2 = 2 * (A2 - one_hot(Y, A2.shape[0]))",
        "dZ2 = 2 * (A2 - one_hot(Y, A2.shape[0]))",
        ("factor",),
    ),
    Mistake(
        "one_example_at_a_time.py",
        "hidden_delta = np.dot(self.who.T, out_delta) * hidden * (1.0 - hidden)",
        "hidden_delta = np.dot(self.who.T, errors) * hidden * (1.0 - hidden)",
        "hidden_delta = np.dot(self.who.T, errors) * hidden * (1.0 - hidden)",
        ("stale value",),
    ),
    Mistake(
        "one_example_at_a_time.py",
        "errors = targets - final",
        "errors = final - targets",
        "out_delta = errors",
        ("sign",),
    ),
    Mistake(
        "lists_of_layers.py",
        "delta = (self.weights[-back + 1].T @ delta) * sigmoid_prime(zs[-back])",
        "delta = (self.weights[-back + 1].T @ delta) * sigmoid_prime(activations[-back])",
        "delta = (self.weights[-back + 1].T @ delta) * sigmoid_prime(activations[-back])",
        ("slope of a value",),
    ),
    Mistake(
        "lists_of_layers.py",
        "delta = (activations[-1] - y) * sigmoid_prime(zs[-1])",
        "delta = activations[-1] * sigmoid_prime(zs[-1])",
        "delta = activations[-1] * sigmoid_prime(zs[-1])",
        ("labels left out",),
    ),
    Mistake(
        "lists_of_layers.py",
        "grad_w[-back] = delta @ activations[-back - 1].T",
        "grad_w[-back] = 2 * delta @ activations[-back - 1].T",
        "grad_w[-back] = 2 * delta @ activations[-back - 1].T",
        ("factor",),
    ),
    Mistake(
        "layer_objects.py",
        "return grad * self.on",
        "return grad",
        "return grad",
        ("mask missing",),
    ),
    Mistake(
        "layer_objects.py",
        "self.db = grad.sum(axis=0, keepdims=True)",
        "self.db = grad.mean(axis=0, keepdims=True)",
        "self.db = grad.mean(axis=0, keepdims=True)",
        ("mean for sum", "divided twice"),
    ),
    Mistake(
        "layer_objects.py",
        "grad = (self.probs - y) / len(y)",
        "grad = (y - self.probs) / len(y)",
        "grad = (y - self.probs) / len(y)",
        ("sign",),
    ),
    Mistake(
        "global_names.py",
        "d1 = (d2 @ W2.T) * (1 - h**2)",
        "d1 = (d2 @ W2.T) * (1 - h)",
        "d1 = (d2 @ W2.T) * (1 - h)",
        ("half of the slope",),
    ),
    Mistake(
        "global_names.py",
        "d2 = (p - T) / X.shape[0]",
        "d2 = p / X.shape[0]",
        "d2 = p / X.shape[0]",
        ("labels left out",),
    ),
    Mistake(
        "global_names.py",
        "gb1 = d1.sum(0)",
        "gb1 = d1.mean(0)",
        "gb1 = d1.mean(0)",
        ("mean for sum", "divided twice"),
    ),
    Mistake(
        "list_of_pairs.py",
        "delta = (delta @ params[i][0].T) * (pre[i - 1] > 0)",
        "delta = (delta @ params[i][0].T)",
        "delta = (delta @ params[i][0].T)",
        ("mask missing",),
    ),
    Mistake(
        "list_of_pairs.py",
        "grads.append((inputs[i].T @ delta, delta.sum(axis=0)))",
        "grads.append((inputs[i].T @ delta, delta.mean(axis=0)))",
        "grads.append((inputs[i].T @ delta, delta.mean(axis=0)))",
        ("mean for sum", "divided twice"),
    ),
    Mistake(
        "train_step.py",
        "        delta_hidden = delta_out @ self.weights_out.T * (1 - self.hidden**2)\n        self.weights_out -= self.learning_rate * self.hidden.T @ delta_out\n",
        "        self.weights_out -= self.learning_rate * self.hidden.T @ delta_out\n        delta_hidden = delta_out @ self.weights_out.T * (1 - self.hidden**2)\n",
        "delta_hidden = delta_out @ self.weights_out.T * (1 - self.hidden**2)",
        ("updated too early",),
    ),
    Mistake(
        "train_step.py",
        "delta_out = (prob - y) / n",
        "delta_out = (prob - y) * prob * (1 - prob) / n",
        "delta_out = (prob - y) * prob * (1 - prob) / n",
        ("extra slope",),
    ),
    Mistake(
        "train_step.py",
        "delta_hidden = delta_out @ self.weights_out.T * (1 - self.hidden**2)",
        "delta_hidden = delta_out @ self.weights_out.T * self.hidden * (1 - self.hidden)",
        "delta_hidden = delta_out @ self.weights_out.T * self.hidden * (1 - self.hidden)",
        ("wrong slope",),
    ),
    Mistake(
        "fit_with_epochs.py",
        "delta_out = a_out - target",
        "delta_out = target - a_out",
        "delta_out = target - a_out",
        ("sign",),
    ),
    Mistake(
        "fit_with_epochs.py",
        "delta_h = (delta_out @ self.w_out.T) * a_h * (1.0 - a_h)",
        "delta_h = (delta_out @ self.w_out.T) * z_h * (1.0 - z_h)",
        "delta_h = (delta_out @ self.w_out.T) * z_h * (1.0 - z_h)",
        ("slope of a value",),
    ),
    Mistake(
        "fit_with_epochs.py",
        "grad_w_out = a_h.T @ delta_out",
        "grad_w_out = z_h.T @ delta_out",
        "grad_w_out = z_h.T @ delta_out",
        ("z for h",),
    ),
    Mistake(
        "dict_model_rows.py",
        'delta2 = delta3.dot(model["W2"].T) * (1 - np.power(a1, 2))',
        'delta2 = delta3.dot(model["W2"].T) * (1 - a1)',
        'delta2 = delta3.dot(model["W2"].T) * (1 - a1)',
        ("half of the slope",),
    ),
    Mistake(
        "dict_model_rows.py",
        "db1 = np.sum(delta2, axis=0, keepdims=True)",
        "db1 = np.sum(delta2, axis=0, keepdims=True) / len(X)",
        "db1 = np.sum(delta2, axis=0, keepdims=True) / len(X)",
        ("mean for sum", "divided twice"),
    ),
    Mistake(
        "dict_model_rows.py",
        "delta3[range(len(X)), y] -= 1",
        "pass",
        "delta3 = probs",
        ("labels left out",),
    ),
    Mistake(
        "gradients_in_attributes.py",
        "dz1 = da1 * (1 - self.a1**2)",
        "dz1 = da1 * (1 - self.z1**2)",
        "dz1 = da1 * (1 - self.z1**2)",
        ("slope of a value",),
    ),
    Mistake(
        "gradients_in_attributes.py",
        "self.db2 = dz2.sum(axis=0)",
        "self.db2 = dz2[0]",
        "self.db2 = dz2[0]",
        ("overwritten",),
    ),
    Mistake(
        "row_vector.py",
        "back = (W @ error) * (hidden > 0)",
        "back = W @ error",
        "back = W @ error",
        ("mask missing",),
    ),
    Mistake(
        "row_vector.py",
        "error = p - t",
        "error = p",
        "error = p",
        ("labels left out",),
    ),
    Mistake(
        "row_vector.py",
        "dW = np.outer(hidden, error)",
        "dW = np.outer(hidden, p)",
        "dW = np.outer(hidden, p)",
        ("stale value",),
    ),
    Mistake(
        "notebook.ipynb",
        "delta = (out - y) * out * (1 - out)",
        "delta = (out - y)",
        "delta = (out - y)",
        ("missing slope",),
    ),
    Mistake(
        "notebook.ipynb",
        "dW.insert(0, self.a[l].T @ delta)",
        "dW.insert(0, -self.a[l].T @ delta)",
        "dW.insert(0, -self.a[l].T @ delta)",
        ("sign",),
    ),
    Mistake(
        "notebook.ipynb",
        "delta = (delta @ self.W[l].T) * self.a[l] * (1 - self.a[l])",
        "delta = (delta @ self.W[l].T) * (1 - self.a[l])",
        "delta = (delta @ self.W[l].T) * (1 - self.a[l])",
        ("half of the slope",),
    ),
]
