"""What programs cost, in counts that are the same on every machine: operations, bytes, programs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmlp
from jaxmlp import Batch, Config, Hyperparams
from jaxmlp.activations import ACTIVATIONS
from jaxmlp.losses import loss
from jaxmlp.shuffling import SORTED, permutation
from jaxmlp.sweeps.costs import ORDER
from jaxmlp.training import first_batch, initial_state, run_epoch, run_keys

SMALL = 1.03  # of operations: counts of a few hundred include what nobody wrote


@pytest.mark.parametrize(
    ("sizes", "n", "activation"),
    [((784, 128, 10), 128, "relu"), *(((64, 64, 64, 10), 32, name) for name in ACTIVATIONS)],
)
def test_the_gradient_by_hand_costs_no_more_than_that_by_jax(sizes, n, activation):
    """Operations, exponentials and such, bytes moved, and memory beside arguments and results."""
    params = jaxmlp.init_params(jax.random.key(0), sizes)
    batch = Batch(jnp.zeros((n, sizes[0])), jnp.zeros(n, jnp.int32))
    costs = []
    for function in (jaxmlp.manual_value_and_grad, jax.value_and_grad(loss)):
        program = jax.jit(lambda p, b, f=function: f(p, b, activation=activation))
        compiled = program.lower(params, batch).compile()
        found, memory = compiled.cost_analysis(), compiled.memory_analysis()
        assert memory is not None
        assert found is not None
        counts = [found[name] for name in ("flops", "transcendentals", "bytes accessed")]
        costs.append((*counts, memory.temp_size_in_bytes))
    by_hand, by_jax = np.asarray(costs)
    assert (by_hand <= SMALL * by_jax).all(), costs
    if activation == "relu":  # whose derivative is read off h, so that z need not be kept
        assert by_hand[-1] < 0.7 * by_jax[-1]


def lowered(n, n_in=30, width=4, **settings):
    """The program of an epoch, of 8-bit pixels."""
    config = Config(hidden=(width,), batch_size=64, **settings)
    hyper = jax.tree.map(jnp.float32, Hyperparams())
    keys = run_keys(jax.random.key(0), config)
    state = initial_state(keys.init, hyper, config, n_in, n, 2)
    part = Batch(jnp.zeros((n, n_in), jnp.uint8), jnp.zeros(n, jnp.int32))
    held = part._replace(x=jnp.zeros((n, n_in)))
    with jax.numpy_dtype_promotion("standard"):  # optax raises β₁ to an integer power
        return run_epoch.lower(
            state, hyper, keys.order, keys.noise, part, held, jnp.float32(1), config=config
        )


def test_an_epoch_sorts_nothing():
    """Which took a fifth of an epoch of MNIST."""
    assert "stablehlo.sort" in lowered(SORTED).as_text()
    assert "stablehlo.sort" not in lowered(SORTED + 1).as_text()


def test_an_epoch_takes_no_memory_for_the_data():
    """Examples are taken batch by batch, also for validation; the order and the logits are left."""
    few, many = (lowered(n).compile().memory_analysis() for n in (10_000, 20_000))
    assert few is not None
    assert many is not None
    grown = (many.temp_size_in_bytes - few.temp_size_in_bytes) / 10_000
    assert grown < 25 + 2 * 4  # bytes for an example, which itself has 30 and a label


@pytest.mark.parametrize(("optimizer", "most"), [("sgd", 8), ("adam", 20)])
def test_an_epoch_does_nothing_twice(optimizer, most):
    """A step, an order and a slice of the validation part; XLA counts the body of a loop once.

    Args:
        optimizer: of the step.
        most: operations for a parameter, and some for a unit and for a logit of the validation
            part, beside those of the products.
    """
    n, n_in, width, size = 6400, 64, 256, 64
    program = lowered(n, n_in, width, optimizer=optimizer).compile().cost_analysis()
    order = jax.jit(lambda key: permutation(key, n)).lower(jax.random.key(0)).compile()
    ordering = order.cost_analysis()
    assert program is not None
    assert ordering is not None
    params, units = n_in * width + width + 2 * width + 2, size * width
    step, slice_ = 2 * n_in * width + 3 * width * 2, n_in * width + width * 2
    products = 2 * size * (step + slice_)
    rest = program["flops"] - ordering["flops"] - products
    assert 0 < rest < most * params + 12 * units + 12 * n * 2


def test_a_run_compiles_an_epoch_once():
    program: Any = run_epoch
    program.clear_cache()
    dataset = jaxmlp.load_digits(uint8=True)
    for seed in (0, 1):
        config = Config(hidden=(4,), epochs=3, batch_size=512, data_seed=seed)
        with jax.numpy_dtype_promotion("standard"):
            jaxmlp.train(jax.random.key(seed), Hyperparams(), dataset, config=config)
    assert program._cache_size() == 1


def test_the_first_batch_and_the_run_share_a_program():
    """The command line asks for both, and this program takes most of a second to compile."""
    program: Any = initial_state
    program.clear_cache()
    dataset, config = jaxmlp.load_digits(), Config(hidden=(4,), epochs=1)
    with jax.numpy_dtype_promotion("standard"):
        first_batch(jax.random.key(0), Hyperparams(), dataset, config)
        jaxmlp.train(jax.random.key(0), Hyperparams(), dataset, config=config)
    assert program._cache_size() == 1


def test_an_order_takes_no_more_than_is_planned():
    """Where every trial of a sweep has its own."""
    n, trials = SORTED + 1, 4
    keys = jax.random.split(jax.random.key(0), trials)
    program = jax.jit(jax.vmap(lambda key: permutation(key, n), out_axes=1))
    memory = program.lower(keys).compile().memory_analysis()
    assert memory is not None
    assert (memory.temp_size_in_bytes + memory.output_size_in_bytes) / n / trials < ORDER
