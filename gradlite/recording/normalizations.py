"""Fusion of normalizations with the convolutions next to them, on backends that have kernels for the row of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.recording.launches import Launches, without
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call

NO_POOLING: dict[str, Any] = {"window": (1, 1), "pool_strides": (1, 1), "pool_padding": ((0, 0), (0, 0))}


def convolutions_that_normalize(program: Launches) -> list[Call]:
    """A convolution whose output only a normalization with given statistics reads normalizes it itself, and pools it
    where only a pooling comes behind: what a model does in inference."""
    calls, gone = list(program.calls), set[int]()
    for number, call in enumerate(program.calls):
        norm = _only_reader(program, call, "conv2d", "batch_norm_inference")
        if norm is None:
            continue
        rows = [[number, norm]]
        pool = _only_reader(program, program.calls[norm], "batch_norm_inference", "max_pool2d")
        if pool is not None and _is_unread(program, program.calls[pool].results[1]):
            rows.insert(0, [number, norm, pool])
        for row in rows:
            whole = _normalizing(program, [program.calls[i] for i in row])
            # Nothing that it reads may change until it runs, where the last of the row did.
            if whole and program.unwritten(inputs_of(whole, program.backend.array_type), row[0], row[-1]):
                calls[row[-1]] = whole
                gone.update(row[:-1])
                break
    return without(calls, gone)


def _only_reader(program: Launches, call: Call, name: str, reader: str) -> int | None:
    """The one call that reads the one result of ``call``, as its first array and whole, if the names are these."""
    if call.name != name or len(call.results) != 1:
        return None
    readers = program.only_readers(call)
    if len(readers) != 1 or program.calls[readers[0]].name != reader:
        return None
    (result,), (first, *others) = call.results, program.calls[readers[0]].arrays
    identity, kind = program.identity(result), program.backend.array_type
    alone = all(program.identity(x) != identity for x in others if isinstance(x, kind))
    return readers[0] if alone and program.same(first, result) else None


def _is_unread(program: Launches, result: Any) -> bool:
    identity = program.identity(result)
    return identity not in program.kept and not program.readers.get(identity)


def _normalizing(program: Launches, row: Sequence[Call]) -> Call | None:
    """The one call for a convolution, a normalization and perhaps a pooling; None where no kernel computes it."""
    conv, norm, *pools = row
    pooling = NO_POOLING
    if pools:
        window, strides, padding = (pools[0].attributes[key] for key in ("window", "strides", "padding"))
        pooling = {"window": window, "pool_strides": strides, "pool_padding": padding}
    attributes = {"activation": None, **conv.attributes, "epsilon": norm.attributes["epsilon"], **pooling}
    arrays = (*conv.arrays, *norm.arrays[1:])
    name, result = "conv2d_batch_norm_max_pool2d", row[-1].results[0]
    if result.dtype != conv.results[0].dtype or not program.backend.computes_at_once(name, arrays, attributes):
        return None
    return Call(name, program.backend.kernels[name], arrays, attributes, (result,), True)
