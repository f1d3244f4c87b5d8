"""Saving and loading weights, under Keras's names: ``layers/conv2d/vars/0``, ``optimizer/vars/0``."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradlite.keras.saving.files import existing, replacing, with_suffix
from gradlite.keras.saving.stores import Store, open_store, write_store
from gradlite.keras.utils.naming import snake_case

SUFFIXES = (".weights.npz", ".weights.h5")

_MOST_PROBLEMS = 8  # more of them in one message help nobody


def save_weights(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write the weights of ``model``, and the state of its optimizer, to a `.weights.npz` or `.weights.h5` file.

    The second needs h5py, and is laid out as Keras does it. The file is complete or not there.
    """
    path = with_suffix(filepath, SUFFIXES, "a file of weights")
    named = named_variables(model)
    if not named:
        raise ValueError(f"The model {_name_of(model)!r} has no weights yet; build it or call it first.")
    with replacing(path, overwrite) as temporary:
        write_store(temporary, arrays_of(model), path.endswith(".h5"), names_of_owners(model))


def load_weights(model: Any, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """Read weights that ``save_weights`` or Keras wrote into ``model``.

    Layers correspond by class and order, so that automatic names do not matter. Every name and shape is checked
    before anything is assigned: on ValueError the model is as it was. ``skip_mismatch`` leaves out, with a warning,
    what does not fit. The optimizer's state is restored if there is an optimizer that it fits, else a warning says so.
    """
    path = existing(filepath, SUFFIXES, "a file of weights")
    with open_store(path, path.endswith(".h5"), path) as store:
        restore(model, store, skip_mismatch)


def named_variables(model: Any) -> dict[str, Any]:
    """The model's variables by the names they are saved under, without the optimizer's."""
    return {name: variable for name, variable, _ in _walk(model, "")}


def names_of_owners(model: Any) -> dict[str, str]:
    """For each group of variables, ``layers/dense/vars``, the name of the layer that owns them."""
    owners = {name.rpartition("/")[0]: owner for name, _, owner in _walk(model, "")}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        owners["optimizer/vars"] = _name_of(optimizer)
    return owners


def _walk(owner: Any, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """``(name, variable, owner's name)`` of a model and all it is made of."""
    inner: set[int] = set()
    counts: Counter[str] = Counter()
    for layer in getattr(owner, "layers", None) or ():
        # By class, not by layer.name: automatic names differ between two models of one process.
        kind = snake_case(type(layer).__name__)
        part = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        for name, variable, of in _walk(layer, f"{prefix}layers/{part}/"):
            inner.add(id(variable))
            yield name, variable, of
    own = [variable for variable in owner.weights if id(variable) not in inner]
    for index, variable in enumerate(own):
        yield f"{prefix}vars/{index}", variable, _name_of(owner)


def arrays_of(model: Any) -> dict[str, np.ndarray]:
    """All that is saved, as NumPy arrays by name."""
    arrays = {name: np.asarray(variable.numpy()) for name, variable in named_variables(model).items()}
    optimizer = getattr(model, "optimizer", None)
    for index, variable in enumerate(getattr(optimizer, "variables", None) or ()):
        arrays[f"optimizer/vars/{index}"] = np.asarray(variable.numpy())
    return arrays


def restore(model: Any, store: Store, skip_mismatch: bool = False) -> None:
    """Assign what ``store`` holds, after checking that it fits."""
    expected = named_variables(model)
    stored = [name for name in store.names() if name.startswith(("layers/", "vars/")) and "seed_generator" not in name]
    if stored and not expected:
        raise ValueError(
            f"{store.where} cannot be loaded into the model {_name_of(model)!r}, which has no weights yet. "
            "Build it first: give it an Input, call it on data, or use `model.build(input_shape)`."
        )
    problems = _problems(model, expected, stored, store)
    if problems and not skip_mismatch:
        shown = list(problems.values())[:_MOST_PROBLEMS]
        more = f"\n  and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise ValueError(
            f"{store.where} does not fit the model {_name_of(model)!r}; nothing was changed:\n  "
            + "\n  ".join(shown)
            + more
        )
    for problem in problems.values():
        warnings.warn(f"Skipped while loading {store.where}: {problem}", UserWarning, stacklevel=3)
    # All arrays are read before the first is assigned: a damaged file shows itself here.
    values = {name: store.read(name) for name in expected if name not in problems}
    state = _optimizer_state(model, store)
    for name, value in values.items():
        expected[name].assign(value)
    for variable, value in state:
        variable.assign(value)


def _problems(model: Any, expected: dict[str, Any], stored: list[str], store: Store) -> dict[str, str]:
    owners = names_of_owners(model)
    problems = {}
    for name, variable in expected.items():
        owner = owners[name.rpartition("/")[0]]
        if name not in stored:
            problems[name] = f"{name} (layer {owner!r}, shape {tuple(variable.shape)}) is not in the file"
        elif store.shape(name) != tuple(variable.shape):
            problems[name] = (
                f"{name} (layer {owner!r}) has shape {store.shape(name)} in the file and "
                f"{tuple(variable.shape)} in the model"
            )
    for name in stored:
        if name not in expected:
            problems[name] = f"{name} of shape {store.shape(name)} is in the file, and the model has no place for it"
    return problems


def _optimizer_state(model: Any, store: Store) -> list[tuple[Any, np.ndarray]]:
    """``(variable, value)`` for the model's optimizer: all of its state, or nothing."""
    names = [name for name in store.names() if name.startswith("optimizer/vars/")]
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not names:
        return []
    if not getattr(optimizer, "built", True):
        optimizer.build(model.trainable_variables)
    variables = list(optimizer.variables)
    # Keras writes no second-moment variable it has not made yet; fewer or other variables mean another optimizer.
    shapes = {f"optimizer/vars/{index}": tuple(variable.shape) for index, variable in enumerate(variables)}
    if shapes != {name: store.shape(name) for name in names}:
        warnings.warn(
            f"The optimizer's state in {store.where} does not fit {type(optimizer).__name__}; it starts afresh.",
            UserWarning,
            stacklevel=4,
        )
        return []
    return [(variable, store.read(name)) for variable, name in zip(variables, shapes)]


def _name_of(target: Any) -> str:
    return str(getattr(target, "name", type(target).__name__))
