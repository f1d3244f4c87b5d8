"""The `.keras` file: a zip of metadata.json, config.json and model.weights.npz, none of which can run code."""

from __future__ import annotations

import datetime
import io
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from gradlite.keras.saving.files import existing, replacing, with_suffix
from gradlite.keras.saving.serialization import deserialize_keras_object, serialize_keras_object
from gradlite.keras.saving.stores import open_store, write_store
from gradlite.keras.saving.weights import arrays_of, names_of_owners, restore
from gradlite.keras.utils.registry import CustomObjectScope
from gradlite.version import __version__

SUFFIXES = (".keras",)

_FORMAT = 1


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model to a `.keras` file: architecture, weights, how it was compiled, and the optimizer's state.

    The file is complete or not there: it is written beside its place and moved there. Functions of your own are saved
    by name (see ``keras.utils.register_keras_serializable``).

    Raises:
        ValueError: for another ending, or a part of the model that has no ``get_config``.
        FileExistsError: if there is a file and ``overwrite`` is False.
    """
    path = with_suffix(filepath, SUFFIXES, "a model file")
    if path.endswith(".weights.keras"):
        raise ValueError(f"A file of weights ends in .weights.npz or .weights.h5. Received: {path}")
    config = serialize_keras_object(model)
    config["compile_config"] = _compile_config(model)
    metadata = {
        "gradlite_version": __version__,
        "format": _FORMAT,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    with replacing(path, overwrite) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config, indent=1))
        with archive.open("model.weights.npz", "w", force_zip64=True) as member:
            write_store(member, arrays_of(model), False, names_of_owners(model))


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Build the model that a `.keras` file describes, with its weights and, if ``compile``, its optimizer.

    Args:
        filepath: a file written by ``model.save``, here or (with h5py installed) by Keras 3.
        custom_objects: your own classes and functions by name.
        compile: compile the model as it was.
        safe_mode: accepted as Keras does; no code in a file is ever run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is damaged, foreign, or names a class that is not known. It says which part.
    """
    path = existing(filepath, SUFFIXES, "a model file")
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a complete .keras file ({error}).") from None
    with archive, CustomObjectScope(custom_objects):
        config = _read_json(archive, "config.json", path)
        _check_version(archive, path)
        model = deserialize_keras_object(config, safe_mode=safe_mode)
        _build(model, config.get("build_config"))
        compile_config = config.get("compile_config")
        if compile and compile_config:
            _compile(model, compile_config, path)
        _read_weights(model, archive, path)
    return model


def _read_weights(model: Any, archive: zipfile.ZipFile, path: str) -> None:
    for member, hdf5 in (("model.weights.npz", False), ("model.weights.h5", True)):
        if member in archive.namelist():
            content = io.BytesIO(_read(archive, member, path))
            with open_store(content, hdf5, f"{member} in {path}") as store:
                restore(model, store)
            return
    raise ValueError(f"{path} is not a complete .keras file: it holds no model.weights.npz.")


def _read(archive: zipfile.ZipFile, member: str, path: str) -> bytes:
    if member not in archive.namelist():
        raise ValueError(f"{path} is not a complete .keras file: it holds no {member}.")
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged at {member} ({error}).") from None


def _read_json(archive: zipfile.ZipFile, member: str, path: str) -> Any:
    data = _read(archive, member, path)
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{path} is damaged at {member} ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged at {member}: expected an object, found {type(content).__name__}.")
    return content


def _check_version(archive: zipfile.ZipFile, path: str) -> None:
    metadata = _read_json(archive, "metadata.json", path)
    if metadata.get("format", 0) > _FORMAT:
        raise ValueError(
            f"{path} was written by gradlite {metadata.get('gradlite_version')}, in a newer format than this version "
            f"({__version__}) can read. Update gradlite."
        )


def _build(model: Any, build_config: Any) -> None:
    if not build_config or getattr(model, "built", True):
        return
    if hasattr(model, "build_from_config"):
        model.build_from_config(build_config)
    elif "input_shape" in build_config:
        model.build(build_config["input_shape"])


def _compile_config(model: Any) -> Any:
    """How the model was compiled; None, with a warning, where a part of it cannot be written down."""
    get_config = getattr(model, "get_compile_config", None)
    try:
        return serialize_keras_object(get_config() if callable(get_config) else None)
    except ValueError as error:
        warnings.warn(f"How the model was compiled is not saved: {error}", UserWarning, stacklevel=3)
        return None


def _compile(model: Any, config: Mapping[str, Any], path: str) -> None:
    try:
        if hasattr(model, "compile_from_config"):
            model.compile_from_config(config)
        else:
            model.compile(**deserialize_keras_object(config))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The model in {path} cannot be compiled as it was: {error} "
            "Pass `compile=False` to load it without, and compile it yourself."
        ) from error
