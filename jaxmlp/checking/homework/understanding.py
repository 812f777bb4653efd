"""How a file is to be read: which functions to call with what, and what they compute.

Everything that a file may mean is tried on random numbers. What it computes is known by the
numbers: the forward pass is found among all arrays that its functions hold, and of the losses the
one whose derivatives most of its gradients are.
"""

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.invented import is_weight
from jaxmlp.checking.homework.names import NO_WEIGHT, goals
from jaxmlp.checking.homework.problems import (
    CLOSE,
    FORMS,
    MANY,
    Form,
    Problem,
    alike,
    differing,
    drawn,
)
from jaxmlp.checking.homework.reference import (
    HIDDEN,
    LOSSES,
    OUTPUTS,
    Loss,
    Network,
    backward,
    forward,
)
from jaxmlp.checking.homework.running import CHANGE, Ran, run
from jaxmlp.checking.homework.source import Definitions, Source
from jaxmlp.checking.homework.styles import Begun, Style, styles
from jaxmlp.checking.homework.weights import (
    Layout,
    arrays_in,
    last_name,
    layouts,
    layouts_of_any_size,
)

SIZES = ((4, 5, 3), (4, 5, 1))  # inputs, hidden units and outputs that are tried


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


@dataclass(frozen=True)
class Way:
    """One way to call a file that gives gradients, whatever they are of.

    Attributes:
        style: where its weights are.
        layout: in which arrays.
        form: of the examples.
        goal: the function that gives gradients.
        sizes: with which the file was begun.
        problem: the numbers that were tried.
        ran: what it gave.
        whole: whether no array that is called like a weight is left out.
    """

    style: Style
    layout: Layout
    form: Form
    goal: str
    sizes: tuple[int, ...]
    problem: Problem
    ran: Ran
    whole: bool

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.problem.x)

    def call(
        self, source: Source, problem: Problem, sizes: Sequence[int] = (), losses: bool = True
    ) -> Ran:
        """What the file gives on another problem, perhaps begun with other sizes."""
        given = self.style, self.layout, self.form, self.goal, sizes or self.sizes
        return run(source, *given, problem, losses)


@dataclass(frozen=True)
class Reading(Way):
    """One way to call a file, and what it computes.

    Attributes:
        meaning: what that is.
    """

    meaning: Meaning


class Choice(NamedTuple):
    """What somebody says that a file means; None where that is to be found out.

    Attributes:
        loss: mean or sum, over the examples; squared, sigmoid or softmax.
        labels: classes, or rows of 0 and 1.
        columns: whether examples are columns.
        layers: how many there are.
        style: such as class NeuralNetwork.
    """

    loss: str | None = None
    labels: str | None = None
    columns: bool | None = None
    layers: int | None = None
    style: str | None = None

    def fits(self, reading: Reading) -> bool:
        """Whether a reading is meant."""
        meaning, form = reading.meaning, reading.form
        losses = {meaning.network.output, "mean" if meaning.mean else "sum"}
        losses |= {"squared"} if meaning.kind == "squared error" else set()
        labels = "rows" if form.labels == "one-hot" else "classes"
        return (
            (self.loss is None or self.loss in losses)
            and self.labels in (None, labels)
            and self.style in (None, reading.style.about)
            and self.columns in (None, form.inputs == "columns")
            and self.layers in (None, len(reading.layout.weights))
        )


ANY = Choice()


def understand(source: Source, found: Definitions, choice: Choice = ANY) -> list[Reading]:
    """The readings under which most is right, the likeliest first; none if there are none.

    What the file's own loss says of it counts more than what its gradients look like, and what
    somebody chooses more than both.
    """
    readings = [each for style in styles(source, found) for each in _readings(source, style)]
    readings = [each for each in readings if choice.fits(each)]
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
    """All ways to call a file, with every network and loss that may be meant."""
    for way in ways(source, style):
        with contextlib.suppress(Exception):  # what looked like weights may be something else
            for meaning in _meanings(way.problem, way.ran):
                # else it is a part of a network, of which the rest is not understood
                if way.whole or not meaning.wrong:
                    yield Reading(**vars(way), meaning=meaning)


def ways(source: Source, style: Style) -> Iterator[Way]:
    """All ways to call a file that give gradients."""
    for sizes, (n, form) in itertools.product(SIZES, FORMS):
        first = drawn(sizes, [True] * (len(sizes) - 1), n, 0)
        for layout, begun in _begun(style, first, form, sizes):
            for goal in goals([*begun.caller.functions]):
                # whatever homework does with arguments that it was not made for
                with contextlib.suppress(Exception):
                    problem = drawn(layout.sizes, layout.biased, n, 1)
                    ran = run(source, style, layout, form, goal, sizes, problem)
                    whole = _is_whole(layout, begun.root)
                    yield Way(style, layout, form, goal, sizes, problem, ran, whole)


def _is_whole(layout: Layout, root: Any) -> bool:
    """Whether all matrices in a root that are called like weights are in a layout."""
    own = {slot.place.array for slot in layout.slots.values()}
    others = (last_name(place) for place, a in arrays_in(root) if a.ndim == 2 and place not in own)
    return not any(is_weight(name) and not NO_WEIGHT.match(name) for name in others)


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
        chosen = [] if style.fixed else [*layouts(arrays, sizes[0], sizes[-1])]
        some = chosen or layouts_of_any_size(arrays)
    for layout in some:
        yield layout, begun


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
            wrong = differing(ran.gradients, right, scale)
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


def _forms(p: Array, t: Array, output: str) -> list[Array]:
    """What shows that a network has outputs p: they, their logarithms, or what they are off by."""
    if output == "identity":
        return [p]
    logs = [np.log(p)] if output in ("softmax", "sigmoid") else []
    return [p, *logs, p - t, t - p, (p - t) / len(p)]


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
        inner = [[lines[name]] for name in lines if name[0] == "h"]
        wanted = [*inner, _forms(lines["p"], problem.t, output)]
        if all(any(alike(e, seen) for e in each for seen in ran.seen) for each in wanted):
            found.append(network)
    plain_ = [each for each in found if each.output == "identity"]
    others = [each for each in found if each.output != "identity"]
    yield from others or plain_
