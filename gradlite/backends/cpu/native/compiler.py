"""Native kernels from source to address: compiled once by Numba and LLVM, kept on disk, loaded by LLVM alone.

A kernel is a function in ``bodies/`` that Numba can compile, with the signature ``(part, parts, words)``; a
micro-kernel is written by a generator. Objects lie in a folder named by all that they depend on, so that a change of
the sources, of Numba or of the processor makes them anew, and a process that finds its kernels there never imports
Numba.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from gradlite.backends.cpu.native.target import host_target

HERE = Path(__file__).parent
# The modules in bodies/ that have kernels, and the files of generated functions.
FAMILIES = (
    "adam",
    "convolution",
    "elementwise",
    "normalization",
    "numbers",
    "optimizers",
    "pooling",
    "products",
    "random",
    "reductions",
    "rows",
    "softmax",
    "winograd",
)
GENERATORS = ("team", "tiles", "transforms", "pixels")
# Which of them kernels of a family call.
CALLED = {
    "adam": ("tiles",),
    "convolution": ("tiles", "pixels"),
    "normalization": ("pixels",),
    "pooling": ("pixels",),
    "products": ("tiles",),
    "winograd": ("tiles", "transforms", "pixels"),
}
# How the names of generated functions begin.
GENERATED = "gradlite_"
# What a kernel may call that is not in its own object: the micro-kernels, and functions of the C library.
ALLOWED = (GENERATED, "llvm.", "mem", "exp", "log", "tanh", "pow", "sqrt", "fma")


class CompilerError(RuntimeError):
    """A kernel that could not be compiled, or loaded."""


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``GRADLITE_CACHE_DIR``, or the user's folder for such files."""
    chosen = os.environ.get("GRADLITE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "gradlite"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/gradlite").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gradlite"


