"""Launches of native kernels: what one is, how its arguments become words, and how lists of them run.

A plan says which launches compute a kernel's result, without running them. Eager execution runs a plan at once; a
recorded program packs the plans of many calls into one list, which runs without Python in between.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import warnings
from array import array
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, NamedTuple

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native.compiler import address_of
from gradlite.backends.cpu.placement import address

# Words of 64 bits: the team's control block (see team.ll), and which of them tells threads to leave.
CONTROL_WORDS = 40
LEAVE, RUNNING = 24, 32
# Looks at the ticket before a thread that finds nothing goes to sleep: some 200 microseconds. Steps follow each other
# faster than that, and waking a thread up takes a quarter of it.
PATIENCE = 8000
ALIGNMENT = 64


class Scratch:
    """Memory that the launches of one plan use among themselves; what it held before and after is of no interest."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes + -nbytes % ALIGNMENT


class Launch(NamedTuple):
    """One kernel on its arguments: arrays, numbers, scratch memory, or None where there is no array."""

    kernel: str
    parts: int
    arguments: tuple[Any, ...]


class Plan(NamedTuple):
    """The launches that compute a result."""

    result: Any
    launches: Sequence[Launch]


Planner = Callable[..., "Plan | None"]


class Memory(NamedTuple):
    """Scratch memory: what owns it, its address and its size."""

    owner: Any
    address: int
    nbytes: int


class Bound:
    """Launches as words in memory, ready to run any number of times.

    Holds the arrays whose addresses it has, so that they stay where they are.
    """

    def __init__(self, plans: Sequence[Plan], scratch: Callable[[int], Memory]) -> None:
        memory = scratch(max(_scratch_bytes(plan) for plan in plans))
        self._held = plans, memory
        words: list[int] = []
        launches: list[tuple[int, int, int]] = []  # address of the code, first word, parts
        for plan in plans:
            places = _Places(memory.address)
            for launch in plan.launches:
                launches.append((address_of(launch.kernel), len(words), launch.parts))
                words += [_word(argument, places) for argument in launch.arguments]
        self._words = array("q", words)
        base = self._words.buffer_info()[0]
        self._launches = array("q")
        for code, first, parts in launches:
            self._launches.extend((code, base + 8 * first, parts))
        self._arguments = self._launches.buffer_info()[0], len(launches), max(parts for _, _, parts in launches)

    def run(self, times: int = 1) -> None:
        """Run the launches in order, so many times."""
        team().run(*self._arguments, times)


class _Places:
    """Where in scratch memory the pieces of one plan lie, side by side."""

    def __init__(self, address: int) -> None:
        self._end = address
        self._found: dict[int, int] = {}

    def of(self, scratch: Scratch) -> int:
        place = self._found.get(id(scratch))
        if place is None:
            place = self._found[id(scratch)] = self._end
            self._end += scratch.nbytes
        return place


def _scratch_bytes(plan: Plan) -> int:
    """The size of all pieces of scratch memory of a plan."""
    pieces = {id(a): a.nbytes for launch in plan.launches for a in launch.arguments if type(a) is Scratch}
    return sum(pieces.values())


def _word(argument: Any, places: _Places) -> int:
    """An argument as an integer of 64 bits."""
    kind = type(argument)
    if kind is int:
        return argument
    if argument is None:
        return 0
    if kind is np.ndarray:
        return address(argument)
    if kind is float:
        return struct.unpack("<q", struct.pack("<d", argument))[0]
    if kind is Scratch:
        return places.of(argument)
    return int(argument)


def _aligned_memory(nbytes: int) -> Memory:
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    address = memory.ctypes.data
    return Memory(memory, address + -address % ALIGNMENT, nbytes)


_local = threading.local()


def _thread_memory(nbytes: int) -> Memory:
    """Scratch memory of this thread, for what runs at once."""
    memory: Memory | None = getattr(_local, "memory", None)
    if memory is None or memory.nbytes < nbytes:
        memory = _aligned_memory(nbytes)
        if nbytes <= parallel.LARGEST_KEPT_BUFFER:
            _local.memory = memory
    return memory


