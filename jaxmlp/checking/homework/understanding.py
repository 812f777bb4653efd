"""How a file is to be read: which functions to call with what, and what they compute.

Everything that a file may mean is tried on random numbers. What it computes is known by the
numbers: the forward pass is found among all arrays that its functions hold, and of the losses the
one whose derivatives most of its gradients are.
"""

import ast
import contextlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.calling import Call, Caller, calls_of
from jaxmlp.checking.homework.names import GRADIENT, LOSS, Role, goals, plain, stem
from jaxmlp.checking.homework.reference import (
    HIDDEN,
    LOSSES,
    OUTPUTS,
    Loss,
    Network,
    backward,
    forward,
)
from jaxmlp.checking.homework.source import Definitions, Source
from jaxmlp.checking.homework.styles import Begun, Style, styles
from jaxmlp.checking.homework.weights import (
    Layout,
    arrays_in,
    last_name,
    layouts,
    layouts_of_any_size,
)

CLOSE = 1e-7  # relative difference of numbers that are the same but for rounding
SIZES = ((4, 5, 3), (4, 5, 1))  # inputs, hidden units and outputs that are tried
MANY, ONE = 7, 1  # examples
CHANGE = "the change of the weights"
Weights = list[tuple[Array, Array | None]]


class Problem(NamedTuple):
    """Numbers for a network.

    Attributes:
        weights: of every layer, (n_in, n_out) and (n_out,) or None.
        x: inputs (n, n_in).
        t: targets (n, n_out), one 1 in each row; of one output, 0 or 1.
    """

    weights: Weights
    x: Array
    t: Array


class Form(NamedTuple):
    """How examples are handed over.

    Attributes:
        inputs: rows, columns or vector, of a single example.
        labels: one-hot, classes, or column: classes as a column or row.
    """

    inputs: str
    labels: str

    def given(self, problem: Problem) -> tuple[Any, Any]:
        """The inputs and labels as the file wants them."""
        x, t = problem.x.copy(), problem.t.copy()
        classes = t.argmax(axis=1) if t.shape[1] > 1 else t[:, 0].astype(int)
        if self.inputs == "vector":
            return x[0], classes[0] if self.labels == "classes" else t[0]
        rows = self.inputs == "rows"
        if self.labels == "classes":
            labels = classes
        elif self.labels == "column":
            labels = classes[:, None] if rows else classes[None, :]
        else:
            labels = t if rows else t.T
        return (x if rows else x.T.copy()), labels.copy()


FORMS = [
    (n, Form(inputs, labels))
    for n, kinds in ((MANY, ("rows", "columns")), (ONE, ("columns", "vector", "rows")))
    for inputs, labels in itertools.product(kinds, ("one-hot", "classes", "column"))
]


class Ran(NamedTuple):
    """What a file gave on a problem.

    Attributes:
        gradients: by W1, b1, W2 and so on; as the file's own arrays have them.
        names: what the file calls these.
        by: returned, kept in attributes, the change of the weights, or local names.
        seen: all arrays and numbers that its functions held, by function and name.
        goal: the function that was called for the gradients.
        calls: of the functions of which `seen` tells.
        rated: whether the learning rate is known.
    """

    gradients: dict[str, Array]
    names: dict[str, str]
    by: str
    seen: list[Any]
    goal: str
    calls: Sequence[Call]
    rated: bool


class Meaning(NamedTuple):
    """What a network and loss a file computes, and how far its gradients agree.

    Attributes:
        network: its activations.
        loss: its loss.
        mean: whether that is a mean over examples, not a sum.
        scale: what its gradients are divided by: a learning rate that nothing tells.
        wrong: the gradients that are not those of the loss.
        told: whether a value of the loss in the file says so, too.
    """

    network: Network
    loss: Loss
    mean: bool
    scale: float
    wrong: tuple[str, ...]
    told: bool

    @property
    def kind(self) -> str:
        """The loss, whatever its factor is."""
        return "squared error" if "squared" in self.loss.name else self.loss.name

    def expected(self, problem: Problem, mistakes: Mapping[str, Array] = {}) -> dict[str, Array]:
        """Every line of the forward and backward pass; some may be mistaken."""
        given = problem.weights, problem.x
        lines = forward(*given, self.network)
        how = self.network, self.loss, self.mean, mistakes
        return lines | backward(*given, problem.t, lines, *how)


