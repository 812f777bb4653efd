"""A function of PyTorch by the row of its numbers: a `torch.autograd.Function`, or made of such."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from jaxmlp.checking.arrays import Array
from jaxmlp.checking.rules.function import Function
from jaxmlp.checking.rules.names import name_of
from jaxmlp.checking.rules.transforms import Difference, compared
from jaxmlp.checking.truth.differences import EPSILON


def is_of_torch(function: Any, arguments: Sequence[Any]) -> bool:
    """Whether a function is PyTorch's: a class of a rule, or one that is given tensors."""
    if inspect.isclass(function):
        return any(base.__module__ == "torch.autograd.function" for base in function.__mro__)
    return any(type(each).__module__.partition(".")[0] == "torch" for each in arguments)


def signature_of(function: Any) -> Any:
    """What names the arguments: of a rule, its forward pass without the context."""
    if not inspect.isclass(function):
        return function
    rule: Any = function
    parameters = list(inspect.signature(rule.forward).parameters.values())
    own = "setup_context" in vars(function)  # then the forward pass takes no context
    signature = inspect.Signature(parameters[0 if own else 1 :])

    def named(*arguments: Any) -> None:
        """Of this signature."""

    named.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return named


class TorchFunction(Function):
    """A function of tensors, which is called row by row; only tensors of floats move."""

    CALLS: ClassVar = {}
    batches = False

    def __init__(self, function: Any, arguments: Sequence[Any], names: Sequence[str]) -> None:
        """Get ready, as for a function of JAX."""
        import torch  # pyright: ignore[reportMissingImports]

        self.torch = torch
        self.is_rule = inspect.isclass(function)
        super().__init__(function.apply if self.is_rule else function, arguments, names)
        self.name = name_of(function)

    def is_number(self, leaf: Any) -> bool:
        """A tensor of floats: PyTorch gives no derivatives by Python's numbers."""
        return isinstance(leaf, self.torch.Tensor) and leaf.is_floating_point()

    def row(self, arguments: Sequence[Any] | None = None) -> Array:
        """The numbers of the arguments that were given, or of others."""
        leaves = self.leaves if arguments is None else jax.tree.leaves(arguments)
        some = [leaves[i].detach().double().numpy().ravel() for i in self.moving]
        return np.concatenate(some) if some else np.zeros(0)

    def split(self, rows: Array) -> list[Any]:
        """The tensors of a row, in the function's dtype."""
        dtype = getattr(self.torch, self.dtype)
        return [
            self.torch.from_numpy(rows[part.start : part.stop].reshape(part.shape).copy()).to(dtype)
            for part in self.parts
        ]

    def rounded(self, row: Array) -> Array:
        """A row with its numbers rounded to the function's dtype."""
        return np.concatenate([leaf.double().numpy().ravel() for leaf in self.split(row)])

    def output_row(self, *parts: Any) -> Any:
        """All floating outputs as one row."""
        found = jax.tree.leaves(self.function(*self.filled(parts)))
        some = [each.reshape(-1) for each in found if self.is_number(each)]
        return self.torch.cat(some) if some else self.torch.zeros(0)

    def one(self, row: Array) -> Array:
        """The floating outputs (m,) of one row."""
        with self.torch.no_grad():
            return self._array(self.output_row(*self.split(row)))

    by_itself = one

    def noise(self, row: Array) -> Array:
        """Rounding errors inside are not known: one of the outputs (m,)."""
        return EPSILON * np.abs(self.one(row))

    @functools.cached_property
    def trace(self) -> None:
        """PyTorch has none."""

    def rules(self) -> list[str]:
        """The names of the rules in the graph of the function's derivative."""
        leaves = [leaf.requires_grad_() for leaf in self.split(self.row())]
        with contextlib.suppress(Exception), self.torch.enable_grad():
            return list(dict.fromkeys(_rules_in(self.output_row(*leaves).grad_fn)))
        return [self.name] if self.is_rule else []

    def without_rules(self) -> None:
        """PyTorch has no trace of what a rule is for."""

    def forward(self, row: Array, part: int, tangents: Array) -> tuple[Array, Array]:
        """The outputs (m,), and their derivatives (k, m) along tangents (k, size of the part)."""
        forward_ad: Any = self.torch.autograd.forward_ad
        found, primal = [], np.zeros(0)
        for tangent in tangents:
            leaves = self.split(row)
            # on its first call PyTorch imports what it calls deprecated itself
            with warnings.catch_warnings(action="ignore"), forward_ad.dual_level():
                along = self._like(tangent, leaves[part])
                leaves[part] = forward_ad.make_dual(leaves[part], along)
                value, slope = forward_ad.unpack_dual(self.output_row(*leaves))
                primal = self._array(value)
                found.append(np.zeros(len(primal)) if slope is None else self._array(slope))
        return primal, np.stack(found)

    def reverse(self, row: Array, part: int, cotangents: Array) -> tuple[Array, Array]:
        """The outputs (m,), and the products (l, size of the part) of cotangents (l, m)."""
        primal, pulled = self._pulled(self.split(row), part)
        return self._array(primal), np.stack([pulled(each) for each in cotangents])

    def _pulled(self, leaves: list[Any], part: int) -> tuple[Any, Callable[[Array], Array]]:
        """The outputs, and what gives the products of a cotangent."""
        leaf = leaves[part]
        with self.torch.enable_grad():
            leaf.requires_grad_()
            primal = self.output_row(*leaves)

        def pulled(cotangent: Any) -> Array:
            if not primal.requires_grad:
                return np.zeros(leaf.numel())
            given = (
                cotangent
                if isinstance(cotangent, self.torch.Tensor)
                else self._like(cotangent, primal)
            )
            (found,) = self.torch.autograd.grad(
                primal, leaf, given, retain_graph=True, allow_unused=True
            )
            return np.zeros(leaf.numel()) if found is None else self._array(found)

        return primal.detach(), pulled

    def first_derivatives(self, weights: Array, seed: int) -> dict[str, Callable[..., Any]]:
        """That of outputs with some weights."""

        def pulled(*arguments: Any) -> Any:
            leaves = [jax.tree.leaves(arguments)[i] for i in self.moving]
            with self.torch.enable_grad():
                primal = self.output_row(*(leaf.requires_grad_() for leaf in leaves))
                given = self._like(weights, primal)
                return self.torch.autograd.grad(
                    primal, leaves, given, create_graph=True, materialize_grads=True
                )

        return {"reverse": pulled}

    def differences(
        self, row: Array, _other: Array, cotangents: Array, forward: bool
    ) -> Iterator[Difference]:
        """What changes with how tensors lie in memory, which no formula may depend on."""
        if forward:
            return
        for part, place in enumerate(self.parts):
            if place.stop - place.start > 1:
                plain = self.reverse(row, part, cotangents)[1]
                yield from compared(
                    "arguments that are not contiguous",
                    plain,
                    lambda part=part: self._reverse_of(self._strided(row), part, cotangents),
                )
            plain = self._of_ones(row, part, self.torch.ones_like)
            for mode, ones in (("expanded", self._expanded), ("not contiguous", self._wide)):
                yield from compared(
                    f"a cotangent that is {mode}",
                    plain,
                    lambda part=part, ones=ones: self._of_ones(row, part, ones),
                )

    def _reverse_of(self, leaves: list[Any], part: int, cotangents: Array) -> Array:
        _, pulled = self._pulled(leaves, part)
        return np.stack([pulled(each) for each in cotangents])

    def _of_ones(self, row: Array, part: int, ones: Callable[[Any], Any]) -> Array:
        """The derivative of the sum of all outputs, by a cotangent of ones."""
        leaves = self.split(row)
        with self.torch.enable_grad():
            leaf = leaves[part].requires_grad_()
            found = jax.tree.leaves(self.function(*self.filled(leaves)))
        found = [each for each in found if self.is_number(each) and each.requires_grad]
        given = [ones(each) for each in found]
        (pulled,) = self.torch.autograd.grad(found, leaf, given, materialize_grads=True)
        return self._array(pulled)[None]

    def _expanded(self, like: Any) -> Any:
        """Ones that are a single number in memory, as the derivative of a sum is."""
        return self.torch.ones((), dtype=like.dtype).expand(like.shape)

    def _wide(self, like: Any) -> Any:
        """Ones that lie in memory column by column, with gaps."""
        return self._with_gaps(self.torch.ones_like(like))

    def _strided(self, row: Array) -> list[Any]:
        """The tensors of a row, which lie in memory column by column, with gaps."""
        return [self._with_gaps(leaf) for leaf in self.split(row)]

    def _with_gaps(self, leaf: Any) -> Any:
        order = list(range(leaf.ndim))[::-1]
        columns = leaf.permute(order)
        return self.torch.stack([columns, 0 * columns], dim=-1)[..., 0].permute(order)

    def _like(self, numbers: Array, other: Any) -> Any:
        return self.torch.from_numpy(np.array(numbers)).to(other.dtype).reshape(other.shape)

    def _array(self, tensor: Any) -> Array:
        return tensor.detach().double().numpy().ravel().copy()


def _rules_in(node: Any) -> Iterator[str]:
    """The names of rules in a graph, by its nodes, which are named after the classes."""
    seen, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        of = getattr(node, "_forward_cls", None)
        if of is not None:
            yield of.__name__
        waiting += [before for before, _ in node.next_functions]