def run_plan(plan: Plan) -> Any:
    """Run a plan now; its result."""
    if plan.launches:
        Bound([plan], _thread_memory).run()
    return plan.result


def bind_plans(plans: Sequence[Plan]) -> Callable[..., None]:
    """One function that runs all plans in order, as many times as it is told, or once."""
    plans = [plan for plan in plans if plan.launches]
    return Bound(plans, _aligned_memory).run if plans else lambda times=1: None


def native(planner: Planner, fallback: Callable[..., Any], smallest: int = 0) -> Callable[..., Any]:
    """The kernel that runs what ``planner`` plans, and ``fallback`` where it returns None.

    Where both give the same bits, ``smallest`` says below which size of its first array a plan costs more than it
    saves; recorded programs take it then too.

    ``planner(*arrays, **attributes, out=None)`` looks at shapes and types alone. It returns None for what its kernels
    were not made for: another dtype, arrays with gaps.
    """

    def planned(*arrays: Any, **attributes: Any) -> Plan | None:
        return planner(*arrays, **attributes) if works() else None

    @wraps(fallback)
    def kernel(*arrays: Any, **attributes: Any) -> Any:
        if smallest and getattr(arrays[0], "size", 0) < smallest:
            return fallback(*arrays, **attributes)
        plan = planned(*arrays, **attributes)
        return fallback(*arrays, **attributes) if plan is None else run_plan(plan)

    kernel.plan = planned  # type: ignore[attr-defined]
    return kernel


@cache
def works() -> bool:
    """Whether native code can be compiled and loaded here; a warning says why not, once."""
    try:
        team()
    except Exception as error:
        warnings.warn(
            f"Native CPU kernels cannot be compiled here, so NumPy computes: {type(error).__name__}: {error} "
            "GRADLITE_CPU_KERNELS=numpy says that this is meant.",
            stacklevel=3,
        )
        return False
    return True


class _Team:
    """The pool's threads while they serve native launches; see team.ll."""

    def __init__(self) -> None:
        words = np.zeros(CONTROL_WORDS + ALIGNMENT // 8, np.int64)
        start = -words.ctypes.data % ALIGNMENT // 8
        self._control = words[start : start + CONTROL_WORDS]
        self._address = self._control.ctypes.data
        integer = ctypes.c_int64
        self._run = ctypes.CFUNCTYPE(None, integer, integer, integer)(address_of("gradlite_team_run"))
        self._run_alone = ctypes.CFUNCTYPE(None, integer, integer)(address_of("gradlite_team_run_alone"))
        self._serve = ctypes.CFUNCTYPE(None, integer, integer)(address_of("gradlite_team_serve"))

    def run(self, launches: int, count: int, widest: int, times: int) -> None:
        """Run a list of launches, by all threads or, where they are not to be had, by this one alone."""
        if not parallel.begin_serving(self, widest):
            for _ in range(times):
                self._run_alone(launches, count)
            return
        try:
            for _ in range(times):
                self._run(self._address, launches, count)
        finally:
            parallel.end_serving()

    def serve(self, t: int, threads: int) -> None:
        """Compute parts in this thread until nothing has come for a while."""
        self._serve(self._address, PATIENCE)
        # Who lost patience just before a list began, and then waited for the interpreter, is still counted on.
        while self._control[RUNNING]:
            self._serve(self._address, PATIENCE)

    def begin(self) -> None:
        """A list is about to run."""
        self._control[RUNNING] = 1

    def end(self) -> None:
        """It has run."""
        self._control[RUNNING] = 0

    def dismiss(self, leave: bool) -> None:
        """Have serving threads return to the pool, or allow them to serve again."""
        self._control[LEAVE] = leave


@cache
def team() -> _Team:
    return _Team()
