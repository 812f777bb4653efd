"""One epoch of training, by us and by others: the same network, batches, optimizer and data.

Stochastic gradient descent with momentum 0.9 and the learning rate 0.05 on the mean cross-entropy,
in float32, over all examples in a fresh order; then loss and accuracy on the validation part.
Each function returns what runs an epoch; what is not installed is left out.
"""

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmlp
from jaxmlp import Config, Hyperparams
from jaxmlp.training import Keys, TrainState, initial_state, run_epoch, run_keys

RATE, MOMENTUM = 0.05, 0.9
HYPER = Hyperparams(learning_rate=RATE, momentum=MOMENTUM, label_smoothing=0.0)
Epoch = Callable[[], Any]  # its result is waited for


class Arrays(NamedTuple):
    """A data set as other libraries take it: inputs in float32, labels as integers."""

    x: np.ndarray
    y: np.ndarray
    validation_x: np.ndarray
    validation_y: np.ndarray


def arrays_of(dataset: jaxmlp.Dataset) -> Arrays:
    """The training and the validation part."""
    parts = (dataset.inputs(part) for part in (dataset.train, dataset.validation))
    return Arrays(*(np.asarray(array) for part in parts for array in part))


def config_of(sizes: Sequence[int], batch_size: int, gradient: str = "manual") -> Config:
    """Our settings of a network with these widths, input and output included."""
    settings: Any = {"gradient": gradient, "optimizer": "sgd", "schedule": "constant"}
    return Config(hidden=tuple(sizes[1:-1]), batch_size=batch_size, **settings)


class Prepared(NamedTuple):
    """What an epoch of ours is given: `run_epoch(state, hyper, order, noise, *parts, …)`."""

    config: Config
    state: TrainState
    hyper: Hyperparams
    keys: Keys
    parts: tuple[jaxmlp.Batch, jaxmlp.Batch]
    scale: float

    def arguments(self, number: int = 0) -> tuple[Any, ...]:
        """Those of `run_epoch` for one of the epochs, all but `config`."""
        key = jax.random.fold_in(self.keys.order, number)
        return self.state, self.hyper, key, self.keys.noise, *self.parts, self.scale


def prepare(
    sizes: Sequence[int], batch_size: int, dataset: jaxmlp.Dataset, gradient: str = "manual"
) -> Prepared:
    """A run of ours as `train` begins it."""
    config = config_of(sizes, batch_size, gradient)
    hyper = jax.tree.map(jnp.float32, HYPER)
    keys = run_keys(jax.random.key(0), config)
    n = len(dataset.train.x)
    state = initial_state(keys.init, hyper, config, dataset.n_in, n, dataset.n_out)
    parts = jax.device_put((dataset.train, dataset.inputs(dataset.validation)))
    return Prepared(config, state, hyper, keys, parts, dataset.scale)


def ours(prepared: Prepared) -> Epoch:
    """The program of `train`; every call is an epoch with another order."""
    numbers = count()
    return lambda: run_epoch(*prepared.arguments(next(numbers)), config=prepared.config)


