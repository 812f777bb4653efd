"""NumPy's arrays, of any dtype and shape."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
