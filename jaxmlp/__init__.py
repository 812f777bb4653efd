"""jaxmlp: multilayer perceptrons whose gradient is written by hand, proved and property-tested."""

from jaxmlp.data import Batch, Dataset
from jaxmlp.data.loaders import load_digits, load_idx, load_mnist, load_npz, load_table
from jaxmlp.data.splitting import split_dataset
from jaxmlp.gradient import manual_grad, manual_value_and_grad
from jaxmlp.losses import accuracy, loss
from jaxmlp.network import forward
from jaxmlp.params import Layer, Params, init_params
from jaxmlp.results import Metrics, Result
from jaxmlp.settings import Config, Hyperparams
from jaxmlp.sweeps import sweep
from jaxmlp.training import train
from jaxmlp.version import __version__
