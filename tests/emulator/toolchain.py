"""Running g++, and keeping what it made in a cache on disk.

A file's name in the cache is a hash of everything that went into it, so nothing is ever stale; it is built under
another name and moved into place, so processes that build the same file at once do not disturb each other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import EmulatorError

HERE = Path(__file__).resolve().parent


@functools.cache
def cache_folder() -> Path:
    """$GRADLITE_EMULATOR_CACHE, or a folder in the user's cache, or in the temporary folder where that fails."""
    chosen = os.environ.get("GRADLITE_EMULATOR_CACHE")
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    temporary = Path(tempfile.gettempdir()) / f"gradlite-emulator-{os.getuid()}"
    for folder in [Path(chosen)] if chosen else [user_cache / "gradlite-emulator", temporary]:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise EmulatorError("no folder to keep compiled kernels in; set GRADLITE_EMULATOR_CACHE to one that is writable")


@functools.cache
def _machine() -> str:
    """What -march=native depends on, and the compiler: part of every file's hash."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {features} {run_compiler(['--version'], 'g++ --version')}"


@functools.cache
def folder_text(folder: str) -> str:
    """All files of one of the emulator's own folders, to be hashed."""
    return "".join(f"{path.name}\n{path.read_text()}" for path in sorted((HERE / folder).iterdir()))


def cached(suffix: str, *parts: str, build: Callable[[Path], None]) -> Path:
    """The file in the cache that ``parts`` determine; where it is missing, ``build`` is called to write it."""
    digest = hashlib.sha256("\0".join([_machine(), *parts]).encode()).hexdigest()[:32]
    file = cache_folder() / f"{digest}{suffix}"
    if file.exists():
        os.utime(file)  # in use: see _remove_old
    else:
        _remove_old()
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            made = Path(scratch) / file.name
            build(made)
            os.replace(made, file)
    return file


def _remove_old(days: int = 30) -> None:
    """Removes files from the cache that no process has loaded for so many days."""
    for file in cache_folder().glob("*.so"):
        with contextlib.suppress(OSError):  # another process may do the same
            if time.time() - file.stat().st_mtime > days * 24 * 3600:
                file.unlink()


def run_compiler(arguments: Sequence[str], what: str, text: str | None = None) -> str:
    """Runs g++, with ``text`` as its input; returns what it printed, or raises with its errors."""
    if shutil.which("g++") is None:
        raise EmulatorError("the CUDA emulator needs g++ (install the package g++), which is not on PATH")
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True, input=text)
    if done.returncode != 0:
        raise EmulatorError(f"{what} does not compile:\n{done.stderr.strip()}")
    return done.stdout
