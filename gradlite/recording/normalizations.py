"""Fusion of normalizations with the convolutions next to them, on backends that have kernels for the row of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.recording.launches import Launches, without
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call

# Convolutions that a kernel computes of what it normalizes itself.
NORMALIZED = {
    "conv2d_statistics": "normalized_conv2d_statistics",
    "conv2d_parameter_gradients": "normalized_conv2d_parameter_gradients",
}
NO_POOLING: dict[str, Any] = {"window": (1, 1), "pool_strides": (1, 1), "pool_padding": ((0, 0), (0, 0))}


def convolutions_that_normalize(program: Launches) -> list[Call]:
    """A convolution whose output only a normalization with given statistics reads normalizes it itself, and pools it
    where only a pooling comes behind: what a model does in inference."""
    calls, gone = list(program.calls), set[int]()
    for number, call in enumerate(program.calls):
        norm = _follower(program, call, "batch_norm_inference") if call.name == "conv2d" else None
        if norm is None:
            continue
        rows = [[number, norm]]
        pool = _follower(program, program.calls[norm], "max_pool2d")
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


def convolutions_of_what_they_normalize(program: Launches) -> list[Call]:
    """A normalization with known statistics whose output only convolutions read, in training forward and backward, is
    computed by each of them where it reads: so that nothing normalized is written to memory."""
    calls, gone = list(program.calls), set[int]()
    for number, call in enumerate(program.calls):
        if call.name != "batch_norm_apply_max_pool2d_dropout" or not _only_normalizes(program, call):
            continue
        y, readers = call.results[0], program.readers_of(call.results[0])
        joined = {reader: _of_normalized(program, call, program.calls[reader]) for reader in readers}
        given = [x for x in call.arrays[:5] if x is not None]
        if not readers or None in joined.values() or not program.is_whole_everywhere(y, readers):
            continue
        if program.unwritten(given, number, readers[-1]):
            for reader, one in joined.items():
                assert one is not None
                calls[reader] = one
            gone.add(number)
    return without(calls, gone)


def _only_normalizes(program: Launches, call: Call) -> bool:
    """Whether a normalization neither pools nor drops; its index is empty then, and whoever reads that may keep it."""
    pooling = [call.attributes[key] for key in ("window", "strides", "padding")]
    return call.arrays[5] is None and pooling == list(NO_POOLING.values())


def _of_normalized(program: Launches, norm: Call, conv: Call) -> Call | None:
    """The call for a convolution of the output of ``norm``, its first array alone; None where no kernel computes it."""
    if conv.name not in NORMALIZED or any(program.same(x, norm.results[0]) for x in conv.arrays[1:]):
        return None
    x, *parameters = norm.arrays[:5]
    name, arrays = NORMALIZED[conv.name], (x, *conv.arrays[1:], *parameters)
    attributes = {**conv.attributes, "epsilon": norm.attributes["epsilon"]}
    if conv.name == "conv2d_statistics":
        attributes.setdefault("activation", None)
    if x.dtype != norm.results[0].dtype or not program.backend.computes_at_once(name, arrays, attributes):
        return None
    return Call(name, program.backend.kernels[name], arrays, attributes, conv.results, True)


def _follower(program: Launches, call: Call, name: str) -> int | None:
    """The one call that reads the one result of ``call``, as its first array and whole, if it has this name."""
    reader = program.only_reader(call, name)
    if reader is None:
        return None
    (result,), (first, *others) = call.results, program.calls[reader].arrays
    identity, kind = program.identity(result), program.backend.array_type
    alone = all(program.identity(x) != identity for x in others if isinstance(x, kind))
    return reader if alone and program.same(first, result) else None


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
