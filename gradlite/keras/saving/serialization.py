"""Objects as configs, plain data that JSON can hold, and back; only known classes are built and no code is stored."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradlite.keras.utils.lookup import suggest
from gradlite.keras.utils.registry import CustomObjectScope, get_registered_name, get_registered_object
from gradlite.tensor import Tensor

# Where names in a file may lead: these modules' public classes and functions, and nothing else.
_MODULES = (
    "layers",
    "models",
    "activations",
    "initializers",
    "regularizers",
    "constraints",
    "losses",
    "metrics",
    "optimizers",
    "optimizers.schedules",
)

# What Keras writes into configs for features that do not exist here, with the value that switches them off.
_KERAS_EXTRAS: dict[str, Any] = {
    "input_axes": None,
    "lora_alpha": None,
    "lora_rank": None,
    "optional": False,
    "output_axes": None,
    "quantization_config": None,
    "ragged": False,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "rms_scaling": False,
    "sparse": False,
    "synchronized": False,
}


def serialize_keras_object(target: Any) -> Any:
    """``target`` as plain data: a config for objects with ``get_config``, names for functions, lists for sequences.

    >>> from gradlite.keras import initializers
    >>> from gradlite.keras.saving import serialize_keras_object
    >>> serialize_keras_object(initializers.Ones())["class_name"]
    'Ones'
    """
    if target is None or isinstance(target, (str, bool, int, float)):
        return target
    if isinstance(target, np.generic):
        return target.item()
    if isinstance(target, np.dtype):
        return target.name
    if isinstance(target, (np.ndarray, Tensor)):
        values = target.numpy() if isinstance(target, Tensor) else target
        return {"class_name": "__numpy__", "config": {"value": values.tolist(), "dtype": values.dtype.name}}
    if isinstance(target, Mapping):
        return {str(key): serialize_keras_object(value) for key, value in target.items()}
    if isinstance(target, (list, tuple, set, frozenset)):
        return [serialize_keras_object(value) for value in target]
    if inspect.isroutine(target):
        return _function_config(target)
    if isinstance(target, type):
        raise ValueError(f"Cannot save the class {target.__name__}; pass an instance of it.")
    return _object_config(target)


def _function_config(function: Callable[..., Any]) -> dict[str, Any]:
    registered = get_registered_name(function)
    name = getattr(function, "__name__", repr(function))
    module = _module_of(function)
    if module is None and registered is None:
        warnings.warn(
            f"The function {name} is saved by its name only, because files hold no code. To load the file, pass "
            f"custom_objects={{{name!r}: ...}}, or register it with `keras.utils.register_keras_serializable`.",
            UserWarning,
            stacklevel=3,
        )
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def _object_config(target: Any) -> dict[str, Any]:
    if not callable(getattr(target, "get_config", None)):
        raise ValueError(
            f"Cannot save {target!r}: {type(target).__name__} has no `get_config()`. Give it one that returns the "
            "arguments of its constructor, and register the class with `keras.utils.register_keras_serializable`."
        )
    config: dict[str, Any] = {
        "module": _module_of(type(target)),
        "class_name": type(target).__name__,
        "config": serialize_keras_object(target.get_config()),
        "registered_name": get_registered_name(type(target)),
    }
    get_build_config = getattr(target, "get_build_config", None)
    build_config = get_build_config() if callable(get_build_config) else None
    if build_config:
        config["build_config"] = serialize_keras_object(build_config)
    return config


def _module_of(target: Any) -> str | None:
    """The public module of one of gradlite's own classes or functions, in Keras's naming; None for a user's."""
    path = getattr(target, "__module__", None) or ""
    if not path.startswith("gradlite.keras."):
        return None
    below = path.removeprefix("gradlite.keras.")
    found = [module for module in _MODULES if (below + ".").startswith(module + ".")]
    return f"keras.{max(found, key=len)}" if found else "keras"