class Reading(NamedTuple):
    """One way to call a file, and what comes of it.

    Attributes:
        style: where its weights are.
        layout: in which arrays.
        form: of the examples.
        goal: the function that gives gradients.
        sizes: with which the file was begun.
        n: examples.
        meaning: what it computes.
        ran: what it gave.
        problem: on these numbers.
    """

    style: Style
    layout: Layout
    form: Form
    goal: str
    sizes: tuple[int, ...]
    n: int
    meaning: Meaning
    ran: Ran
    problem: Problem


def drawn(sizes: Sequence[int], biases: Sequence[bool], n: int, seed: int) -> Problem:
    """Random numbers for a network; every class is there, if there are enough examples."""
    rng = np.random.default_rng(seed)
    weights: Weights = [
        (rng.normal(size=(a, b)), rng.normal(size=b) / 2 if bias else None)
        for (a, b), bias in zip(itertools.pairwise(sizes), biases, strict=True)
    ]
    x, k = rng.normal(size=(n, sizes[0])), sizes[-1]
    classes = (np.arange(n) + seed) % max(k, 2)
    t = np.eye(k)[classes] if k > 1 else classes[:, None].astype(float)
    return Problem(weights, x, t)


def understand(source: Source, found: Definitions) -> list[Reading]:
    """The readings under which most is right, the likeliest first; none if there are none.

    What the file's own loss says of it counts more than what its gradients look like.
    """
    readings = [each for style in styles(source, found) for each in _readings(source, style)]
    told = {each.meaning.kind for each in readings if each.meaning.told}
    readings = [each for each in readings if each.meaning.kind in told] or readings
    readings = [each for each in readings if each.n == MANY] or readings  # which show more
    return sorted(readings, key=_rank, reverse=True)


def _rank(reading: Reading) -> tuple[Any, ...]:
    """How much speaks for a reading; of equals, the one that was tried first is taken."""
    meaning, parts = reading.meaning, len(reading.layout.slots)
    usual = meaning.network.hidden != "identity", meaning.network.output != "identity"
    return (parts - len(meaning.wrong)) / parts, parts, usual, meaning.told, reading.n


def _readings(source: Source, style: Style) -> Iterator[Reading]:
    """All ways to call a file that give gradients."""
    for sizes, (n, form) in itertools.product(SIZES, FORMS):
        first = drawn(sizes, [True] * (len(sizes) - 1), n, 0)
        for layout, begun in _begun(style, first, form, sizes):
            for goal in goals([*begun.caller.functions]):
                # whatever homework does with arguments that it was not made for
                with contextlib.suppress(Exception):
                    yield from _read(source, style, layout, form, goal, sizes, n)


def _begun(
    style: Style, first: Problem, form: Form, sizes: Sequence[int]
) -> Iterator[tuple[Layout, Begun]]:
    try:
        begun = style.begin(*form.given(first), sizes)
    except Exception:
        return
    if begun.layouts:
        some: Iterable[Layout] = begun.layouts
    else:
        arrays = [*arrays_in(begun.root)]
        some = [*layouts(arrays, sizes[0], sizes[-1])] or layouts_of_any_size(arrays)
    for layout in some:
        yield layout, begun


def _read(
    source: Source, style: Style, layout: Layout, form: Form, goal: str, sizes: tuple[int, ...],
    n: int,
) -> Iterator[Reading]:  # fmt: skip
    """What a function gives, with every network and loss that may be meant."""
    problem = drawn(widths(layout), [b is not None for b in layout.biases], n, 1)
    ran = run(source, style, layout, form, goal, sizes, problem)
    for meaning in _meanings(problem, ran):
        yield Reading(style, layout, form, goal, sizes, n, meaning, ran, problem)


def widths(layout: Layout) -> tuple[int, ...]:
    """The sizes of a layout's layers."""
    shapes = [slot.shape[::-1] if slot.flipped else slot.shape for slot in layout.weights]
    return (shapes[0][0], *(shape[1] for shape in shapes))


