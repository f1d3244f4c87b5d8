"""Plans of random draws: Philox's bits, by vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import apart, are_plain, is_plain, parts_for
from gradlite.backends.reference.random import WORD, dropout_threshold, mask_shape

# As in bodies/random.py: elements drawn at a time, and the bytes that takes.
ELEMENTS = 2048
ROOM = 5 * ELEMENTS
# Bytes that moving one is worth: drawing a number takes as long.
COST = 16


def is_state(state: Any) -> bool:
    """Whether this is the state of one draw."""
    return is_plain(state, np.dtype(np.uint64)) and state.shape == (3,)


def dropout(
    x: Any, state: Any, *, rate: float, noise_shape: tuple[int | None, ...] | None = None, out: Any = None
) -> Plan | None:
    """Block by block: bits, then the selection."""
    threshold = dropout_threshold(rate)
    if not is_plain(x) or x.size == 0 or not is_state(state) or not are_plain(out) or threshold > WORD:
        return None
    if mask_shape(x.shape, noise_shape) != x.shape or not (out is None or (out.shape == x.shape and apart(out, x))):
        return None
    out = np.empty(x.shape, np.float32) if out is None else out
    parts = min(parts_for(COST * x.size), -(-x.size // ELEMENTS))
    words = x.size, x, state, threshold, float(np.float32(1.0 - rate)), out, Scratch(ROOM * parts)
    return Plan(out, [Launch("random.dropout", parts, words)])


PLANS = (dropout,)
