"""The memory plan: no two buffers that live together overlap, and the arena is not much larger than what must be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradlite.recording.plan import Buffer, place

SPANS = st.tuples(st.integers(0, 10_000), st.integers(0, 30), st.integers(0, 10))


@given(st.lists(SPANS, max_size=40))
def test_buffers_that_live_together_do_not_overlap(spans):
    buffers = [Buffer(size, first, first + length) for size, first, length in spans]
    plan = place(buffers)
    for i, a in enumerate(buffers):
        assert a.offset % 64 == 0
        assert a.offset + a.nbytes <= plan.planned_bytes
        for b in buffers[:i]:
            apart = a.offset + a.reserved <= b.offset or b.offset + b.reserved <= a.offset
            assert apart or not a.meets(b)
    assert plan.planned_bytes >= plan.live_bytes
    assert plan.unshared_bytes == sum(b.nbytes for b in buffers)


def test_the_plan_of_a_network_like_pattern_is_near_the_lower_bound():
    # Activations live until their turn in the backward pass; gradients from one step to the next.
    rng = np.random.default_rng(0)
    depth = 30
    buffers = [Buffer(int(rng.integers(1, 100)) * 4096, i, 2 * depth - i) for i in range(depth)]
    buffers += [Buffer(int(rng.integers(1, 100)) * 4096, depth + i, depth + i + 1) for i in range(depth)]
    plan = place(buffers)
    assert plan.planned_bytes <= 1.15 * plan.live_bytes