def run(
    source: Source, style: Style, layout: Layout, form: Form, goal: str, sizes: Sequence[int],
    problem: Problem, losses: bool = True,
) -> Ran:  # fmt: skip
    """Call a file on a problem, and then its losses, if they are asked for.

    Raises:
        Exception: whatever the file raises.
        ValueError: if it gives no gradient.
    """
    np.random.seed(0)  # noqa: NPY002 (which is what homework draws from)
    x, y = form.given(problem)
    begun = style.begin(x, y, sizes)
    values = {name: array.copy() for name, array in named(problem.weights).items()}
    for name, slot in layout.slots.items():
        begun.root = slot.place.put(begun.root, slot.written(values[name]).copy())
    caller = begun.ready()
    caller.roles |= {Role.INPUTS: x, Role.LABELS: y, Role.COUNT: len(problem.x)}
    with calls_of(str(source.path)) as calls, np.errstate(all="ignore"):
        style.before(caller, goal)
        result = caller.call(goal)
        for other in caller.functions:
            if losses and _is_loss(other) and other not in caller.called and other != goal:
                _called(caller, other)
    rate = begun.rate()
    gradients, names, by = _gradients(result, calls, goal, begun, layout, values, rate or 1.0)
    seen = [*_everything(calls), *(array for _, array in arrays_in(result))]
    seen += [array for _, array in arrays_in(begun.root)]
    if isinstance(result, (float, np.floating)):
        seen.append(result)
    return Ran(gradients, names, by, seen, goal, calls, rate is not None)


def _is_loss(name: str) -> bool:
    return bool(re.search(LOSS, name, re.I))


def _called(caller: Caller, name: str) -> None:
    try:
        caller.call(name)
    except Exception:  # it is only asked for what it says of the loss
        return


def named(weights: Weights) -> dict[str, Array]:
    """Weights and biases by W1, b1, W2 and so on."""
    pairs = [((f"W{i}", w), (f"b{i}", b)) for i, (w, b) in enumerate(weights, 1)]
    return {name: array for name, array in itertools.chain(*pairs) if array is not None}


def _everything(calls: Sequence[Call]) -> Iterator[Any]:
    """All arrays and numbers among local names."""
    for call in calls:
        for value in call.values.values():
            if isinstance(value, (float, np.floating)):
                yield float(value)
            elif isinstance(value, (np.ndarray, dict, list, tuple)):
                for _, array in arrays_in(value):
                    yield array


def _gradients(
    result: Any, calls: Sequence[Call], goal: str, begun: Begun, layout: Layout,
    before: Mapping[str, Array], rate: float,
) -> tuple[dict[str, Array], dict[str, str], str]:  # fmt: skip
    """The gradient by every weight, what it is called, and where it was found.

    Raises:
        ValueError: if it is nowhere.
    """
    slots = layout.slots
    after = {
        name: slot.read(slot.place.of(begun.root), before[name]) for name, slot in slots.items()
    }
    changed = {
        name
        for name, array in after.items()
        if array is None or not np.array_equal(array, before[name])
    }
    own = {id(slot.place.of(begun.root)) for slot in slots.values()}
    returned = [] if result is begun.root else begun.named(goal, result)
    returned = [(name, array) for name, array in returned if id(array) not in own]
    if found := _matched(returned, layout, before):
        return *found, "returned"
    if changed and all(array is not None for array in after.values()):
        moved = {name: (before[name] - after[name]) / rate for name in slots}
        return moved, {name: slots[name].place.name for name in slots}, CHANGE
    kept = [
        (place.name, array)
        for place, array in arrays_in(begun.root)
        if GRADIENT.search(last_name(place))
    ]
    if found := _matched(kept, layout, before):
        return *found, "kept in attributes"
    held = [
        (name, value)
        for call in calls
        if call.name.rpartition(".")[2] == goal
        for name, value in call.values.items()
        if isinstance(value, np.ndarray) and GRADIENT.search(name)
    ]
    if found := _matched(held, layout, before):
        return *found, "local names"
    raise ValueError(f"{goal} gives no gradient")