def batches(x: Any, y: Any, size: int, rng: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """All examples in a fresh order, as loops in Python take them."""
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        rows = order[start : start + size]
        yield x[rows], y[rows]


def cost(logits: Any, labels: Any) -> Any:
    """The mean cross-entropy, as JAX's own examples write it."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))


@jax.jit
def measured(logits: Any, labels: Any) -> Any:
    """The loss and the accuracy."""
    return cost(logits, labels), jnp.mean(jnp.argmax(logits, axis=1) == labels)


def in_a_loop(step: Any, start: Any, predict: Any, batch_size: int, data: Arrays) -> Epoch:
    """Epochs of a step in a Python loop, which goes on from what it returned; the model first."""
    rng, state = np.random.default_rng(0), start

    def epoch() -> Any:
        nonlocal state
        for x, y in batches(data.x, data.y, batch_size, rng):
            state = step(*state, x, y)
        return measured(predict(state[0], data.validation_x), data.validation_y)

    return epoch


def plain_jax(
    sizes: Sequence[int], batch_size: int, data: Arrays, on_device: bool = False
) -> Epoch:
    """JAX's from-scratch style: a jitted step with `jax.grad` in a Python loop.

    With `on_device`, the data are there, and the step gathers its batch itself.
    """
    rng = np.random.default_rng(0)
    params: Any = [
        (jnp.asarray(rng.normal(size=(a, b), scale=(2 / a) ** 0.5), jnp.float32), jnp.zeros(b))
        for a, b in pairwise(sizes)
    ]

    def predict(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    @jax.jit
    def step(params: Any, momenta: Any, x: Any, y: Any) -> Any:
        grads = jax.grad(lambda p: cost(predict(p, x), y))(params)
        momenta = jax.tree.map(lambda m, g: MOMENTUM * m + g, momenta, grads)
        return jax.tree.map(lambda p, m: p - RATE * m, params, momenta), momenta

    start = params, jax.tree.map(jnp.zeros_like, params)
    if not on_device:
        return in_a_loop(step, start, jax.jit(predict), batch_size, data)
    data = Arrays(*map(jax.device_put, data))
    places = np.arange(len(data.x))

    @jax.jit
    def gathering(params: Any, momenta: Any, rows: Any, _: Any, x: Any, y: Any) -> Any:
        return step(params, momenta, x[rows], y[rows])

    own = partial(gathering, x=data.x, y=data.y)
    places = data._replace(x=places, y=places)
    return in_a_loop(own, start, jax.jit(predict), batch_size, places)


def flax(sizes: Sequence[int], batch_size: int, data: Arrays) -> Epoch:
    """Flax NNX with optax: a jitted step in a Python loop."""
    nnx: Any = importlib.import_module("flax.nnx")
    optax: Any = importlib.import_module("optax")
    rngs = nnx.Rngs(0)
    layers: list[Any] = []
    for a, b in pairwise(sizes):
        layers += [nnx.Linear(a, b, rngs=rngs), nnx.relu]
    model = nnx.Sequential(*layers[:-1])
    optimizer = nnx.Optimizer(model, optax.sgd(RATE, MOMENTUM), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        optimizer.update(model, nnx.grad(lambda model: cost(model(x), y))(model))

    def step_on(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        step(model, optimizer, x, y)  # changes both
        return model, optimizer

    predict = nnx.jit(lambda model, x: model(x))
    return in_a_loop(step_on, (model, optimizer), predict, batch_size, data)


def equinox(sizes: Sequence[int], batch_size: int, data: Arrays) -> Epoch:
    """Equinox with optax: a filtered, jitted step in a Python loop."""
    eqx: Any = importlib.import_module("equinox")
    optax: Any = importlib.import_module("optax")
    keys = jax.random.split(jax.random.key(0), len(sizes))
    layers: list[Any] = []
    for key, (a, b) in zip(keys, pairwise(sizes), strict=False):
        layers += [eqx.nn.Linear(a, b, key=key), eqx.nn.Lambda(jax.nn.relu)]
    model = eqx.nn.Sequential(layers[:-1])
    optimizer = optax.sgd(RATE, MOMENTUM)

    @eqx.filter_jit
    def step(model: Any, opt_state: Any, x: Any, y: Any) -> Any:
        grads = eqx.filter_grad(lambda model: cost(jax.vmap(model)(x), y))(model)
        changes, opt_state = optimizer.update(grads, opt_state)
        return eqx.apply_updates(model, changes), opt_state

    start = model, optimizer.init(eqx.filter(model, eqx.is_array))
    predict = eqx.filter_jit(lambda model, x: jax.vmap(model)(x))
    return in_a_loop(step, start, predict, batch_size, data)


def torch_device() -> str:
    """PyTorch's name for where ours runs."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def pytorch(sizes: Sequence[int], batch_size: int, data: Arrays, compiled: bool) -> Epoch:
    """PyTorch, eager or with `torch.compile`, which records CUDA graphs on a GPU."""
    torch: Any = importlib.import_module("torch")
    device = torch_device()
    x, vx = (torch.tensor(each, device=device) for each in (data.x, data.validation_x))
    y, vy = (torch.tensor(each, device=device).long() for each in (data.y, data.validation_y))
    layers: list[Any] = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)

    def value(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(net(x), y)

    if compiled:
        value = torch.compile(value, mode="reduce-overhead", dynamic=False)  # CUDA graphs

    def epoch() -> Any:
        for rows in torch.randperm(len(x), device=device).split(batch_size):
            optimizer.zero_grad()
            value(x[rows], y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = net(vx)
            cost = torch.nn.functional.cross_entropy(logits, vy)
            return cost.item(), (logits.argmax(dim=1) == vy).float().mean().item()

    return epoch


def sklearn(sizes: Sequence[int], batch_size: int, data: Arrays) -> Epoch:
    """scikit-learn's MLPClassifier, an epoch at a time by `partial_fit`."""
    network: Any = importlib.import_module("sklearn.neural_network")
    log_loss: Any = importlib.import_module("sklearn.metrics").log_loss
    net = network.MLPClassifier(
        tuple(sizes[1:-1]), solver="sgd", batch_size=batch_size, alpha=0,
        learning_rate_init=RATE, momentum=MOMENTUM, nesterovs_momentum=False,
        random_state=np.random.RandomState(0),  # a number would give every epoch the same order
    )  # fmt: skip
    classes = np.arange(sizes[-1])

    def epoch() -> Any:
        with warnings.catch_warnings(action="ignore"):
            net.partial_fit(data.x, data.y, classes=classes)
        p = net.predict_proba(data.validation_x)
        return log_loss(data.validation_y, p), np.mean(p.argmax(axis=1) == data.validation_y)

    return epoch


def keras(sizes: Sequence[int], batch_size: int, data: Arrays) -> Epoch:
    """Keras on JAX, an epoch at a time by `fit`, which counts right answers in training too."""
    os.environ["KERAS_BACKEND"] = "jax"
    keras: Any = importlib.import_module("keras")
    hidden = [keras.layers.Dense(width, activation="relu") for width in sizes[1:-1]]
    net = keras.Sequential([keras.Input((sizes[0],)), *hidden, keras.layers.Dense(sizes[-1])])
    net.compile(
        keras.optimizers.SGD(RATE, MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    validation = data.validation_x, data.validation_y
    return lambda: (
        net.fit(
            data.x, data.y, batch_size=batch_size, epochs=1, verbose=0, validation_data=validation
        ).history
    )


PEERS: dict[str, Callable[[Sequence[int], int, Arrays], Epoch]] = {
    "a jitted step in a loop": plain_jax,
    "Flax NNX and optax": flax,
    "Equinox and optax": equinox,
    "PyTorch, eager": partial(pytorch, compiled=False),
    "PyTorch, torch.compile": partial(pytorch, compiled=True),
    "scikit-learn": sklearn,
    "Keras on JAX": keras,
}


def epochs_of(sizes: Sequence[int], batch_size: int, dataset: jaxmlp.Dataset) -> dict[str, Epoch]:
    """Everybody's epoch, by name; ours first."""
    data = arrays_of(dataset)
    found = {
        "jaxmlp": ours(prepare(sizes, batch_size, dataset)),
        "jaxmlp, jax.grad": ours(prepare(sizes, batch_size, dataset, "autodiff")),
    }
    for name, peer in PEERS.items():
        try:
            found[name] = peer(sizes, batch_size, data)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", flush=True)
    return found
