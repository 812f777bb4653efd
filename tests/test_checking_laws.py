"""What holds for any gradient, right or wrong: laws of the checker, by Hypothesis."""

import functools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

import jaxmlp
from jaxmlp import Layer
from jaxmlp.checking.cases import Case, cast, network_cases
from jaxmlp.checking.check import examine
from jaxmlp.checking.diagnosis.evidence import Evidence, tape_of
from jaxmlp.checking.diagnosis.search import explanations
from jaxmlp.checking.diagnosis.steps import named
from jaxmlp.checking.network.loss import LOGITS, known, network_loss
from jaxmlp.checking.network.shapes import SHAPES, Shape
from jaxmlp.checking.programs.tape import Spot
from jaxmlp.checking.truth.derivative import Derivative
from tests import corpus, models
from tests.strategies import LONG

MODELS = models.models()
SOME = [shape for shape in SHAPES if shape.depth >= 2 and 1 < shape.n < 10]
pytestmark = pytest.mark.usefixtures("as_users_see_it", "as_people_run_it")


# Each example is a whole check: to shrink a failure would take minutes, and the case is small.
DRAW = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)
checks = functools.partial(hypothesis.settings, deadline=None, phases=DRAW)


def is_wrong(grad, loss, case):
    """Whether a gradient is off by more than any rounding on a case."""
    right = Derivative(loss).by_jax(case.params, case.batch)
    with np.errstate(all="ignore"):
        found = jax.tree.leaves(grad(*jax.tree.map(np.array, (case.params, case.batch))))
    size = max(float(np.abs(leaf).max(initial=0)) for leaf in right) or 1.0
    pairs = zip(found, right, strict=True)
    return any(not np.all(np.abs(f - r) <= 1e-9 * size) for f, r in pairs)


@hypothesis.given(st.sampled_from(corpus.MISTAKES))
@checks(max_examples=90 if LONG else 6)
def test_the_smallest_example_of_our_networks_still_fails(mistake):
    hypothesis.assume(mistake.kind not in ("overflow", "kink"))  # which is no question of size
    wrong = corpus.build(mistake)
    report = examine(wrong, activation=mistake.activation, shapes=SOME, dtypes=["float64"])
    assert report.example
    loss = functools.partial(jaxmlp.loss, activation=mistake.activation)
    assert is_wrong(wrong, loss, report.example.case), report


@hypothesis.given(st.data())
@checks(max_examples=90 if LONG else 4)
def test_the_smallest_example_of_any_model_still_fails(data):
    module = MODELS[data.draw(st.sampled_from(sorted(MODELS)))]
    mistake = data.draw(st.sampled_from(module.MISTAKES))
    wrong = models.build(module.SOURCE, mistake)
    report = examine(wrong, module.loss, cases=module.cases(), dtypes=["float64"])
    assert report.example, report
    assert is_wrong(wrong, module.loss, cast(report.example.case, "float64")), report


def in_some_order(order):
    """Our gradient with every sum taken term by term, in an order that is drawn."""

    def product(a, b):
        terms = [np.multiply.outer(a[:, k], b[k]) for k in range(a.shape[1])]
        return functools.reduce(np.add, (terms[k] for k in order(len(terms))))

    def total(a, axis):
        rows = np.moveaxis(a, axis, 0)
        return functools.reduce(np.add, (rows[k] for k in order(len(rows))))

    def grad(params, batch):
        x, labels = batch
        h, z = [x], []
        for weight, bias in params:
            h += [np.maximum(z[-1], 0)] if z else []
            z.append(product(h[-1], weight) + (0 if bias is None else bias))
        y = labels if labels.ndim == 2 else np.eye(z[-1].shape[1], dtype=x.dtype)[labels]
        e = np.exp(z[-1] - z[-1].max(axis=1, keepdims=True))
        p = e / total(e, 1)[:, None]
        dz, grads = (p * total(y, 1)[:, None] - y) / x.dtype.type(len(x)), []
        for at, (weight, bias) in reversed(list(enumerate(params))):
            db = None if bias is None else total(dz, 0)
            grads.insert(0, Layer(product(h[at].T, dz), db))
            dz = product(dz, weight.T) * (z[at - 1] > 0) if at else dz
        return tuple(grads)

    return grad


@hypothesis.given(st.integers(0, 2**32 - 1))
@checks(max_examples=60 if LONG else 3)
def test_a_right_gradient_passes_whatever_the_order_of_its_sums(seed):
    rng = np.random.default_rng(seed)
    grad = in_some_order(lambda n: rng.permutation(n))
    # the order differs from call to call, by which the last digit does too
    report = examine(grad, shapes=SHAPES[:8], dtypes=["float64", "float32"], seed=seed % 1000)
    wrong = [each for each in report.findings if each.fails and each.kind != "not deterministic"]
    assert not wrong, report


@functools.cache
def evidence_of(activation):
    """Networks with labels of any sum, and their right gradients."""
    derivative, every = Derivative(network_loss(activation)), []
    shapes = [Shape((3, 4, 3), True, 4), Shape((2, 3, 4, 5), True, 3), Shape((4, 3, 2), True, 5)]
    for case in network_cases(shapes, np.float64, 0, ("rows",)):
        if case.kind == "dense":
            tape = tape_of(derivative, Case(case.params, case.batch, "", case.kind, case.shape))
            right = np.concatenate([tape.right[number] for number in tape.leaves])
            allowed = np.full(len(right), 1e-14 * np.abs(right).max())
            sizes = {"the batch size N": len(case.batch.x)}
            about = case, tape.by_lines([f"{i % 2}" for i in range(len(tape.leaves))])
            every.append(Evidence(*about, tuple(tape.leaves), right, right, allowed, sizes))
    return every


@hypothesis.given(st.sampled_from(["relu", "tanh"]), st.data())
@hypothesis.settings(max_examples=200 if LONG else 30, deadline=None)
def test_every_known_mistake_is_among_the_explanations_of_what_it_does(activation, data):
    """Of those in softmax and its derivative, as of those at any step of other models."""
    every, of_ours = evidence_of(activation), known(activation)
    names = named(every, of_ours).names
    place = next(place for place, name in names.items() if name == LOGITS)
    mistake = data.draw(st.sampled_from(of_ours.mistakes[LOGITS]))
    spot = Spot(place)
    seen = [
        each._replace(received=each.read(each.tape.backward({spot: mistake.change})))
        for each in every
    ]
    hypothesis.assume(all(np.isfinite(each.received).all() for each in seen) and seen[0].wrong)
    told = {(each.kind, each.says) for each in explanations(seen, names, of_ours)}
    assert (mistake.kind, mistake.says) in told
