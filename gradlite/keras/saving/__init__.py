"""keras.saving: models and weights in files that cannot run code."""

from __future__ import annotations

from gradlite.keras.saving.archive import load_model, save_model
from gradlite.keras.saving.serialization import deserialize_keras_object, serialize_keras_object
from gradlite.keras.saving.weights import load_weights, save_weights
from gradlite.keras.utils.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
