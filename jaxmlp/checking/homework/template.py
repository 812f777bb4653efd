"""A template for homework that is not understood: what calls it, in the file's own names."""

import ast
import contextlib
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmlp.checking.homework.constructing import arguments
from jaxmlp.checking.homework.invented import invented, is_bias, is_weight
from jaxmlp.checking.homework.names import LOSS, Role
from jaxmlp.checking.homework.problems import MANY, close, drawn, named
from jaxmlp.checking.homework.recorder import Recorder, literal
from jaxmlp.checking.homework.running import CHANGE, started
from jaxmlp.checking.homework.source import Definitions, Source, define, nodes_of, quiet, read
from jaxmlp.checking.homework.styles import (
    GlobalStyle,
    ObjectStyle,
    Style,
    styles,
)
from jaxmlp.checking.homework.understanding import SIZES, Way, ways
from jaxmlp.checking.homework.weights import Place, arrays_in

CALLS = '''# Calls {file!r} for `jaxmlp check`: complete the lines with TODO.

from pathlib import Path

import numpy as np

from jaxmlp.checking import load_homework

homework = load_homework(Path(__file__).with_name({file!r}))  # what it defines; no more is run
RNG = np.random.default_rng(0)


def loss(params, batch):
    """The loss, a number, of which the gradients are checked."""
    X, y = batch
{loss}


def manual_grad(params, batch):
    """Its gradients, by the names of the weights."""
    X, y = batch
{gradients}


X = {x}  # TODO if examples look otherwise
y = {y}  # TODO if labels look otherwise
shapes = {{{shapes}}}{also}
cases = [({{name: RNG.normal(size=shape) for name, shape in shapes.items()}}, (X, y))]
'''
# weights of which nothing tells
UNKNOWN = {"W1": (4, 5), "b1": (5,), "W2": (5, 3), "b2": (3,)}
ROOT = "homework"  # what the file's definitions are called
NO_LOSS = 'raise NotImplementedError("complete this line")  # TODO: return the loss'


def template(path: Path) -> str:
    """What `jaxmlp check` can call, which calls a file of homework; to be completed.

    Raises:
        ValueError: if the file cannot be read, with the reason.
    """
    source = read(path)
    with quiet():
        found = define(source)
        every = (way for style in styles(source, found) for way in ways(source, style))
        every = (way for way in every if _responds(source, way))
        # of those with most weights the first, and rather one with several examples
        best = max(every, key=lambda way: (len(way.layout.slots), way.n), default=None)
        parts = _called(best) if best else _unknown(source, found)
    return CALLS.format(file=path.name, **parts)


def _unknown(source: Source, found: Definitions) -> dict[str, str]:
    """What goes into a template where no way to call the file is found."""
    nodes = nodes_of(source.tree)
    shapes = _shapes_of(source, found) or UNKNOWN
    ends = [shape for shape in shapes.values() if len(shape) == 2]
    n_in, n_out = (ends[0][0], ends[-1][1]) if ends else (4, 3)
    targets = ", ".join(str(i % n_out) for i in range(7))
    public = {name: node for name, node in nodes.items() if not node.name.startswith("__")}
    calls = [f"{ROOT}.{k}({', '.join(a.arg for a in f.args.args)})" for k, f in public.items()]
    names = [f"    {name!r}: ...,  # TODO: the gradient by {name}" for name in shapes]
    of = (
        f"call what is needed of {', '.join(calls)}"
        if calls
        else f"copy what {source.path.name} does"
    )
    call = f"# TODO: {of}, with params, X and y"
    return {
        "loss": _block([call, NO_LOSS]),
        "gradients": _block([call, "return {", *names, "}"]),
        "x": f"RNG.normal(size=(7, {n_in}))",
        "y": f"np.eye({n_out})[[{targets}]]" if n_out > 1 else "RNG.normal(size=(7, 1))",
        "shapes": _pairs(shapes),
        "also": "  # TODO if they have other names or shapes",
    }


