"""Our networks as one example of a loss: its steps by name, and what goes wrong with softmax."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from scipy.special import expit, log_softmax

from jaxmlp.activations import get_activation
from jaxmlp.checking.arrays import Array
from jaxmlp.checking.diagnosis.records import Known, Mistake, Term
from jaxmlp.checking.network.reference import Line, softmax
from jaxmlp.checking.programs.tape import Tape
from jaxmlp.losses import cross_entropy

LOGITS = "zL"  # the name of z_L
NAMES = {"product": "h W", "weight": "W", "bias": "b", "x": "x", "labels": "y"}


@functools.cache
def network_loss(activation: str) -> Callable[..., Any]:
    """Our loss of (params, batch) with labels as rows, whose intermediates have names."""
    f = _whole(get_activation(activation).value)
    cost = _whole(lambda z, y: jnp.mean(cross_entropy(z, y)))

    def loss(params: Any, batch: Any) -> Any:
        h = batch.x
        for weight, bias in params[:-1]:
            z = checkpoint_name(affine(h, weight, bias), "z")
            h = checkpoint_name(f(z), "h")
        z = checkpoint_name(affine(h, *params[-1]), LOGITS)
        return cost(z, batch.labels)

    return loss


def affine(h: Any, weight: Any, bias: Any) -> Any:
    """H W + b (2)."""
    product = h @ weight
    return product if bias is None else product + bias[None, :]


def _whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is one step of a program, however many operations it takes."""
    whole = jax.custom_jvp(function)
    whole.defjvp(lambda values, tangents: jax.jvp(function, values, tangents))
    return whole


class Logits(NamedTuple):
    """What a formula for the derivative by the logits may look at.

    Attributes:
        z: the logits, shape (n, n_out).
        p: their softmax.
        y: the labels as rows.
        error: the right derivative.
    """

    z: Array
    p: Array
    y: Array
    error: Array

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.z)

    @property
    def total(self) -> Array:
        """Σⱼ yⱼ of every row, shape (n, 1)."""
        return self.y.sum(axis=1, keepdims=True)

    @property
    def largest(self) -> Array:
        """1 at the largest logit of every row, else 0."""
        return np.eye(self.z.shape[1])[self.z.argmax(axis=1)]


Formula = Callable[[Logits], Any]


def _through_softmax(p: Array, dp: Array) -> Array:
    """∂C/∂z from ∂C/∂p by the softmax Jacobian (9)."""
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


JACOBIAN = "softmax Jacobian"
LOGIT_GRADIENTS: list[tuple[str, str, Formula]] = [  # in the place of (p Σy − y) / N (12)
    ("label sum assumed to be 1",
     "p − y is used, but the labels of a row need not sum to 1: p Σy − y",
     lambda v: (v.p - v.y) / v.n),
    ("label and prediction swapped", "label and prediction are swapped: y − p where p − y belongs",
     lambda v: (v.y - v.p) / v.n),
    ("label and prediction swapped",
     "label and prediction are swapped: y Σp − p where p Σy − y belongs",
     lambda v: (v.y * v.total - v.p) / v.n),
    ("label sum", "the labels are summed over the examples, not over the classes",
     lambda v: (v.p * v.y.sum(axis=0) - v.y) / v.n),
    ("label sum", "the labels are summed over the whole batch, not row by row",
     lambda v: (v.p * v.y.sum() - v.y) / v.n),
    ("label sum", "y is multiplied by its sum too", lambda v: (v.p - v.y) * v.total / v.n),
    (JACOBIAN,
     "only the diagonal p(1 − p) of the softmax Jacobian is used; −pᵢ pⱼ is forgotten (9)",
     lambda v: -v.y * (1 - v.p) / v.n),
    (JACOBIAN, "p(1 − p) is multiplied in once more: (12) holds the softmax Jacobian already",
     lambda v: v.error * v.p * (1 - v.p)),
    (JACOBIAN, "the softmax Jacobian is multiplied in once more: (12) holds it already",
     lambda v: _through_softmax(v.p, v.error)),
    (JACOBIAN, "∂C/∂p = −y / p is used: the softmax Jacobian (9) is missing",
     lambda v: -v.y / v.p / v.n),
    ("overflow", "y / p is 0 / 0 where a probability underflows: use p Σy − y",
     lambda v: _through_softmax(v.p, -v.y / v.p / v.n)),
    ("labels missing", "the labels are left out", lambda v: v.p * v.total / v.n),
    ("labels missing", "only the labels are left", lambda v: -v.y / v.n),
    ("label and prediction added", "label and prediction are added, not subtracted",
     lambda v: (v.p * v.total + v.y) / v.n),
    ("true class only", "only the entries of the true class are filled in",
     lambda v: v.error * (v.y != 0)),
    ("labels off by one", "the labels are shifted up by one class",
     lambda v: (v.p * v.total - np.roll(v.y, 1, axis=1)) / v.n),
    ("labels off by one", "the labels are shifted down by one class",
     lambda v: (v.p * v.total - np.roll(v.y, -1, axis=1)) / v.n),
    ("hard labels", "soft labels are rounded to the largest one",
     lambda v: (v.p - np.eye(v.y.shape[1])[v.y.argmax(axis=1)]) / v.n),
    *(("shift differentiated", "the largest logit, subtracted in two places (5), is differentiated "
       "in one of them only: what comes of both cancels",
       lambda v, sign=sign: v.error + sign * v.largest * v.total / v.n) for sign in (1, -1)),
    ("another loss", "z − y: the gradient of a squared error on the logits",
     lambda v: (v.z - v.y) / v.n),
    ("another loss", "the gradient of a squared error ½ Σ(p − y)²",
     lambda v: _through_softmax(v.p, v.p - v.y) / v.n),
]  # fmt: skip


