"""The benchmarks work: each at a tiny setting."""

from __future__ import annotations

from benchmarks import capture


def test_a_captured_step_is_taken_apart():
    row = capture.measure("mnist", 4, 4, 2)
    reading = 2  # launches that a captured step reads its batch by
    assert row["launches"]["captured"] - reading <= row["launches"]["eager"]
    assert row["kernels_alone_ms"] > 0
    assert row["memory_bytes"]["live at one time"] <= row["memory_bytes"]["planned"]
    assert len(row["samples"]["eager"]) == len(row["samples"]["captured"]) == 2