def _shapes_of(source: Source, found: Definitions) -> dict[str, tuple[int, ...]]:
    """Of the weights that a file makes, or that its functions take."""
    held = (pair for pair in found.names.items() if isinstance(pair[1], np.ndarray))
    shapes = {name: np.shape(array) for name, array in held if is_weight(name) or is_bias(name)}
    problem = drawn(SIZES[0], [True] * 2, MANY, 0)
    for node in [each for each in source.tree.body if isinstance(each, ast.ClassDef)]:
        if not shapes and node.name in found.names:
            with contextlib.suppress(Exception):  # not every class is a network
                style = ObjectStyle(source, found, node)
                root = style.begin(problem.x, problem.t, SIZES[0]).root
                shapes = {place.name: array.shape for place, array in arrays_in(root)}
    for make, _ in [] if shapes else invented(nodes_of(source.tree)):
        return {name: array.shape for name, array in make(None, None, SIZES[0])[0].items()}
    return shapes


def _responds(source: Source, way: Way) -> bool:
    """Whether other weights make another difference than that they are others.

    What makes its weights itself moves them to the same place whatever they were.
    """
    if way.ran.by != CHANGE:
        return True
    weights = drawn(way.layout.sizes, way.layout.biased, way.n, 9).weights
    other = way.problem._replace(weights=weights)
    with contextlib.suppress(Exception):  # such as of a network with numbers that are too large
        moved = way.call(source, other).gradients
        before, after = named(way.problem.weights), named(weights)
        pairs = [(way.ran.gradients[k] - moved[k], before[k] - after[k]) for k in moved]
        rate = float(np.vdot(pairs[0][1], pairs[0][0]) / np.vdot(pairs[0][1], pairs[0][1]))
        return not all(close(by, rate * of) for by, of in pairs)
    return False


def _called(way: Way) -> dict[str, str]:
    """What goes into the template of a file that can be called, whatever it computes."""
    begun, caller = started(way.style, way.layout, way.form, way.sizes, way.problem)
    x, y = caller.roles[Role.INPUTS], caller.roles[Role.LABELS]
    places = {slot.place.array.name: slot.place.array for slot in way.layout.slots.values()}
    held = {place.name: (place, array.copy()) for place, array in arrays_in(begun.root)}
    recorder, root = Recorder({"X": x, "y": y}, caller.nodes), _root(way.style)
    recorder.watch(caller, root, begun.root, f"{ROOT}.")
    way.style.before(caller, way.goal)
    caller.call(way.goal)
    by_change = way.ran.by == CHANGE
    gradients = _gradients(way, recorder, begun.rate() if by_change else None)
    left = []
    for name, (place, array) in held.items():
        if name not in places and array is not x and array is not y and array.ndim:
            text = recorder.gradient_of(name, array.shape)
            places |= {name: place} if text else {}
            gradients += [f"    {name!r}: {text},"] if text else []
            left += [] if text else [name]
    shapes = {name: held[name][1].shape for name in places}
    first = _weights(way, recorder, begun.root, places)
    lines = [call.line for call in recorder.calls]
    for name in caller.functions:
        if re.search(LOSS, name, re.I) and name not in caller.called:
            with contextlib.suppress(Exception):  # not every one is a loss
                caller.call(name)
    return {
        "loss": _block([*first, *_loss(recorder, way.goal)]),
        "gradients": _block([*first, *lines, "return {", *gradients, "}"]),
        "x": f"RNG.normal(size={np.shape(x)})",
        "y": _labels(way, y),
        "shapes": _pairs(shapes),
        "also": f"  # without {', '.join(left)}" if left else "",
    }


def _root(style: Style) -> str:
    """What the weights are in, in Python."""
    if isinstance(style, ObjectStyle):
        return "made"
    return ROOT if isinstance(style, GlobalStyle) else "weights"


