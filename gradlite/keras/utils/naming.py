"""Automatic names: snake case of the class with a counter per process, as in ``conv2d``, ``conv2d_1``, ``re_lu``."""

from __future__ import annotations

import re
from collections import Counter

_COUNTS: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """``"MaxPooling2D"`` as ``"max_pooling2d"``.

    >>> from gradlite.keras.utils.naming import snake_case
    >>> [snake_case(name) for name in ("Conv2D", "ReLU", "RMSprop", "BatchNormalization")]
    ['conv2d', 're_lu', 'rm_sprop', 'batch_normalization']
    """
    words = re.sub(r"\W+", "", name)
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", words)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def unique_name(class_name: str) -> str:
    """The next free automatic name of a class: ``dense``, then ``dense_1``, ``dense_2``, ..."""
    base = snake_case(class_name)
    count = _COUNTS[base]
    _COUNTS[base] += 1
    return f"{base}_{count}" if count else base


def clear_session(free_memory: bool = True) -> None:
    """Start automatic names again at ``dense``, ``conv2d``, ...

    ``free_memory`` is accepted as Keras does; memory is freed when the last reference to a model goes.

    >>> from gradlite.keras.utils.naming import clear_session, unique_name
    >>> clear_session()
    >>> unique_name("Dense"), unique_name("Dense")
    ('dense', 'dense_1')
    """
    _COUNTS.clear()
