"""DTypePolicy: the types that layers keep weights in and compute in, and the policy of layers that are given none.

Mixed precision keeps float32 weights, which small updates do not get lost in, and computes in 16 bits, which takes half
the memory and what tensor cores multiply (Micikevicius et al., "Mixed Precision Training", ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlite.backends.dtypes import as_dtype
from gradlite.keras.backend import floatx
from gradlite.keras.utils.lookup import suggest

__all__ = ["DTypePolicy", "deserialize", "dtype_policy", "get", "serialize", "set_dtype_policy"]

MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
FLOATS = ("float16", "bfloat16", "float32", "float64")


class DTypePolicy:
    """What a layer computes in and what its weights are.

    Args:
        name: "mixed_float16" or "mixed_bfloat16" (float32 weights, 16-bit computation), or a type's name for both.

    Raises:
        ValueError: for a name that is none of these.
        ImportError: for bfloat16 without the package ml_dtypes.

    >>> from gradlite import keras
    >>> policy = keras.DTypePolicy("mixed_float16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'float16')
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"A dtype policy is named by a string such as 'mixed_float16'. Received: {name!r}.")
        self._compute_dtype = MIXED.get(name, name)
        self._variable_dtype = "float32" if name in MIXED else name
        try:
            as_dtype(self._compute_dtype)
        except TypeError:
            known = (*MIXED, *FLOATS)
            raise ValueError(
                f"Unknown dtype policy {name!r}.{suggest(name, known)} "
                f"A policy is one of {', '.join(map(repr, known))}, or the name of another dtype."
            ) from None
        self._name = name

    @property
    def name(self) -> str:
        """The name that it was made with."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The type that a layer computes in: inputs and weights are converted to it, and outputs have it."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The type of a layer's weights."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> None:
        """Always None: weights are not quantized."""
        return None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DTypePolicy:
        """A policy from what ``get_config`` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


_policy: DTypePolicy | None = None  # what was set; None: as floatx() says


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are made without a ``dtype``: the one set, else ``floatx()`` for everything.

    >>> from gradlite import keras
    >>> keras.config.dtype_policy()
    <DTypePolicy "float32">
    """
    return DTypePolicy(floatx()) if _policy is None else _policy


def set_dtype_policy(policy: str | DTypePolicy | None) -> None:
    """Set the policy of layers and models that are made from now on; None goes back to ``floatx()``.

    Raises:
        ValueError: for an unknown name; the policy stays what it was.
        ImportError: for bfloat16 without the package ml_dtypes.

    >>> from gradlite import keras
    >>> keras.mixed_precision.set_global_policy("mixed_float16")
    >>> keras.layers.Dense(2).compute_dtype
    'float16'
    >>> keras.mixed_precision.set_global_policy("float32")
    """
    global _policy
    chosen = None if policy is None else get(policy)
    if chosen is not None and chosen.compute_dtype not in FLOATS:
        raise ValueError(
            f"The global policy is that of floating-point layers, one of {', '.join(map(repr, (*MIXED, *FLOATS)))}. "
            f"Received: {policy!r}."
        )
    _policy = chosen


def get(identifier: Any) -> DTypePolicy:
    """The policy that a layer's ``dtype=`` means: a policy, its name or config, a type, or None for the global one."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, str):
        return DTypePolicy(identifier)
    try:
        return DTypePolicy(as_dtype(identifier).name)
    except TypeError:
        raise ValueError(
            f"A dtype is a policy such as 'mixed_float16', or a type such as 'float32'. Received: {identifier!r}."
        ) from None


def serialize(policy: DTypePolicy) -> dict[str, Any]:
    """The policy as Keras writes it into configs.

    >>> from gradlite.keras import dtype_policies
    >>> dtype_policies.serialize(dtype_policies.get("float32"))["config"]
    {'name': 'float32'}
    """
    config = {"module": "keras", "class_name": "DTypePolicy", "config": policy.get_config()}
    return {**config, "registered_name": None}


def deserialize(config: Mapping[str, Any]) -> DTypePolicy:
    """The policy that ``serialize`` described.

    Raises:
        ValueError: for another kind of object, such as one of Keras's quantized policies.
    """
    if config.get("class_name") != "DTypePolicy" or not isinstance(config.get("config"), Mapping):
        raise ValueError(f"A dtype policy's config says class_name 'DTypePolicy'. Received: {dict(config)!r}.")
    return DTypePolicy.from_config({"name": config["config"]["name"]})
