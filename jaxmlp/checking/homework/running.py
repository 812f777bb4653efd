"""Running a file on a problem: its gradients, and all that its functions held on the way."""

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.homework.calling import Call, Caller, calls_of
from jaxmlp.checking.homework.names import (
    GRADIENT,
    LOSS,
    STRENGTH,
    UPDATE,
    Role,
    is_penalty,
    plain,
    stem,
)
from jaxmlp.checking.homework.problems import Form, Problem, named
from jaxmlp.checking.homework.source import Source
from jaxmlp.checking.homework.styles import Begun, Style
from jaxmlp.checking.homework.weights import Layout, arrays_in, last_name

NEAR = 0.9  # cosine of the angle between weights before a step and after it
CHANGE = "the change of the weights"


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
        unsummed: the shapes of gradients by biases that are not summed over the examples.
    """

    gradients: dict[str, Array]
    names: dict[str, str]
    by: str
    seen: list[Any]
    goal: str
    calls: Sequence[Call]
    rated: bool
    unsummed: Mapping[str, tuple[int, ...]]


def run(
    source: Source, style: Style, layout: Layout, form: Form, goal: str, sizes: Sequence[int],
    problem: Problem, losses: bool = True,
) -> Ran:  # fmt: skip
    """Call a file on a problem, and then its losses, if they are asked for.

    Raises:
        Exception: whatever the file raises.
        ValueError: if it gives no gradient.
    """
    begun, caller = started(style, layout, form, sizes, problem)
    values = {name: array.copy() for name, array in named(problem.weights).items()}
    with calls_of(str(source.path)) as calls, np.errstate(all="ignore"):
        style.before(caller, goal)
        result = caller.call(goal)
        for other in caller.functions:
            if losses and _is_loss(other) and other not in caller.called and other != goal:
                _called(caller, other)
    rate = begun.rate()
    unsummed: dict[str, tuple[int, ...]] = {}
    gradients, names, by = _gradients(
        unsummed, result, calls, goal, begun, layout, values, rate or 1.0
    )
    seen = [*_everything(calls), *(array for _, array in arrays_in(result))]
    seen += [array for _, array in arrays_in(begun.root)]
    if isinstance(result, (float, np.floating)):
        seen.append(result)
    return Ran(gradients, names, by, seen, goal, calls, rate is not None, unsummed)


def started(
    style: Style, layout: Layout, form: Form, sizes: Sequence[int], problem: Problem
) -> tuple[Begun, Caller]:
    """A file that has the weights of a problem, and what calls its functions on that."""
    np.random.seed(0)  # noqa: NPY002 (which is what homework draws from)
    x, y = form.given(problem)
    begun = style.begin(x, y, sizes)
    values = named(problem.weights)
    for name, slot in layout.slots.items():
        begun.root = slot.place.put(begun.root, slot.written(values[name]).copy())
    _set_penalty(begun)
    caller = begun.ready()
    caller.roles |= {Role.INPUTS: x, Role.LABELS: y, Role.COUNT: len(problem.x)}
    return begun, caller


def _set_penalty(begun: Begun) -> None:
    """Give the coefficients of penalties that are attributes or global names the value of now."""
    for owner in (begun.root, *type(begun.root).__mro__):
        for name, _ in _penalties(getattr(owner, "__dict__", {})):
            with contextlib.suppress(AttributeError):  # which may not be changed
                setattr(owner, name, STRENGTH.get())
    functions = (getattr(each, "__func__", each) for each in begun.caller.every.values())
    for names in {id(f.__globals__): f.__globals__ for f in functions}.values():
        names |= dict.fromkeys((name for name, _ in _penalties(names)), STRENGTH.get())


@contextlib.contextmanager
def penalties_kept(cls: type) -> Iterator[None]:
    """Give coefficients of penalties back what they were, in a class that goes on being used."""
    owners = [(base, vars(base)) for base in cls.__mro__]
    functions = [each for _, names in owners for each in names.values()]
    spaces = {id(f.__globals__): f.__globals__ for f in functions if inspect.isfunction(f)}
    attributes = [(base, *each) for base, names in owners for each in _penalties(names)]
    values = [(names, *each) for names in spaces.values() for each in _penalties(names)]
    try:
        yield
    finally:
        for base, name, value in attributes:
            setattr(base, name, value)
        for names, name, value in values:
            names[name] = value


def _penalties(names: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The coefficients of penalties among names."""
    return [(k, value) for k, value in names.items() if is_penalty(k) and _is_number(value)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_loss(name: str) -> bool:
    return bool(re.search(LOSS, name, re.I))


def _called(caller: Caller, name: str) -> None:
    try:
        caller.call(name)
    except Exception:  # it is only asked for what it says of the loss
        return


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
    unsummed: dict[str, tuple[int, ...]], result: Any, calls: Sequence[Call], goal: str,
    begun: Begun, layout: Layout, before: Mapping[str, Array], rate: float,
) -> tuple[dict[str, Array], dict[str, str], str]:  # fmt: skip
    """The gradient by every weight, what it is called, and where it was found.

    What is not summed over the examples is NaN, and its shape goes to `unsummed`.

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
    if found := _matched(returned, layout, before, unsummed):
        anew = re.search(UPDATE, goal, re.I) and not changed
        anew = anew and not any(GRADIENT.search(name) for name in found[1].values())
        if anew and (begun.caller.rated or _is_near(found[0], before)):
            moved = {name: (before[name] - array) / rate for name, array in found[0].items()}
            return moved, {name: slots[name].place.name for name in slots}, CHANGE
        return *found, "returned"
    if changed and all(array is not None for array in after.values()):
        moved = {name: (before[name] - after[name]) / rate for name in slots}
        return moved, {name: slots[name].place.name for name in slots}, CHANGE
    kept = [
        (place.name, array)
        for place, array in arrays_in(begun.root)
        if GRADIENT.search(last_name(place))
    ]
    if found := _matched(kept, layout, before, unsummed):
        return *found, "kept in attributes"
    held = [
        (name, value)
        for call in calls
        if call.name.rpartition(".")[2] == goal
        for name, value in call.values.items()
        if isinstance(value, np.ndarray) and GRADIENT.search(name)
    ]
    if found := _matched(held, layout, before, unsummed):
        return *found, "local names"
    raise ValueError(f"{goal} gives no gradient")


def _is_near(found: Mapping[str, Array], weights: Mapping[str, Array]) -> bool:
    """Whether arrays are weights after a small step, and no gradients."""
    row, other = (np.concatenate([np.ravel(some[name]) for name in weights])
                  for some in (found, weights))  # fmt: skip
    return bool(row @ other > NEAR * np.linalg.norm(row) * np.linalg.norm(other))


def _matched(
    some: Sequence[tuple[str, Array]], layout: Layout, like: Mapping[str, Array],
    unsummed: dict[str, tuple[int, ...]],
) -> tuple[dict[str, Array], dict[str, str]] | None:  # fmt: skip
    """Of named arrays, one for every weight: by the names, or else by the shapes, in order."""
    found, names, used = {}, {}, set()
    for by_name in (True, False):
        for name, slot in layout.slots.items():
            if name in found:
                continue
            place = slot.place.array
            own = {plain(stem(place.name)), plain(place.name.split(".")[-1])}
            for number, (called, array) in enumerate(some):
                fits = slot.read(array, like[name])
                if fits is None and by_name and name[0] == "b" and np.size(array) == 1:
                    fits = np.full_like(like[name], array)  # it was summed over everything
                taken = number in used and not slot.whole
                if taken or fits is None or np.array_equal(fits, like[name]):
                    continue
                if by_name and stem(called) not in own:
                    continue
                found[name], names[name] = fits, called
                used.add(number)
                break
    if any(name[0] == "b" for name in found):  # the others may not be summed over the examples
        for name, called, array in _unsummed(some, layout, like, {*found}, used):
            found[name], names[name] = np.full_like(like[name], np.nan), called
            unsummed[name] = array.shape
    return (found, names) if len(found) == len(layout.slots) else None


def _unsummed(
    some: Sequence[tuple[str, Array]], layout: Layout, like: Mapping[str, Array],
    found: set[str], used: set[int],
) -> Iterator[tuple[str, str, Array]]:  # fmt: skip
    """Gradients by biases that have an axis more, for the examples."""
    for name, slot in layout.slots.items():
        own = plain(stem(slot.place.name))
        for number, (called, array) in enumerate(some):
            width = array.shape[0 if slot.flipped else 1] if array.ndim == 2 else 0
            long = array.size > width == like[name].size
            if name not in found and number not in used and long and plain(stem(called)) == own:
                yield name, called, array
                break
