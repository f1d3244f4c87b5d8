"""From CUDA text to a loaded module.

The text is preprocessed alone first, then rewritten (rewrite.py), then compiled with the emulator's headers in front.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

from .module import Module
from .rewrite import find_entries, rewrite
from .settings import current_settings
from .toolchain import HERE, cached, folder_text, run_compiler

_COMMON_FLAGS = [
    "-std=c++17",
    "-fPIC",
    "-g1",
    "-march=native",
    "-ffp-contract=fast",  # nvcc contracts a * b + c too
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-fno-rtti",
    "-fsigned-char",
    "-w",  # NVRTC's warnings are the ones that count
]
_SANITIZERS = "thread,bounds,alignment,shift,integer-divide-by-zero,signed-integer-overflow"
_PROFILE_FLAGS = {
    "fast": ["-O2", "-funroll-loops"],
    # If-conversion would make stores unconditional, and so invent races.
    "checked": ["-O1", f"-fsanitize={_SANITIZERS}", "-fno-sanitize-recover=all", "-fno-tree-loop-if-convert"],
}


def compile(source: str, options: Sequence[str] = (), name: str = "kernels.cu", arch: int = 80) -> Module:
    """Compiles CUDA text whose kernels are ``extern "C" __global__ void [__launch_bounds__(n)] name(parameters)``.

    Args:
        source: the text.
        options: as for NVRTC; ``-DNAME[=VALUE]`` and ``-Ifolder`` (and their long forms) count, others are ignored.
        name: the file's name in messages.
        arch: the compute capability to emulate, 80 for 8.0: ``__CUDA_ARCH__`` is ten times that.

    Returns:
        The module. It is built for the profile in use now, and for another when a launch first needs that.

    Raises:
        EmulatorError: with the compiler's messages, where the text does not compile.
    """
    definitions, folders = _read_options(options)
    own = [f"-D{definition}" for definition in definitions] + [f"-I{folder}" for folder in folders]
    included = "".join(_texts_of(folder) for folder in folders)

    def build(profile: str) -> Path:
        flags = [*_COMMON_FLAGS, *_PROFILE_FLAGS[profile], "-DEMU_SHIM=1", f"-D__CUDA_ARCH__={arch * 10}"]
        parts = [source, name, included, " ".join(own + flags), folder_text("include"), _own_text()]
        return cached(".so", *parts, build=lambda target: _build(source, name, own, flags, target))

    module = Module(build, name)
    module.load(current_settings().profile)
    return module


def _read_options(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """The definitions and the folders to look for included files in."""
    definitions: list[str] = []
    folders: list[str] = []
    spellings = [
        (("--define-macro=", "-D"), definitions),
        (("--include-path=", "-I"), folders),
    ]
    rest = list(options)
    while rest:
        option = rest.pop(0)
        for prefixes, values in spellings:
            prefix = next((prefix for prefix in prefixes if option.startswith(prefix)), None)
            if prefix is not None:
                values.append(option[len(prefix) :] or rest.pop(0))
    return definitions, folders


def _texts_of(folder: str) -> str:
    files = sorted(path for path in Path(folder).iterdir() if path.suffix in (".cuh", ".h", ".cu"))
    return "".join(f"{path.name}\n{path.read_text()}" for path in files)


@functools.cache
def _own_text() -> str:
    return (HERE / "rewrite.py").read_text()


def _build(source: str, name: str, own: list[str], flags: list[str], target: Path) -> None:
    """Compiles to ``target``; ``own`` are the text's definitions and folders, which our headers must not see."""
    preprocess = ["-E", "-fno-working-directory", "-x", "c++", "-D__CUDACC__", "-D__CUDACC_RTC__", *flags, *own, "-"]
    text = run_compiler(preprocess, name, f'# 1 "{name}"\n{source}')
    text = re.sub(r'^# \d+ "<(?:stdin|built-in|command-line)>".*$', "", text, flags=re.M)
    # Under the kernel file's own name, which the debugging information repeats.
    rewritten, made = target.with_name(Path(name).name), target.with_suffix(".o")
    rewritten.write_text(rewrite(text, find_entries(text)))
    header = str(HERE / "include" / "emulator.h")
    run_compiler(["-c", *flags, "-include", header, "-o", str(made), "-x", "c++", str(rewritten)], name)
    # Linked without -fsanitize: the runtime supplies the hooks.
    run_compiler(["-shared", "-o", str(target), str(made)], name)
