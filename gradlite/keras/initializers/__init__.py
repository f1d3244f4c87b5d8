"""keras.initializers: initial values of weights, by name or as objects; each is called as ``(shape, dtype)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlite.keras.initializers.constant import Constant, Identity, Initializer, Ones, Zeros
from gradlite.keras.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomInitializer,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    compute_fans,
)
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.keras.utils.registry import CustomObjectScope

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "constant",
    "def deserialize(config: Any, custom_objects: dict[str, Any] | None",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

_CLASSES: tuple[type[Initializer], ...] = (
    Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones, Orthogonal,
    RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling, Zeros,
)  # fmt: skip

# Keras's lower-case aliases, so that `initializers.he_normal()` works too.
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros

TABLE: dict[str, type[Initializer]] = {
    **{kind.__name__: kind for kind in _CLASSES},
    **{alias: kind for alias, kind in globals().items() if isinstance(kind, type) and kind in _CLASSES},
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "normal": RandomNormal,
    "uniform": RandomUniform,
    "one": Ones,
    "zero": Zeros,
}


def get(identifier: Any) -> Callable[..., np.ndarray] | None:
    """The initializer that a name, config, class, array, function or instance stands for; None for None.

    >>> from gradlite.keras import initializers
    >>> initializers.get("he_normal")
    HeNormal(seed=None)
    """
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    found: Callable[..., np.ndarray] | None = lookup("initializer", identifier, TABLE)
    return found


def serialize(initializer: Any) -> Any:
    """A config that ``get`` and ``deserialize`` understand."""
    return to_config("initializers", initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that ``serialize`` described."""
    with CustomObjectScope(custom_objects):
        return get(config)