def deserialize_keras_object(
    config: Any, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """What ``serialize_keras_object`` described.

    Names lead to ``custom_objects``, to registered objects and to gradlite's own public classes; a file cannot name
    anything else. Python code in a file (a lambda saved by Keras) is never run, whatever ``safe_mode`` is.

    >>> from gradlite.keras.saving import deserialize_keras_object
    >>> deserialize_keras_object({"module": "keras.initializers", "class_name": "Ones", "config": {}})
    Ones()
    """
    with CustomObjectScope(custom_objects):
        return _build(config)


def _build(config: Any) -> Any:
    if isinstance(config, (list, tuple)):
        return [_build(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _build(value) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    special = _SPECIAL.get(name)
    return special(inner) if special is not None else _instance(config)


def _instance(config: Mapping[str, Any]) -> Any:
    kind = _find(config)
    if not inspect.isclass(kind):
        return kind
    inner = dict(_without_extras(config)["config"] or {})
    if isinstance(inner.get("dtype"), Mapping):
        inner["dtype"] = _build(inner["dtype"])
    try:
        instance = kind.from_config(inner) if hasattr(kind, "from_config") else kind(**inner)
    except TypeError as error:
        raise TypeError(f"{config['class_name']} cannot be built from its config {inner!r}: {error}") from error
    build_config = config.get("build_config")
    if build_config and not getattr(instance, "built", True) and hasattr(instance, "build_from_config"):
        instance.build_from_config(_build(build_config))
    return instance


def _without_extras(config: Any) -> Any:
    """``config`` without what Keras says of features that are switched off and do not exist here, at any depth."""
    if isinstance(config, (list, tuple)):
        return [_without_extras(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    plain = {key: _without_extras(value) for key, value in config.items()}
    inner = plain.get("config")
    if isinstance(inner, dict) and str(plain.get("module")).startswith("keras"):
        kind = _public_objects(plain["module"]).get(plain.get("class_name", ""))
        accepted = inspect.signature(kind).parameters if kind is not None else {}
        for key, off in _KERAS_EXTRAS.items():
            if key in inner and key not in accepted and inner[key] == off:
                del inner[key]
    return plain


def _find(config: Mapping[str, Any]) -> Any:
    """The class or function that a config names."""
    class_name = config["class_name"]
    name = config["config"] if class_name == "function" else class_name
    for candidate in (config.get("registered_name"), name):
        found = get_registered_object(candidate) if isinstance(candidate, str) else None
        if found is not None:
            return found
    if not isinstance(name, str):
        raise ValueError(f"A config names its class by a string. Received: {name!r}.")
    known = _public_objects(str(config.get("module") or "keras"))
    if name in known:
        return known[name]
    raise ValueError(
        f"{name!r} is neither gradlite's nor registered.{suggest(name, known)} If it is yours, pass "
        f"custom_objects={{{name!r}: ...}}, or register it with `keras.utils.register_keras_serializable`."
    )


def _public_objects(module: str) -> dict[str, Any]:
    """gradlite's public classes and functions by name: those of ``module``, or all where it is not one of the list."""
    below = module.removeprefix("keras.").removeprefix("src.")
    asked = [known for known in _MODULES if below == known]
    objects: dict[str, Any] = {}
    for name in asked or _MODULES:
        path = f"gradlite.keras.{name}"
        try:
            namespace = vars(importlib.import_module(path))
        except ModuleNotFoundError as error:
            if error.name is None or not path.startswith(error.name):
                raise
            continue
        for key, value in namespace.items():
            is_kind = inspect.isclass(value) or inspect.isfunction(value)
            if is_kind and not key.startswith("_") and value.__module__.startswith("gradlite."):
                objects.setdefault(key, value)
    return objects


def _array(inner: Mapping[str, Any]) -> np.ndarray:
    return np.array(inner["value"], dtype=inner["dtype"])


def _refuse_code(inner: Any) -> Any:
    raise ValueError(
        "The file holds a lambda as Python bytecode, which could do anything and is never run here. Build the model in "
        "your own code and call `load_weights`, or save it again with a named, registered function."
    )


_SPECIAL: dict[Any, Callable[[Any], Any]] = {
    "__numpy__": _array,
    "__tensor__": _array,
    "__tuple__": lambda inner: tuple(_build(inner["items"])),
    "__lambda__": _refuse_code,
    "DTypePolicy": lambda inner: inner["name"],
}
