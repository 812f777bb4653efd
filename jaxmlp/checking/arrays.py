"""NumPy's arrays, of any dtype and shape."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]
else:  # when types are checked in tests: NumPy computes scalars from arrays without axes
    Array = np.ndarray | np.generic
