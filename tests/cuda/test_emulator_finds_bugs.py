"""Every mistake in planted_bugs.cu is found, with the right message and source line; without it the kernel runs clean.

The checked profile must find all of them under every schedule. The fast one finds what faults or deadlocks by itself,
and what changes results; the first are listed here too.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import emulator
import numpy as np
import pytest
from emulator.testing import require_emulator, upload

require_emulator()

SOURCE = Path(__file__).with_name("planted_bugs.cu").read_text()

floats = np.linspace(1, 2, 600, dtype=np.float32)
ints = np.arange(600, dtype=np.int32) % 8


@dataclass(frozen=True)
class Bug:
    """A planted bug: how its kernel is launched, and what the message must say."""

    kernel: str
    message: str  # a regular expression
    arguments: tuple = ()
    grid: tuple[int, ...] = (1,)
    block: tuple[int, ...] = (32,)
    shared_bytes: int = 0
    fast: bool = False  # the fast profile finds it too
    line: bool = True  # the message names a marked line


BUGS = [
    Bug("missing_barrier", r"race: (read|write) at shared array 'tile'", (floats,), block=(128,)),
    Bug("overwritten_too_early", r"race: (read|write) at shared array 'tile'", (floats,), block=(128,)),
    Bug("overwritten_while_being_read", r"race: (read|write) at shared array 'tile'", (floats,), block=(64,)),
    Bug("half_of_a_word_is_another_s", r"race: (read|write) at shared array 'tile'", (ints.astype(np.uint16),)),
    Bug("not_atomic", r"race: (read|write) at shared array 'mine'", (ints, ints), block=(128,)),
    Bug("blocks_overlap", r"race between blocks: write at global .* write by thread", (floats,), grid=(3,)),
    Bug("block_reads_what_another_writes", r"race between blocks: (read|write) at global", (floats,), grid=(4,)),
    Bug(
        "missing_fence",
        r"race between blocks: read at global .* write by thread 0",
        (floats, np.zeros(1, np.uint32), floats),
        grid=(3,),
    ),
    Bug("missing_syncwarp", r"race: (read|write) at shared array 's'", (floats,), block=(64,)),
    Bug("shuffle_instead_of_syncwarp", r"race: read at shared array 's' .* write by thread", (floats,)),
    Bug("barrier_after_exit", r"barrier divergence", (floats, np.int32(40)), block=(64,), fast=True),
    Bug(
        "barrier_in_both_branches",
        r"barrier divergence: thread \d+ waits at __syncthreads at .* while this one reaches __syncthreads at",
        (floats,),
        block=(64,),
        fast=True,
    ),
    Bug(
        "barrier_in_a_loop_of_unequal_length",
        r"barrier divergence",
        (floats, np.int32(160)),
        block=(64,),
        fast=True,
    ),
    Bug("shuffle_with_exited_lanes", r"warp divergence", (floats, np.int32(50)), block=(64,), fast=True),
    Bug(
        "shuffle_in_both_branches",
        r"warp divergence: lane \d+ is in __shfl_xor_sync .* while lane \d+ waits in __shfl_xor_sync",
        (floats,),
        fast=True,
    ),
    Bug(
        "shuffle_from_an_absent_lane",
        r"__shfl_sync at .*: lane \d+ reads lane 20, which does not take part",
        (floats,),
        fast=True,
    ),
    Bug(
        "mask_without_oneself",
        r"lane 31 calls it with a mask, 7fffffff, that leaves it out|reads lane 31, which does",
        (floats,),
    ),
    Bug("lanes_wait_for_a_barrier_and_each_other", r"deadlock: .* __syncwarp", (ints,), fast=True),
    Bug("copy_not_waited_for", r"copy in flight: .* read at shared array 'tile'", (floats, floats)),
    Bug("copy_waited_for_without_barrier", r"race|copy in flight|uninitialised", (floats, floats)),
    Bug("copy_over_what_is_being_read", r"race: (read|write) at shared array 'tile'", (floats, floats), block=(64,)),
    Bug("copy_never_waited_for", r"thread exits with 1 cp.async copies", (floats, floats), fast=True, line=False),
    Bug(
        "copy_from_past_the_end",
        r"out of bounds: cp.async reads 16 bytes at global",
        (floats[:99], floats, np.int32(99)),
        fast=True,
    ),
    Bug("global_read_past_the_end", r"out of bounds: read of 4 bytes at global", (floats[:29], floats, np.int32(29))),
    Bug("global_write_past_the_end", r"out of bounds: write of 4 bytes at global", (floats[:29], np.int32(29))),
    Bug("global_read_before_the_start", r"out of bounds: read of 4 bytes", (floats[:29], floats, np.int32(29))),
    Bug("vector_read_past_the_end", r"out of bounds: read of 16 bytes", (floats[:29], floats, np.int32(29))),
    Bug("struct_read_past_the_end", r"out of bounds: read of \d+ bytes", (floats[:29], floats, np.int32(29))),
    Bug("struct_cleared_past_the_end", r"out of bounds: write of \d+ bytes", (floats[:29], np.int32(29))),
    Bug("shared_row_overrun", r"out of bounds: index 32 outside its array", (floats,)),
    Bug(
        "static_shared_overrun",
        r"out of bounds: write of 4 bytes at shared array 'tile' \+ 128, which has 128",
        (floats,),
    ),
    Bug("dynamic_shared_read_overrun", r"out of bounds: read of 4 bytes at dynamic", (floats,), shared_bytes=128),
    Bug(
        "dynamic_shared_write_overrun",
        r"out of bounds: (write of 4 bytes at|access past) dynamic shared memory",
        (floats,),
        shared_bytes=128,
        fast=True,
    ),
    Bug("local_array_overrun", r"out of bounds: index 4 outside its array", (floats, np.int32(5))),
    Bug("address_of_nothing", r"out of bounds: (write of 4 bytes|access) at 0x10", (floats,), block=(1,), fast=True),
    Bug(
        "uninitialised_shared",
        r"uninitialised shared memory: read at shared array 'tile'",
        (floats, np.int32(50)),
        block=(64,),
    ),
    Bug("shared_left_by_another_block", r"uninitialised shared memory: read at .* 'seen'", (floats,), grid=(3,)),
    Bug("misaligned_vector", r"misaligned access", (floats, floats)),
    Bug("integer_overflow", r"signed integer overflow in \*", (floats, np.int32(1 << 27))),
    Bug("division_by_zero", r"integer division by zero", (ints, np.int32(0)), fast=True),
    Bug("trap", r"__trap\(\)", (ints,), fast=True),
    Bug("failed_assertion", r"assertion failed: x\[threadIdx\.x\] < 7", (ints,), fast=True),
    Bug("endless_loop", r"time-out: still running after 300 ms", (ints + 1,), fast=True),
    Bug("endless_recursion", r"stack overflow", (ints,), fast=True),
    Bug(
        "large_static_shared", r"too much shared memory: 'tile' brings .* 50176 bytes", (floats,), fast=True, line=False
    ),
]


def launch(bug: Bug, planted: int) -> None:
    function = emulator.compile(SOURCE, [f"-DBUG={planted}"], "planted_bugs.cu").function(bug.kernel)
    arguments = [upload(a) if isinstance(a, np.ndarray) else a for a in bug.arguments]
    function.launch(bug.grid, bug.block, arguments, bug.shared_bytes)


def marked_lines(kernel: str) -> set[int]:
    return {n for n, line in enumerate(SOURCE.splitlines(), 1) if line.rstrip().endswith(f"// here: {kernel}")}


def check_message(bug: Bug, error: emulator.EmulatorError) -> None:
    text = str(error)
    assert text.startswith(f"{bug.kernel}: ")
    assert re.search(bug.message, text)
    assert re.search(r"\[block \(\d+, \d+, \d+\), thread \(\d+, \d+, \d+\)\]$", text) or "deadlock" in text
    if bug.line:
        named = {int(line) for line in re.findall(r"planted_bugs\.cu:(\d+)", text)}
        assert named & marked_lines(bug.kernel), f"{text} names none of the lines {marked_lines(bug.kernel)}"


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.kernel)
def test_the_checked_profile_finds_it_and_nothing_where_it_is_not(bug, order):
    for copies in ("late", "early") if bug.kernel.startswith("copy_") else ("late",):
        with emulator.using(profile="checked", order=order, copies=copies, seed=3, timeout=0.3):
            launch(bug, planted=0)
            with pytest.raises(emulator.EmulatorError) as caught:
                launch(bug, planted=1)
        check_message(bug, caught.value)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.fast], ids=lambda bug: bug.kernel)
def test_the_fast_profile_finds_what_faults_or_deadlocks_by_itself(bug):
    for order in (0, 1, 2):
        with emulator.using(profile="fast", order=order, seed=3, timeout=0.3):
            launch(bug, planted=0)
            with pytest.raises(emulator.EmulatorError) as caught:
                launch(bug, planted=1)
        check_message(bug, caught.value)


def test_a_race_is_seen_from_either_side():
    bug = next(bug for bug in BUGS if bug.kernel == "overwritten_while_being_read")
    with emulator.using(profile="checked", order=0), pytest.raises(emulator.EmulatorError) as caught:
        launch(bug, planted=1)
    assert re.search(r"race: write at shared array .*; read by thread", str(caught.value))
    with emulator.using(profile="checked", order=1), pytest.raises(emulator.EmulatorError) as caught:
        launch(bug, planted=1)
    assert re.search(r"race: read at shared array .*; write by thread", str(caught.value))


def test_the_fast_profile_notices_a_write_past_the_end_after_the_launch():
    bug = next(bug for bug in BUGS if bug.kernel == "global_write_past_the_end")
    with pytest.raises(emulator.EmulatorError, match=r"bytes just outside the array of argument 0 \(float\*\)"):
        launch(bug, planted=1)


def test_the_fast_profile_faults_where_an_array_of_whole_sixteens_ends():
    function = emulator.compile(SOURCE, ["-DBUG=1"], "planted_bugs.cu").function("global_read_past_the_end")
    with pytest.raises(emulator.EmulatorError, match=r"out of bounds: access at global .*planted_bugs\.cu:\d+"):
        function.launch((1,), (32,), [upload(floats[:32]), upload(floats), np.int32(32)])


def test_memory_that_has_been_freed_faults():
    function = emulator.compile(SOURCE, ["-DBUG=0"], "planted_bugs.cu").function("global_write_past_the_end")
    address = np.uintp(emulator.allocate(4 * 32).ptr)  # collected at once
    for profile in ("fast", "checked"):
        with emulator.using(profile=profile), pytest.raises(emulator.EmulatorError, match="out of bounds"):
            function.launch((1,), (32,), [address, np.int32(32)])


def test_a_missing_barrier_changes_the_result_in_the_fast_profile_too():
    results = []
    for order, planted in itertools.product((0, 1), (0, 1)):
        function = emulator.compile(SOURCE, [f"-DBUG={planted}"], "planted_bugs.cu").function("missing_barrier")
        x = upload(floats[:128])
        with emulator.using(order=order):
            function.launch((1,), (128,), [x])
        results.append(ctypes.string_at(x.ptr, x.nbytes))
    assert results[0] == results[2]
    assert results[1] != results[3]


# ---- launches that a device refuses


def kernel(name: str) -> emulator.Function:
    return emulator.compile(SOURCE, ["-DBUG=0"], "planted_bugs.cu").function(name)


def test_more_threads_than_a_block_or_the_launch_bounds_allow_are_refused():
    x = upload(np.zeros(2048, np.float32))
    kernel("at_most_64_threads").launch((1,), (64,), [x])
    with pytest.raises(emulator.EmulatorError, match="too many threads: a block of 96 for a kernel compiled for 64 "):
        kernel("at_most_64_threads").launch((1,), (96,), [x])
    with pytest.raises(emulator.EmulatorError, match="too many threads: a block of 288 for a kernel compiled for 256 "):
        kernel("missing_barrier").launch((1,), (288,), [x])
    with pytest.raises(emulator.EmulatorError, match="too many threads: a block of 32 x 33 x 1 has 1056; 1024"):
        kernel("at_most_64_threads").launch((1,), (32, 33), [x])


@pytest.mark.parametrize(("grid", "block"), [((0,), (32,)), ((1, 65536), (32,)), ((1,), (0,)), ((1,), (1, 1, 65))])
def test_impossible_grids_and_blocks_are_refused(grid, block):
    with pytest.raises(emulator.EmulatorError, match=r"impossible (grid|block)"):
        kernel("trap").launch(grid, block, [upload(ints)])


def test_more_shared_memory_than_allowed_is_refused():
    x = upload(floats)
    overrun = kernel("dynamic_shared_read_overrun")
    overrun.launch((1,), (32,), [x], 48 * 1024)
    with pytest.raises(emulator.EmulatorError, match="too much shared memory: 49156 dynamic bytes"):
        overrun.launch((1,), (32,), [x], 48 * 1024 + 4)
    overrun.launch((1,), (32,), [x], 99 * 1024, shared_limit=99 * 1024)
    with pytest.raises(emulator.EmulatorError, match="too much shared memory: 49152 static and 16 dynamic bytes"):
        kernel("large_static_shared").launch((1,), (32,), [x], 16)


def good_arguments() -> list:
    return [upload(floats), upload(floats), np.float32(2), np.int32(3), np.int64(4), np.uint8(1)]


def test_arguments_that_fit_are_taken():
    kernel("takes_many").launch((1,), (1,), good_arguments())


@pytest.mark.parametrize(
    ("index", "wrong", "message"),
    [
        (2, np.float64(2), r"argument 2 is .*8 bytes; the parameter is 'float', a float of 4 bytes"),
        (2, np.int32(2), r"argument 2 is .*int32.*'float', a float"),
        (3, np.float32(3), r"argument 3 is .*float32.*'int', an integer of 4 bytes"),
        (3, np.int64(3), r"argument 3 is .*8 bytes; the parameter is 'int', an integer of 4 bytes"),
        (4, np.int32(4), r"argument 4 is .*'long long', an integer of 8 bytes"),
        (5, np.bool_(1), r"argument 5 is .*'unsigned char', an integer of 1 byte"),
        (0, np.int64(4096), r"argument 0 is .*'const float\*', a pointer"),
        (0, np.float64(0), r"argument 0 is .*'const float\*', a pointer"),
        (1, 5, r"an argument is 5 \(int\); kernels take NumPy scalars"),
    ],
)
def test_an_argument_of_the_wrong_kind_or_size_is_refused(index, wrong, message):
    arguments = good_arguments()
    arguments[index] = wrong
    with pytest.raises(emulator.EmulatorError, match=message):
        kernel("takes_many").launch((1,), (1,), arguments)


@pytest.mark.parametrize("count", [0, 5, 7])
def test_a_wrong_number_of_arguments_is_refused(count):
    arguments = [*good_arguments(), np.int32(0)][:count]
    with pytest.raises(emulator.EmulatorError, match=rf"{count} arguments for 6 parameters \(const float\*, float\*"):
        kernel("takes_many").launch((1,), (1,), arguments)


def test_after_an_error_the_next_launch_runs_as_if_nothing_had_happened():
    for bug in BUGS:
        with emulator.using(profile="checked", timeout=0.3):
            with pytest.raises(emulator.EmulatorError):
                launch(bug, planted=1)
            launch(BUGS[0], planted=0)
