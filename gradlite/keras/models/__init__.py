"""keras.models: Model, Sequential, and models from files."""

from gradlite.keras.models.model import Model
from gradlite.keras.models.sequential import Sequential
from gradlite.keras.saving import load_model, save_model

__all__ = ["Model", "Sequential", "load_model", "save_model"]
