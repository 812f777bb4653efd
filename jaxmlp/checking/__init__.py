"""Check a hand-written gradient: which line is wrong, why, and on what smallest network.

The public names, which `__init__.pyi` lists, are imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