def _normalised(e: Array) -> Array:
    return e / e.sum(axis=1, keepdims=True)


def _row_maxima(z: Array) -> Array:
    return z.max(axis=1, keepdims=True)


PROBABILITIES: list[tuple[str, str, Callable[[Array], Any]]] = [  # in that of softmax (4), (5)
    ("softmax axis", "the softmax runs over the examples, not over the classes (the wrong axis)",
     lambda z: softmax(z, axis=0)),
    ("softmax axis", "the softmax runs over the whole array, not row by row",
     lambda z: softmax(z, None)),
    ("softmax missing", "the logits are used as they are", lambda z: z),
    ("softmax not normalised", "exp z is not divided by its sum", np.exp),
    ("softmax not normalised", "exp(z − max z) is not divided by its sum",
     lambda z: np.exp(z - _row_maxima(z))),
    ("overflow", "exp z overflows for large logits: subtract the largest one first (5)",
     lambda z: _normalised(np.exp(z))),
    ("overflow",
     "one shift for the whole batch lets the other rows underflow: shift each row by its own "
     "largest logit (5)",
     lambda z: _normalised(np.exp(z - z.max()))),
    ("overflow",
     "logits that are all very negative underflow: subtract the largest one, even below 0 (5)",
     lambda z: _normalised(np.exp(z - np.maximum(_row_maxima(z), 0)))),
    ("wrong probabilities", "a sigmoid of each logit is used instead", expit),
    ("wrong probabilities", "log p is used instead of p", lambda z: log_softmax(z, axis=1)),
    ("wrong probabilities", "the logarithm of p is used instead of p",
     lambda z: np.log(softmax(z))),
    ("wrong probabilities", "softmax of −z", lambda z: softmax(-z)),
    ("wrong probabilities", "the softmax is applied twice", lambda z: softmax(softmax(z))),
    *(("activation on the logits", f"{name} is applied to the logits too", of)
      for name, of in (("relu", lambda z: softmax(np.maximum(z, 0))),
                       ("tanh", lambda z: softmax(np.tanh(z))),
                       ("a sigmoid", lambda z: softmax(expit(z))))),
]  # fmt: skip

TERMS: list[tuple[str, bool, Formula]] = [  # of (12): what they are, and whether they belong there
    ("the part of p", True, lambda v: v.p * v.total / v.n),
    ("the part of y", True, lambda v: -v.y / v.n),
    ("labels smoothed towards 1 / (number of outputs)", False,
     lambda v: (v.y - v.total / v.y.shape[1]) / v.n),
    ("p", False, lambda v: v.p / v.n),
    ("a constant", False, lambda v: np.ones_like(v.p) / v.n),
    ("the logits", False, lambda v: v.z / v.n),
]  # fmt: skip


def _of(formula: Formula) -> Any:
    """A formula as a change of the derivative by the logits."""

    def change(tape: Tape, op: Any, argument: Any, error: Array) -> Any:
        z = tape.values[op.output]
        return formula(Logits(z, softmax(z), tape.at["batch", 1][0], error))

    return change


def _mistakes(activation: str) -> Iterator[Mistake]:
    for kind, says, of in PROBABILITIES:
        change = _of(lambda v, of=of: (of(v.z) * v.total - v.y) / v.n)
        yield Mistake(kind, says, change, Line("p").name)
    for kind, says, formula in LOGIT_GRADIENTS:
        yield Mistake(kind, says, _of(formula))
    slope = jax.vmap(jax.vmap(jax.grad(get_activation(activation).value)))
    yield Mistake(
        "activation on the logits",
        "f'(z) is multiplied in, but no activation is applied to the logits",
        _of(lambda v: v.error * np.asarray(slope(v.z))),
    )


@functools.cache
def known(activation: str) -> Known:
    """What is known of our networks' steps."""
    terms = tuple(Term(says, part, _of(formula)) for says, part, formula in TERMS)
    return Known({LOGITS: tuple(_mistakes(activation))}, {LOGITS: terms}, NAMES)
