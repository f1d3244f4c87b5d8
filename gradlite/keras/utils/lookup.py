"""Finding an initializer, loss, ... by name, config, class or instance, with the nearest names on failure."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from gradlite.keras.utils.registry import get_registered_name, get_registered_object


def suggest(name: str, candidates: Iterable[str]) -> str:
    """``" Did you mean 'he_normal'?"`` for a misspelt name, or the empty string if nothing is close.

    >>> from gradlite.keras.utils.lookup import suggest
    >>> suggest("he_norml", ["he_normal", "zeros"])
    " Did you mean 'he_normal'?"
    """
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=2, cutoff=0.6)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(by_lower[match]) for match in near) + "?"


def find(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry called ``name``: exactly, else a user's registered object, else ignoring case.

    ``kind`` is the word for error messages ("initializer"). Raises ValueError with the nearest names.
    """
    if name in table:
        return table[name]
    registered = get_registered_object(name)
    if registered is not None:
        return registered
    folded = {key.lower(): value for key, value in table.items()}
    if name.lower() in folded:
        return folded[name.lower()]
    hint = suggest(name, table) or f" Known names: {', '.join(sorted(table))}."
    raise ValueError(
        f"Could not interpret {kind} identifier: {name!r}.{hint} Your own can be passed as an object, or be named "
        "through `keras.utils.register_keras_serializable` or `custom_objects`."
    )


def lookup(kind: str, identifier: Any, table: Mapping[str, Any]) -> Any:
    """The object that ``identifier`` stands for.

    None gives None; a name gives the entry of ``table`` (an instance, if the entry is a class); a config
    ``{"class_name": ..., "config": {...}}`` is built through ``from_config``; a class is instantiated; any other
    callable or object with ``get_config`` is returned as it is. Everything else is a ValueError.

    >>> from gradlite.keras.utils.lookup import lookup
    >>> lookup("number", "FLOAT", {"float": float})
    0.0
    """
    if identifier is None:
        return None
    if isinstance(identifier, Mapping):
        return _from_config(kind, identifier, table)
    if isinstance(identifier, str):
        entry = find(kind, identifier, table)
        return entry() if inspect.isclass(entry) else entry
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier) or hasattr(identifier, "get_config"):
        return identifier
    raise ValueError(
        f"Could not interpret {kind} identifier: {identifier!r} of type {type(identifier).__name__}. "
        f"Expected a name such as {next(iter(table), 'none')!r}, a config dict, a callable or an instance."
    )


def _from_config(kind: str, config: Mapping[str, Any], table: Mapping[str, Any]) -> Any:
    name = config.get("registered_name") or config.get("class_name")
    if name == "function":  # how Keras writes a plain function
        return find(kind, str(config["config"]), table)
    if not isinstance(name, str):
        raise ValueError(f"A config of a {kind} needs a 'class_name'. Received: {dict(config)!r}.")
    if get_registered_object(name) is None:
        name = str(config.get("class_name") or name)
    entry = find(kind, name, table)
    arguments = dict(config.get("config") or {})
    if not inspect.isclass(entry):
        return entry
    from_config = getattr(entry, "from_config", None)
    return from_config(arguments) if callable(from_config) else entry(**arguments)


def to_config(module: str, target: Any) -> Any:
    """What ``lookup`` turns back into ``target``: ``{"module": "keras.losses", "class_name": ..., "config": ...}``.

    ``module`` is the part of keras where names of this kind live. A plain function becomes its name; None stays None.
    """
    if target is None or isinstance(target, (str, Mapping)):
        return target
    registered = get_registered_name(target if inspect.isroutine(target) else type(target))
    if inspect.isroutine(target):
        return registered or target.__name__
    if not callable(getattr(target, "get_config", None)):
        raise ValueError(
            f"Cannot save {target!r}: {type(target).__name__} has no `get_config()`. Give it one that returns the "
            "arguments of its constructor, and register the class with `keras.utils.register_keras_serializable`."
        )
    return {
        "module": None if registered else f"keras.{module}",
        "class_name": type(target).__name__,
        "config": target.get_config(),
        "registered_name": registered,
    }
