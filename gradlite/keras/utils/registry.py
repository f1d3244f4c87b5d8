"""Names of users' own classes and functions, by which saved files refer to them; a file carries no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

Registered = TypeVar("Registered", bound=Callable[..., Any])

_OBJECTS: dict[str, Any] = {}
_SCOPES: list[Mapping[str, Any]] = []


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Registered], Registered]:
    """Decorator that makes a class or function known to saved files, as ``package>name``.

    A class needs ``get_config()``. Registering another object under a name that is taken replaces it, so that
    a notebook cell can be run twice.

    >>> from gradlite.keras.utils.registry import register_keras_serializable, get_registered_object
    >>> @register_keras_serializable("doc")
    ... def doubled(x):
    ...     return 2 * x
    >>> get_registered_object("doc>doubled") is doubled
    True
    """

    def register(target: Registered) -> Registered:
        if isinstance(target, type) and not callable(getattr(target, "get_config", None)):
            raise ValueError(
                f"Cannot register {target.__name__}: a class that is saved needs a `get_config()` method "
                "that returns the arguments of its constructor."
            )
        _OBJECTS[f"{package}>{name or target.__name__}"] = target
        return target

    return register


def get_registered_name(target: Any) -> str | None:
    """The ``package>name`` under which ``target`` was registered, or None."""
    for name, registered in _OBJECTS.items():
        if registered is target:
            return name
    return None


def get_registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What a user's ``name`` stands for: in ``custom_objects``, then the open scopes (inner first), then the registry.

    A name without its ``package>`` finds a registered object too, as long as only one package has it. None if unknown.
    """
    short = name.rpartition(">")[2]
    for table in (custom_objects or {}, *reversed(_SCOPES)):
        for key in (name, short):
            if key in table:
                return table[key]
    if name in _OBJECTS:
        return _OBJECTS[name]
    found = [target for key, target in _OBJECTS.items() if key.rpartition(">")[2] == name]
    return found[0] if len(found) == 1 else None


def get_custom_objects() -> dict[str, Any]:
    """The registry itself: a dict that may be changed in place."""
    return _OBJECTS


class CustomObjectScope:
    """Within ``with CustomObjectScope({"name": object}):`` the names are known wherever names are looked up.

    >>> from gradlite.keras.utils.registry import CustomObjectScope, get_registered_object
    >>> with CustomObjectScope({"tripled": lambda x: 3 * x}):
    ...     get_registered_object("tripled")(2)
    6
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        self.custom_objects = dict(custom_objects or {})

    def __enter__(self) -> CustomObjectScope:
        _SCOPES.append(self.custom_objects)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SCOPES.pop()


custom_object_scope = CustomObjectScope
