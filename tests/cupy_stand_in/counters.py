"""What the program asked of the device: launches, operations of the array module, copies, waits, allocations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields


@dataclass
class Counts:
    """Everything that is counted.

    Attributes:
        launches: raw kernels launched by the host, also into a graph that is being captured.
        operations: calls of the array module that launch at least one kernel on a GPU.
        default_stream_launches: those of both that went to the default stream.
        graph_launches: graphs launched.
        replayed: kernels and other nodes that ran in them.
        host_to_device, device_to_host, device_to_device: copies; fills with a value are operations.
        synchronizations: waits of the host for the device, those of blocking copies included.
        allocations: blocks given out by the memory pools.
        mallocs: those for which the pool had to ask the device.
        kernel_log: names of the raw kernels, in order, where ``log`` is on.
        operation_log: names of the operations, in order, where ``log`` is on.
    """

    launches: int = 0
    operations: int = 0
    default_stream_launches: int = 0
    graph_launches: int = 0
    replayed: int = 0
    host_to_device: int = 0
    device_to_host: int = 0
    device_to_device: int = 0
    synchronizations: int = 0
    allocations: int = 0
    mallocs: int = 0
    log: bool = False
    kernel_log: list[str] = field(default_factory=list)
    operation_log: list[str] = field(default_factory=list)

    def numbers(self) -> dict[str, int]:
        """The counts that are numbers, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if type(getattr(self, f.name)) is int}


# The counts being kept, innermost last; a nested `counting()` counts for the outer ones too.
_active: list[Counts] = []


@contextmanager
def counting(log: bool = True) -> Iterator[Counts]:
    """``with counting() as counts:`` counts what happens inside, in every thread."""
    counts = Counts(log=log)
    _active.append(counts)
    try:
        yield counts
    finally:
        _active[:] = [c for c in _active if c is not counts]


def count(name: str, amount: int = 1) -> None:
    """Add to one of the counts."""
    for counts in _active:
        setattr(counts, name, getattr(counts, name) + amount)


def count_kernel(name: str) -> None:
    """One launch of a raw kernel."""
    for counts in _active:
        counts.launches += 1
        if counts.log:
            counts.kernel_log.append(name)


def count_operation(name: str) -> None:
    """One operation of the array module."""
    for counts in _active:
        counts.operations += 1
        if counts.log:
            counts.operation_log.append(name)