def _matched(
    some: Sequence[tuple[str, Array]], layout: Layout, like: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, str]] | None:
    """Of named arrays, one for every weight: by the names, or else by the shapes, in order."""
    found, names, used = {}, {}, set()
    for by_name in (True, False):
        for name, slot in layout.slots.items():
            if name in found:
                continue
            own = {plain(stem(slot.place.name)), plain(slot.place.name.split(".")[-1])}
            for number, (called, array) in enumerate(some):
                fits = slot.read(array, like[name])
                if fits is None and by_name and name[0] == "b" and np.size(array) == 1:
                    fits = np.full_like(like[name], array)  # it was summed over everything
                if number in used or fits is None or np.array_equal(fits, like[name]):
                    continue
                if by_name and stem(called) not in own:
                    continue
                found[name], names[name] = fits, called
                used.add(number)
                break
    return (found, names) if len(found) == len(layout.slots) else None


def _meanings(problem: Problem, ran: Ran) -> Iterator[Meaning]:
    """Networks whose forward pass is among what was seen, with every loss."""
    for network in _networks(problem, ran):
        lines = forward(problem.weights, problem.x, network)
        for loss, mean in itertools.product(LOSSES, (True, False)):
            if network.output not in loss.outputs:
                continue
            if len(problem.x) == 1 and not mean:
                continue  # of one example both are the same
            right = backward(problem.weights, problem.x, problem.t, lines, network, loss, mean)
            scale = _scale(ran, right)
            wrong = tuple(
                name
                for name, received in ran.gradients.items()
                if not close(received, scale * right[f"d{name}"])
            )
            value = float(np.sum(loss.each(lines["p"], problem.t)))
            told = any(
                isinstance(each, float) and math.isclose(each, value / n, rel_tol=CLOSE)
                for each in ran.seen
                for n in (len(problem.x), 1)
            )
            yield Meaning(network, loss, mean, scale, wrong, told)


def _scale(ran: Ran, right: Mapping[str, Array]) -> float:
    """The learning rate in a change of weights, if it is the same everywhere."""
    if ran.by != CHANGE or ran.rated:
        return 1.0
    ratios = []
    for name, received in ran.gradients.items():
        true = right[f"d{name}"]
        ratios.append(float(np.sum(received * true)) / (float(np.sum(true**2)) or 1.0))
    rate = float(np.median(ratios))
    return rate if np.isfinite(rate) and rate > 0 else 1.0


def _networks(problem: Problem, ran: Ran) -> Iterator[Network]:
    """Those of which every layer's value was seen; a function of the output before none."""
    found = []
    for hidden, output in itertools.product(HIDDEN, OUTPUTS):
        if len(problem.weights) == 1 and hidden != "identity":
            continue
        if output == "softmax" and problem.t.shape[1] == 1:
            continue
        network = Network(hidden, output)
        lines = forward(problem.weights, problem.x, network)
        wanted = [lines[name] for name in lines if name[0] in "hp"]
        if all(any(alike(each, seen) for seen in ran.seen) for each in wanted):
            found.append(network)
    plain_ = [each for each in found if each.output == "identity"]
    others = [each for each in found if each.output != "identity"]
    yield from others or plain_


def alike(right: Array, seen: Any) -> bool:
    """Whether an array is the same numbers, as rows or as columns."""
    if not isinstance(seen, np.ndarray) or seen.size != right.size:
        return False
    array = np.asarray(seen, float)
    if array.ndim == 2 and array.shape != right.shape and array.shape == right.T.shape:
        return close(array.T, right)
    fits = [n for n in array.shape if n > 1] == [n for n in right.shape if n > 1]
    return (fits and close(array.reshape(right.shape), right)) or (
        array.shape == right.shape[::-1] and close(array.T, right)
    )


def close(received: Array, expected: Array) -> bool:
    """Whether numbers are the same but for rounding."""
    size = float(np.max(np.abs(expected), initial=0))
    return bool(np.all(np.abs(received - expected) <= CLOSE * size + 1e-12))


def nodes_of(tree: ast.AST, before: str = "") -> dict[str, ast.FunctionDef]:
    """Every function of a tree, by its name with its class."""
    found: dict[str, ast.FunctionDef] = {}
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef):
            found[before + node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= nodes_of(node, f"{before}{node.name}.")
    return found
