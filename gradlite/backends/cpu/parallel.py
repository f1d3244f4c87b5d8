"""Threads for CPU kernels: a small persistent pool, BLAS at one thread inside it, scratch memory for each thread."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import ctypes
import math
import os
import threading
import time
import zlib
from collections.abc import Callable
from glob import glob
from typing import Any, Protocol, TypeVar

import numpy as np

Part = Callable[[int, int], Any]
Workspace = TypeVar("Workspace")

# Less arithmetic than this is over before a second thread has woken up and got the interpreter: on a virtual machine
# that takes some 100 microseconds.
SMALL_WORK = 10_000_000
# One element of a pass of NumPy takes as long as so many operations of a matrix product.
PASS = 6
# A larger scratch buffer goes back to the system after its call.
LARGEST_KEPT_BUFFER = 16 << 20
# Workspaces of so many sizes are kept.
MOST_WORKSPACES = 64
# How long a thread that is done watches for the end of another. Parts end at nearly the same time, and to wake up takes
# some 20 microseconds, several times a step.
WATCH_SECONDS = 2e-4
# A checksum of this takes some 5 microseconds outside the interpreter's lock, which the other thread wants.
_IDLE_WORK = bytes(32768)


def available_threads() -> int:
    """The processors this process may use, capped by OMP_NUM_THREADS where it is set."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(count, int(wanted))) if wanted.isdigit() else count


def run(function: Part, *, parts: int | None = None, work: float | None = None) -> None:
    """Call ``function(t, threads)`` for every t below ``threads``, each in a thread of its own, and wait for all.

    ``parts`` caps ``threads`` where the work cannot be cut further, ``work`` (operations of a product, or ``PASS`` for
    each element of each pass) lets small work stay in the calling thread. What a part computes may depend on t and
    ``threads`` alone: inside another ``run``, or while another Python thread holds the pool, the same parts run one
    after the other in the caller, which also does what a thread that is slow to wake up has not begun. An exception of
    any part is raised here, after all have ended.

    >>> squares = [0, 0, 0, 0]
    >>> def part(t, threads):
    ...     for i in range(t, 4, threads):
    ...         squares[i] = i * i
    >>> run(part)
    >>> squares
    [0, 1, 4, 9]
    """
    threads = _THREADS if parts is None else max(1, min(_THREADS, parts))
    with single_threaded_blas:
        if threads == 1 or (work is not None and work < SMALL_WORK):
            function(0, 1)
        else:
            _pool.run(function, threads)


def begin_serving(team: Team, threads: int) -> bool:
    """Have the pool's threads serve ``team`` until ``end_serving``; False where there are none, or it is taken."""
    return _pool.begin_serving(team, threads)


def end_serving() -> None:
    """Give the pool back. Its threads go on looking for native work for a while, which keeps nobody else from it."""
    _pool.end_serving()


def get_num_threads() -> int:
    """How many threads the kernels of the CPU use."""
    return _THREADS


def set_num_threads(number: int) -> None:
    """Choose how many threads the kernels of the CPU use; at first as many as there are processors, or as
    ``OMP_NUM_THREADS`` says.

    Sums are cut by the number of threads, so another number may give other roundings. Steps that were recorded keep
    their cut, and with it their bits.

    Raises:
        ValueError: for what is no positive integer.

    >>> import gradlite
    >>> before = gradlite.get_num_threads()
    >>> gradlite.set_num_threads(1)
    >>> gradlite.get_num_threads()
    1
    >>> gradlite.set_num_threads(before)
    """
    global _THREADS
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"The number of threads must be a positive integer. Received: {number!r}.")
    _THREADS = number