def _weights(way: Way, recorder: Recorder, root: Any, places: Mapping[str, Place]) -> list[str]:
    """The lines that put the weights where they belong."""
    texts = {name: f"params[{name!r}].copy()" for name in places}
    called, lines = _root(way.style), []
    if called == "weights":
        known = {id(place.of(root)): texts[name] for name, place in places.items()}
        return [f"weights = {_rebuilt(root, known)}"]
    if isinstance(way.style, ObjectStyle):
        cls = way.style.cls
        given, others = arguments(cls, recorder.known[1][1], recorder.known[2][1], way.sizes)
        lines = [f"made = {ROOT}.{cls.__name__}({recorder.written(given, others)})"]
    return [*lines, *(f"{called}{places[name].after} = {texts[name]}" for name in places)]


def _rebuilt(root: Any, known: Mapping[int, str]) -> str:
    """What makes a container of arrays anew, in Python."""
    if id(root) in known:
        return known[id(root)]
    if isinstance(root, dict):
        return f"{{{', '.join(f'{k!r}: {_rebuilt(v, known)}' for k, v in root.items())}}}"
    if isinstance(root, (list, tuple)) and not hasattr(root, "_fields"):
        inner = "".join(f"{_rebuilt(each, known)}, " for each in root)
        return f"[{inner}]" if isinstance(root, list) else f"({inner})"
    return literal(root)


def _gradients(way: Way, recorder: Recorder, rate: float | None) -> list[str]:
    """The lines of a dict of gradients: where they are now, or what the weights have changed by."""
    by_change, lines = way.ran.by == CHANGE, []
    for name, slot in way.layout.slots.items():
        own = slot.place.array.name
        array = slot.written(way.ran.gradients[name])
        if by_change:
            array = slot.written(named(way.problem.weights)[name]) - (rate or 1.0) * array
        text = "..." if slot.whole else recorder.text_of_array(array)
        if by_change and text != "...":
            text = f"(params[{own!r}] - {text}) / {rate or 1.0!r}"
        todo = "  # TODO: divide by the learning rate" if by_change and rate is None else ""
        todo = f"  # TODO: the gradient by {own}" if text == "..." else todo
        lines.append(f"    {own!r}: {text},{todo}")
    return [*dict.fromkeys(lines)]


def _loss(recorder: Recorder, goal: str) -> list[str]:
    """The calls up to one that gives a number, without that for the gradients if it is another."""
    numbers = [
        (last, name)
        for last, call in enumerate(recorder.calls)
        for name, value in call.results
        if isinstance(value, float) or (isinstance(value, np.ndarray) and value.ndim == 0)
    ]
    # rather a loss than what the call for the gradients returns besides
    numbers.sort(key=lambda each: recorder.calls[each[0]].function == goal)
    if not numbers:
        return [NO_LOSS]
    last, name = numbers[0]
    calls = recorder.calls[: last + 1]
    lines = [each.line for each in calls if each.function != goal or each is calls[-1]]
    return [*lines, f"return {name}"]


def _labels(way: Way, y: Any) -> str:
    """The labels that were tried, in Python."""
    k = way.problem.t.shape[1]
    classes = way.problem.t.argmax(axis=1).tolist()
    if k == 1 or way.form.labels != "one-hot":
        return literal(y.tolist()) if np.ndim(y) == 0 else f"np.array({y.tolist()})"
    one_hot = f"np.eye({k})[{classes if np.ndim(y) > 1 else classes[0]}]"
    return f"{one_hot}.T" if way.form.inputs == "columns" else one_hot


def _pairs(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name!r}: {tuple(shape)}" for name, shape in shapes.items())


def _block(lines: Sequence[str]) -> str:
    """The lines of a function."""
    # a module's names are its attributes
    texts = [re.sub(rf"\b{ROOT}\['(\w+)'\]", rf"{ROOT}.\1", line) for line in lines]
    return textwrap.indent("\n".join(texts), "    ")
