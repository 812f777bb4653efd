"""The networks and batches on which a gradient is tried by default.

Shapes are few, since every new one may have to be compiled, and each is there for a reason.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.activations import get_activation
from jaxmlp.checking.calls import as_array, is_floating
from jaxmlp.checking.network.numbers import RANGES, alive, foreseen, make_labels, numbers
from jaxmlp.checking.network.shapes import FORMS, Shape
from jaxmlp.data import Batch
from jaxmlp.importing import first_line

# What the numbers are like, with labels to go with them. Classes are tried with the dense numbers
# only, and on some of the shapes: each form of labels is another program to compile.
KINDS = (
    ("dense", "any sum"),
    ("kinks", "soft"),
    ("near kinks", "soft"),
    ("tiny kinks", "soft"),  # nearer than any threshold
    ("zeros", "one-hot"),
    ("huge logits", "one-hot"),
    ("confident", "foreseen"),  # the gradient is next to nothing
    ("dense", "classes"),
    ("dense", "later classes"),  # the first one does not occur
)


DRAWS = 8  # of which the one is taken that shows most
AT_KINK = ("zero", "any")
CLASSES = (0, 1, 3, 5)  # the shapes that are also tried with classes, where both forms are


@dataclass(frozen=True)
class Case:
    """Parameters and a batch, as NumPy arrays, and what is special about them."""

    params: Any
    batch: Any
    about: str
    kind: str = "dense"
    shape: Shape | None = None


def check_settings(
    activation: str,
    shapes: Sequence[Shape],
    labels: Sequence[str],
    dtypes: Sequence[str] | None = None,
    at_kink: str = AT_KINK[0],
) -> None:
    """Raise ValueError if one of a check's settings is none."""
    get_activation(activation)
    if at_kink not in AT_KINK:
        raise ValueError(f"at_kink is {at_kink!r}: give one of {', '.join(AT_KINK)}")
    for name, values, known in (
        ("shapes", shapes, None),
        ("labels", labels, FORMS),
        ("dtypes", dtypes, RANGES),
    ):
        if values is not None and not len(values):
            raise ValueError(f"no {name} are given: there would be nothing to compare")
        if isinstance(values, str):
            raise ValueError(f"{name} is {values!r}: give a list, such as [{values!r}]")
        for value in values or ():
            if known and value not in known:
                raise ValueError(f"{name} hold {value!r}: give some of {', '.join(known)}")
            if not known and not isinstance(value, Shape):
                raise ValueError(f"{name} hold {value!r}: give Shape(widths, bias, examples)")


def network_cases(
    shapes: Sequence[Shape], dtype: Any, seed: int, forms: Sequence[str] = FORMS
) -> Iterator[Case]:
    """Every kind of numbers on every shape.

    Args:
        shapes: widths, biases and batch sizes.
        dtype: of all floating numbers.
        seed: of the numbers.
        forms: of the labels: classes, rows or both.
    """
    for (place, shape), (kind, labels) in itertools.product(enumerate(shapes), KINDS):
        if "rows" not in forms and "classes" not in labels:
            labels = "classes"
        elif "classes" in labels and ("classes" not in forms or place not in CLASSES):
            continue
        rng = np.random.default_rng([seed, place])
        scales = RANGES[jnp.dtype(dtype).name]
        params, x = max((numbers(rng, shape, kind, scales) for _ in range(DRAWS)), key=alive)
        if kind == "confident":
            params, y = foreseen(params, x, labels)
        else:
            y = make_labels(rng, labels, shape.n, shape.sizes[-1])
        case = Case(params, Batch(x, y), f"{shape}, {kind}, labels {labels}", kind, shape)
        yield cast(case, dtype)


def cast(case: Case, dtype: Any) -> Case:
    """The case with every floating leaf in a dtype."""

    def to(leaf: Any) -> Any:
        leaf = as_array(leaf)
        return leaf.astype(dtype) if is_floating(leaf) else leaf

    return replace(case, params=jax.tree.map(to, case.params), batch=jax.tree.map(to, case.batch))


def moved(tree: Any, seed: int, relative: float, absolute: float) -> Any:
    """A tree with every floating entry moved a little at random, in float64."""
    rng = np.random.default_rng(seed)

    def move(leaf: Any) -> Any:
        leaf = as_array(leaf)
        if not is_floating(leaf):
            return leaf
        by = rng.uniform(-1, 1, (2, *leaf.shape))
        return leaf.astype(np.float64) * (1 + relative * by[0]) + absolute * by[1]

    return jax.tree.map(move, tree)


def drawn(cases: Any, examples: int, seed: int) -> Iterator[Case]:
    """Cases of one's own: a list of pairs (params, batch), or a Hypothesis strategy of them.

    Raises:
        ValueError: if there are none, or one is no such pair.
    """
    number = None
    if isinstance(cases, (str, bytes)) or not isinstance(cases, Iterable):
        pairs = _draw(cases, examples, seed)
    else:
        pairs = cases
    for number, pair in enumerate(pairs):
        if isinstance(pair, Case):
            yield pair
        elif not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(
                f"case {number} is a {type(pair).__name__}{_length(pair)}: cases are pairs "
                "(params, batch), in a list or drawn by a Hypothesis strategy"
            )
        else:
            for path, leaf in jax.tree_util.tree_flatten_with_path(pair[0])[0]:
                if not jnp.issubdtype(np.asarray(leaf).dtype, jnp.floating):
                    name = f"params{jax.tree_util.keystr(path)}"
                    what = getattr(leaf, "dtype", type(leaf).__name__)
                    raise ValueError(
                        f"{name} of case {number} is of type {what}: parameters are a tree of "
                        "arrays of floats; put all else into the batch or the loss"
                    )
            if not jax.tree.leaves(pair[0]):
                raise ValueError(
                    f"the parameters of case {number} hold no numbers: there is nothing to "
                    "differentiate by"
                )
            yield Case(pair[0], pair[1], f"case {number}")
    if number is None:
        raise ValueError("no cases are given: there would be nothing to compare")


def _length(pair: Any) -> str:
    return f" of length {len(pair)}" if isinstance(pair, (tuple, list)) else ""


def _draw(strategy: Any, examples: int, seed: int) -> list[Any]:
    import hypothesis
    from hypothesis.errors import HypothesisException
    from hypothesis.strategies import SearchStrategy

    if not isinstance(strategy, SearchStrategy):
        raise ValueError(
            f"cases is a {type(strategy).__name__}: give a list of pairs (params, batch), or a "
            "Hypothesis strategy of them"
        )
    pairs: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=[*hypothesis.HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    @hypothesis.given(strategy)
    def collect(pair: Any) -> None:
        pairs.append(pair)

    try:
        collect()
    except HypothesisException as error:
        raise ValueError(f"the strategy of cases gives none: {first_line(error)}") from error
    return pairs