class _Worker:
    """One waiting thread. Bare locks wake it faster than the threading module's semaphores and conditions."""

    def __init__(self) -> None:
        self.go = threading.Lock()
        self.done = threading.Lock()
        self.go.acquire()
        self.finished = True
        self.task: tuple[contextvars.Context, Part, int, int] | None = None
        self.error: BaseException | None = None
        threading.Thread(target=self._serve, name="gradlite", daemon=True).start()

    def _serve(self) -> None:
        _local.inside = True
        while True:
            self.go.acquire()
            assert self.task is not None
            context, function, t, threads = self.task
            try:
                context.run(function, t, threads)
            except BaseException as error:  # handed to the caller of run
                self.error = error
            # The caller's arrays must not live on in a sleeping thread.
            self.task = None
            del context, function
            self.finished = True
            self.done.release()

    def start(self, function: Part, t: int, threads: int) -> None:
        self.done.acquire(blocking=False)
        self.finished = False
        # A part sees the caller's context variables, among them numpy.errstate.
        self.task = (contextvars.copy_context(), function, t, threads)
        self.go.release()

    def take_back(self) -> bool:
        """Take back a part that the thread, asleep or without a processor, has not begun; whether that was so."""
        if not self.go.acquire(blocking=False):
            return False
        self.task, self.finished = None, True
        return True

    def wait(self) -> BaseException | None:
        """The error of the part, or None. An interrupt that arrives meanwhile is returned once the part has ended."""
        interrupt: BaseException | None = None
        self._watch()
        while not self.finished:
            try:
                self.done.acquire()
            except BaseException as caught:
                interrupt = caught
        failure, self.error = self.error, None
        return failure or interrupt

    def _watch(self) -> None:
        """Look for the part's end for a while before going to sleep, from which a processor wakes up late."""
        end = time.perf_counter() + WATCH_SECONDS
        while not self.finished and time.perf_counter() < end:
            zlib.crc32(_IDLE_WORK)


def _error_of(function: Part, t: int, threads: int) -> BaseException | None:
    """Run a part here: its exception, or None."""
    try:
        function(t, threads)
    except BaseException as error:
        return error
    return None


class Team(Protocol):
    """Native code that threads of the pool serve, coming back when it has nothing more for them."""

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def serve(self, t: int, threads: int) -> None: ...

    def dismiss(self, leave: bool) -> None: ...


class _Pool:
    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.busy = threading.Lock()
        self.team: Team | None = None

    def _hired(self, number: int) -> list[_Worker]:
        while len(self.workers) < number:
            self.workers.append(_Worker())
        return self.workers[:number]

    def recall(self) -> None:
        """Bring threads that serve native code back."""
        team, self.team = self.team, None
        if team is None:
            return
        team.dismiss(True)
        for worker in self.workers:
            if not worker.finished and not worker.take_back():
                worker.wait()
        team.dismiss(False)

    def begin_serving(self, team: Team, threads: int) -> bool:
        threads = min(threads, _THREADS)
        if threads == 1 or getattr(_local, "inside", False) or not self.busy.acquire(blocking=False):
            return False
        try:
            self.team = team
            team.begin()
            for t, worker in enumerate(self._hired(threads - 1), 1):
                if worker.finished:  # and asleep
                    worker.start(team.serve, t, threads)
        except BaseException:
            self.end_serving()
            raise
        return True

    def end_serving(self) -> None:
        if self.team is not None:
            self.team.end()
        self.busy.release()

    def run(self, function: Part, threads: int) -> None:
        if getattr(_local, "inside", False) or not self.busy.acquire(blocking=False):
            for t in range(threads):
                function(t, threads)
            return
        errors: list[BaseException | None] = []
        _local.inside = True
        try:
            self.recall()
            workers = self._hired(threads - 1)
            for t, worker in enumerate(workers, 1):
                worker.start(function, t, threads)
            errors.append(_error_of(function, 0, threads))
            for t, worker in enumerate(workers, 1):
                # Whoever is first does the part: waiting for a thread to wake up may take longer.
                errors.append(_error_of(function, t, threads) if worker.take_back() else worker.wait())
        finally:
            _local.inside = False
            self.busy.release()
        try:
            for failure in errors:
                if failure is not None:
                    raise failure
        finally:
            errors.clear()  # an error's traceback holds this frame: no cycle may stay behind


