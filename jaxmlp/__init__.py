"""jaxmlp: multilayer perceptrons whose gradient is written by hand, proved and property-tested.

The public names, which `__init__.pyi` lists, are imported when they are first used: a command that
needs no JAX need not wait for it.
"""

import lazy_loader

from jaxmlp.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
