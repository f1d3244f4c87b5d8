"""Data in structures: one array, or lists, tuples and dicts of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array, a Tensor or anything else with a shape, such as a table of pandas."""
    return hasattr(x, "shape") and (hasattr(x, "dtype") or hasattr(x, "__array__"))


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """``function`` of every array, in the same structure; None stays None."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        return {key: map_structure(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(map_structure(function, value) for value in structure)
    return function(structure)


def flatten(structure: Any) -> list[Any]:
    """All arrays, in order."""
    if structure is None:
        return []
    if isinstance(structure, dict):
        return [leaf for value in structure.values() for leaf in flatten(value)]
    if isinstance(structure, (list, tuple)):
        return [leaf for value in structure for leaf in flatten(value)]
    return [structure]


def named(structure: Any, name: str) -> list[tuple[str, Any]]:
    """All arrays with names for messages: ``x``, ``x[0]``, ``x['image']``."""
    if structure is None:
        return []
    if isinstance(structure, dict):
        return [pair for key, value in structure.items() for pair in named(value, f"{name}[{key!r}]")]
    if isinstance(structure, (list, tuple)):
        return [pair for i, value in enumerate(structure) for pair in named(value, f"{name}[{i}]")]
    return [(name, structure)]
