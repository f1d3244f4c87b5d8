"""The base class Initializer, and the initializers that draw no random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.keras.backend import floatx

Shape = Sequence[int]


class Initializer:
    """Base of all initializers: ``initializer(shape, dtype)`` gives a NumPy array.

    Subclass it with ``__call__`` and, to be saved, ``get_config``.

    >>> import numpy as np
    >>> from gradlite.keras.initializers import Initializer
    >>> class Ramp(Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.linspace(0, 1, shape[0], dtype=dtype or "float32")
    >>> Ramp()((3,))
    array([0. , 0.5, 1. ], dtype=float32)
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} needs a method `__call__(self, shape, dtype=None)`.")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The initializer that ``get_config`` described."""
        return cls(**config)

    def clone(self) -> Initializer:
        """An initializer of the same configuration."""
        return type(self).from_config(self.get_config())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Zeros(Initializer):
    """All zeros.

    >>> from gradlite.keras.initializers import Zeros
    >>> Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.zeros(shape, dtype or floatx())


class Ones(Initializer):
    """All ones.

    >>> from gradlite.keras.initializers import Ones
    >>> Ones()((2,))
    array([1., 1.], dtype=float32)
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.ones(shape, dtype or floatx())


class Constant(Initializer):
    """All ``value``, a number or an array that broadcasts to the shape.

    >>> from gradlite.keras.initializers import Constant
    >>> Constant(3.0)((2,))
    array([3., 3.], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.full(shape, self.value, dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist() if isinstance(self.value, (np.ndarray, np.generic)) else self.value}


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, zero elsewhere.

    >>> from gradlite.keras.initializers import Identity
    >>> Identity()((2, 2))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(
                "Identity matrix initializer can only be used for 2D matrices. "
                f"Received: shape={tuple(shape)} of rank {len(shape)}."
            )
        dtype = np.dtype(dtype or floatx())
        return np.eye(*shape, dtype=dtype) * dtype.type(self.gain)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}
