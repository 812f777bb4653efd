"""The networks and batches on which a gradient is tried by default.

Shapes are few, since every new one may have to be compiled, and each is there for a reason.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlp.activations import get_activation
from jaxmlp.checking.calls import as_array, first_line, is_floating
from jaxmlp.data import Batch
from jaxmlp.params import Layer, Params


@dataclass(frozen=True)
class Shape:
    """Widths, bias and number of examples of a case."""

    sizes: tuple[int, ...]
    bias: bool
    n: int

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.sizes) - 1

    def __str__(self) -> str:
        """Such as 3-4-3 without bias, 1 example."""
        widths = "-".join(map(str, self.sizes))
        return f"{widths} {'with' if self.bias else 'without'} bias, {self.n} example" + "s" * (
            self.n > 1
        )


SHAPES = (
    Shape((3, 4, 3), False, 1),  # the note's own
    Shape((4, 3, 2), True, 5),  # no two sizes alike: a factor tells which one it is
    Shape((3, 3, 3), True, 3),  # all alike: a wrong axis or a missing transpose still runs
    Shape((3, 2), True, 4),  # no hidden layer
    Shape((2, 4, 3, 5), True, 6),  # two hidden layers, all sizes different
    Shape((3, 3, 3, 3), True, 3),  # weights and masks of another layer fit
    Shape((2, 1, 1), True, 2),  # width one, and one class
    Shape((2, 3, 4), True, 1),  # one example with biases: nothing to sum
    Shape((40, 30, 10), True, 20),  # large enough to have a corner
)
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


class Range(NamedTuple):
    """Numbers that a floating dtype can tell apart.

    Attributes:
        near: exact beside 1.
        tiny: the scale of the first layer's z, whose sums are exact at any scale.
        huge: the scale of the last layer's weights, with which the logits stay finite.
    """

    near: float
    tiny: float = 2.0**-100
    huge: float = 1e4


RANGES = {
    "float64": Range(2.0**-40),
    "float32": Range(2.0**-10),
    "bfloat16": Range(2.0**-4),
    "float16": Range(2.0**-7, 2.0**-8, 256.0),
}
LEAD = 12.0  # of a logit before all others: then the gradient is of the order of 1e-5
DRAWS = 8  # of which the one is taken that shows most
FORMS = ("classes", "rows")
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
        params, x = max((_numbers(rng, shape, kind, scales) for _ in range(DRAWS)), key=_alive)
        if kind == "confident":
            params, y = foreseen(params, x, labels)
        else:
            y = make_labels(rng, labels, shape.n, shape.sizes[-1])
        case = Case(params, Batch(x, y), f"{shape}, {kind}, labels {labels}", kind, shape)
        yield cast(case, dtype)


def _numbers(
    rng: np.random.Generator, shape: Shape, kind: str, scales: Range
) -> tuple[Params, np.ndarray]:
    """Parameters and inputs: dense, whole numbers with exact zeros in z, or with special parts."""

    def draw(*size: int) -> np.ndarray:
        if kind.endswith("kinks"):
            return rng.integers(-1, 2, size).astype(float)
        return rng.normal(size=size)

    layers = []
    for n_in, n_out in itertools.pairwise(shape.sizes):
        weight = draw(n_in, n_out)
        bias = draw(n_out) if shape.bias else None
        if kind == "dense":
            weight /= max(1, n_in / 4) ** 0.5  # keeps the logits of order one
        if kind == "zeros":
            weight[:, ::2] = 0
            bias = None if bias is None else 0 * bias
        layers.append((weight, bias))
    x = draw(shape.n, shape.sizes[0])
    if kind == "zeros":
        x[::2] = 0
    if kind == "near kinks":  # in the first layer's bias, or in what takes its place
        first = x if (bias := layers[0][1]) is None else bias
        first += scales.near * rng.integers(-1, 2, first.shape)
    if kind == "tiny kinks":
        layers[0] = tuple(None if leaf is None else scales.tiny * leaf for leaf in layers[0])
    if kind == "huge logits":
        weight, bias = layers[-1]
        layers[-1] = (scales.huge * weight, bias)
    return tuple(Layer(*layer) for layer in layers), x


def _alive(numbers: tuple[Params, np.ndarray]) -> float:
    """How much there is to see: the hidden units that are on for some examples, off for others.

    In the layer where they are fewest, since a layer that is off hides all that is before it.
    """
    params, x = numbers
    shares = [1.0]
    for z in _affine(params, x)[:-1]:
        on, off = (z > 0).any(axis=0), (z < 0).any(axis=0)
        shares.append(float(np.mean(on) + np.mean(on & off)))
    return min(shares)


def _affine(params: Params, x: np.ndarray) -> list[np.ndarray]:
    """Every layer's z, with ReLUs between."""
    h, zs = x, []
    for weight, bias in params:
        zs.append(h @ weight + (0 if bias is None else bias))
        h = np.maximum(zs[-1], 0)
    return zs


def foreseen(params: Params, x: np.ndarray, form: str) -> tuple[Params, np.ndarray]:
    """Labels that a network is sure of: the last layer is scaled until every one leads by LEAD."""
    z = _affine(params, x)[-1]
    classes = z.argmax(axis=1).astype(np.int32)
    if z.shape[1] > 1:
        leads = np.diff(np.sort(z, axis=1)[:, -2:])
        scale = LEAD / max(leads.min(), 1e-3)
        params = (*params[:-1], jax.tree.map(lambda leaf: scale * leaf, params[-1]))
    return params, classes if form == "classes" else np.eye(z.shape[1])[classes]


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


def make_labels(rng: np.random.Generator, kind: str, n: int, n_out: int) -> np.ndarray:
    """Classes, or all of them but the first; or rows, soft with exact zeros or of any sum."""
    classes = rng.integers(kind == "later classes" and n_out > 1, n_out, n).astype(np.int32)
    if "classes" in kind:
        return classes
    if kind == "any sum":
        return rng.normal(size=(n, n_out)) + 0.5
    if kind == "one-hot":
        return np.eye(n_out)[classes]
    rows = rng.exponential(size=(n, n_out)) * rng.integers(0, 2, (n, n_out))
    rows[np.arange(n), classes] += 0.1
    rows /= rows.sum(axis=1, keepdims=True)
    if n > 2:
        rows[-1] = 0  # an example without a label
    return rows
