"""keras.utils: helpers that scripts call by name."""

from __future__ import annotations

from gradlite.keras.utils.naming import clear_session
from gradlite.keras.utils.numerical import normalize, to_categorical
from gradlite.keras.utils.progress_bar import Progbar
from gradlite.keras.utils.py_dataset import PyDataset
from gradlite.keras.utils.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from gradlite.keras.utils.seed import set_random_seed

# The name that tf.keras 2 used.
Sequence = PyDataset

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "register_keras_serializable",
    "set_random_seed",
    "to_categorical",
]