def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The functions that read and set the thread count of NumPy's OpenBLAS; None where its BLAS is another."""
    folder = os.path.dirname(np.__file__)
    folders = (os.path.join(folder, os.pardir, "numpy.libs"), os.path.join(folder, ".dylibs"))
    paths = [path for place in folders for path in sorted(glob(os.path.join(place, "*openblas*")))]
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        # NumPy from a distribution or from conda: a library of the system that is loaded already.
        paths += sorted({line.split(maxsplit=5)[-1].strip() for line in maps if "openblas" in line})
    for path in paths:
        with contextlib.suppress(OSError):
            # PyDLL keeps the interpreter's lock, which is cheaper than giving it back for two loads and a store.
            library = ctypes.PyDLL(path)
            for prefix, suffix in ((p, s) for p in ("scipy_", "") for s in ("64_", "")):
                name = f"{prefix}openblas_{{}}_num_threads{suffix}"
                with contextlib.suppress(AttributeError):
                    get, set_ = getattr(library, name.format("get")), getattr(library, name.format("set"))
                    get.restype, get.argtypes = ctypes.c_int, []
                    set_.restype, set_.argtypes = None, [ctypes.c_int]
                    return get, set_
    return None


class _SingleThreadedBlas:
    """``with single_threaded_blas:`` holds OpenBLAS at one thread. Its count is global to the process, so the first to
    enter lowers it and the last to leave restores it. Another BLAS is left as it is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.saved = 1
        self.control = _openblas()

    def __enter__(self) -> None:
        if self.control is None:
            return
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                get, set_ = self.control
                self.saved = get()
                if self.saved != 1:
                    set_(1)

    def __exit__(self, *error: object) -> None:
        if self.control is None:
            return
        with self.lock:
            self.depth -= 1
            if self.depth == 0 and self.saved != 1:
                self.control[1](self.saved)

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        if self.depth and self.control is not None and self.saved != 1:
            self.control[1](self.saved)
        self.depth = 0


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """This thread's buffer ``name``, with whatever it held; valid until the thread asks for the same name again."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    size = count * dtype.itemsize
    kept: dict[str, np.ndarray] = _local.__dict__.setdefault("scratch", {})
    buffer = kept.get(name)
    if buffer is None or buffer.size < size:
        memory = np.empty(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        buffer = memory[start : start + size]
        if size <= LARGEST_KEPT_BUFFER:
            kept[name] = buffer
        _local.__dict__.pop("workspaces", None)
    return buffer[:size].view(dtype).reshape(shape)


def workspace(make: Callable[..., Workspace], *arguments: Any) -> Workspace:
    """This thread's ``make(*arguments)``, an object of views of scratch memory; made anew when any of that has moved.

    To make views takes the interpreter, for which the other threads wait.
    """
    key = make, arguments
    kept: dict[Any, Any] = _local.__dict__.get("workspaces", {})
    if key not in kept:
        made = make(*arguments)
        kept = _local.__dict__.setdefault("workspaces", {})
        if len(kept) >= MOST_WORKSPACES:
            kept.clear()
        kept[key] = made
    found: Workspace = kept[key]
    return found


def share(count: int, t: int, threads: int) -> range:
    """The part t of ``range(count)``: consecutive, and the same whatever thread takes it.

    >>> share(5, 1, 2)
    range(2, 5)
    """
    return range(count * t // threads, count * (t + 1) // threads)


def _at_exit() -> None:
    """No thread may be in native code when its memory goes."""
    _pool.recall()


def _after_fork() -> None:
    """A child has only the thread that forked: it makes new workers when it needs them."""
    global _pool, _local
    _pool = _Pool()
    _local = threading.local()
    single_threaded_blas.after_fork()


_THREADS = available_threads()
_local = threading.local()
single_threaded_blas = _SingleThreadedBlas()
_pool = _Pool()
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