@cache
def object_folder() -> Path:
    """The folder for objects of these sources, made by these versions, for this processor."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("*.ll"), *(HERE / "bodies").glob("*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    versions = [metadata.version(name) for name in ("numba", "llvmlite")]
    digest.update(repr((versions, host_target(), sys.platform)).encode())
    return cache_folder() / f"cpu-{digest.hexdigest()[:16]}"


class _Library:
    """What is loaded in this process."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.machine = _new_machine()
        self._llvm = llvm
        self._engines: list[Any] = []  # which own the code
        self._addresses: dict[str, int] = {}
        self._generated: set[str] = set()

    def address(self, kernel: str) -> int:
        """Where the code of ``"family.function"`` or of a generated function is."""
        found = self._addresses.get(kernel)
        if found is not None:
            return found
        is_generated = kernel.startswith(GENERATED)
        for name in GENERATORS if is_generated else CALLED.get(kernel.partition(".")[0], ()):
            if name not in self._generated and kernel not in self._addresses:
                self._load(name, partial(_generated, name, self.machine))
                self._generated.add(name)
        if not is_generated:
            self._load(kernel, partial(_compiled_kernel, kernel, self.machine))
        return self._addresses[kernel]

    def _load(self, name: str, make: Callable[[], tuple[list[str], bytes]]) -> None:
        """Load an object from disk; where it is not there, make it, and keep it."""
        path = object_folder() / f"{name}.o"
        index = path.with_suffix(".names")
        try:
            names, code = index.read_text().split(), path.read_bytes()
        except OSError:
            with _told(f"Compiling CPU kernels, once: {name}"):
                names, code = make()
            _keep(path, code)
            _keep(index, "\n".join(names).encode())
        engine = self._llvm.create_mcjit_compiler(self._llvm.parse_assembly(""), _new_machine())
        engine.add_object_file(self._llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        for symbol in names:
            address = engine.get_function_address(symbol)
            if not address:
                raise CompilerError(f"The compiled kernel {name!r} has no function {symbol!r}. Delete {path}.")
            self._llvm.add_symbol(symbol, address)  # for kernels that are loaded later
            self._addresses[symbol if symbol.startswith(GENERATED) else name] = address
        self._engines.append(engine)


def _new_machine() -> Any:
    """LLVM's machine for the target; an engine owns the one it is made with, so each gets its own."""
    import llvmlite.binding as llvm

    target = host_target()
    triple = llvm.Target.from_triple(llvm.get_process_triple())
    return triple.create_target_machine(cpu=target.cpu, features=target.features, opt=3)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say on a terminal what takes so long, and take it back when it is done."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    if shown:
        print(f"\r{what:<79}", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(f"\r{'':<79}\r", end="", file=sys.stderr, flush=True)


def _keep(path: Path, data: bytes) -> None:
    """Write a file in one piece; a folder that cannot be written means compiling again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    except OSError:
        pass


def _generated(name: str, machine: Any) -> tuple[list[str], bytes]:
    """The functions and the object of a file of micro-kernels."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    if name == "team":
        source = (HERE / "team.ll").read_text() + _pause(machine.triple)
    else:
        module = ir.Module(name)
        import_module(f"{__package__}.{name}").generate(module, host_target())
        source = str(module)
    parsed = llvm.parse_assembly(source)
    parsed.verify()
    optimized(parsed, machine)
    names = [f.name for f in parsed.functions if not f.is_declaration and f.linkage == llvm.Linkage.external]
    return names, machine.emit_object(parsed)


def _pause(triple: str) -> str:
    """What a thread does between two looks at a word that another will change."""
    if triple.startswith(("x86_64", "i686")):
        call, declaration = "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"
    elif triple.startswith(("aarch64", "arm64")):
        call, declaration = "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"
    else:
        call, declaration = "", ""
    return f"{declaration}\ndefine internal void @pause() {{\n  {call}\n  ret void\n}}\n"


def optimized(module: Any, machine: Any) -> None:
    """Run LLVM's usual passes over a module."""
    import llvmlite.binding as llvm

    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def _compiled_kernel(name: str, machine: Any) -> tuple[list[str], bytes]:
    """The symbol and the object of a kernel, ``"family.function"``."""
    from gradlite.backends.cpu.native.bodies import BODIES

    import_module(f"{__package__}.bodies.{name.partition('.')[0]}")
    return _compiled(name, BODIES[name], machine)


def _compiled(name: str, body: Callable[..., None], machine: Any) -> tuple[list[str], bytes]:
    """The symbol and the object of one kernel."""
    import llvmlite.binding as llvm
    import numba

    from gradlite.backends.cpu.native.bodies import FAST_MATH

    signature = numba.types.void(numba.types.int64, numba.types.int64, numba.types.CPointer(numba.types.int64))
    callback = numba.cfunc(signature, error_model="numpy", fastmath=FAST_MATH)(body)
    module = llvm.parse_assembly(callback.inspect_llvm())
    symbol = f"kernel_{name.replace('.', '_')}"
    module.get_function(callback.native_name).name = symbol
    module.get_function(symbol).linkage = llvm.Linkage.external
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = llvm.Linkage.internal
    optimized(module, machine)
    strange = [f.name for f in module.functions if f.is_declaration and not f.name.startswith(ALLOWED)]
    if strange:
        raise CompilerError(
            f"The kernel {name!r} calls {', '.join(strange)}, so it can raise an error, or needs Numba when it runs. "
            "Write it without."
        )
    return [symbol], machine.emit_object(module)


_library: _Library | None = None
_lock = threading.Lock()


def address_of(kernel: str) -> int:
    """The address of a kernel, ``"family.function"``, or of a generated function, ``"gradlite_..."``; compiled and
    loaded where it is not yet.

    Raises:
        CompilerError: if it cannot be compiled.
    """
    global _library
    with _lock:
        if _library is None:
            _library = _Library()
        return _library.address(kernel)


def warm_up() -> int:
    """Compile everything that is not on disk yet; how many kernels there are."""
    from tqdm import tqdm

    from gradlite.backends.cpu.native.bodies import BODIES

    for family in FAMILIES:
        import_module(f"{__package__}.bodies.{family}")
    for name in tqdm(BODIES, desc="Compiling CPU kernels", disable=None):
        address_of(name)
    return len(BODIES)
