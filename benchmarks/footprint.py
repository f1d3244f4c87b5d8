"""What a library costs before it computes: how long its import takes, how large it is installed."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import gradlite

IMPORTS = {
    "python": "pass",
    "gradlite-numpy": "import gradlite",
    "gradlite-cpu": "import gradlite",
    "torch-eager": "import torch",
    "keras-jax": "import keras",
    "keras-tensorflow": "import keras",
    "jax-jit": "import jax",
}
DISTRIBUTIONS = {
    "gradlite-numpy": ("gradlite",),
    "gradlite-cpu": ("gradlite", "numba"),
    "torch-eager": ("torch",),
    "keras-jax": ("keras", "jax"),
    "keras-tensorflow": ("keras", "tensorflow", "tensorflow-cpu"),
    "jax-jit": ("jax",),
}


def installed_bytes(names: tuple[str, ...]) -> int:
    """Bytes of the files of distributions and of all that they require, as far as it is installed."""
    found: dict[str, int] = {}
    waiting = list(names)
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        found[name] = _own_bytes(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        # What an extra brings is not required; markers of other systems name what is not installed.
        required = [line for line in required if "extra" not in line]
        waiting += [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in required]
    return sum(found.values())


def _own_bytes(name: str) -> int:
    if name == "gradlite":  # which may be installed as a link to its source
        root = Path(gradlite.__file__).parent
        return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    try:
        paths = [Path(str(file.locate())) for file in metadata.files(name) or []]
    except metadata.PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
