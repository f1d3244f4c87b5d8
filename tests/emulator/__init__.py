"""An emulator of the CUDA execution model: compiles the project's .cu text with g++ and runs it on the CPU.

It exists so that the CUDA kernels are tested on machines without a GPU, and tested harder than a GPU can: under three
schedules, with copies that land late or early, and with every access checked for races, bounds and uninitialised
shared memory. A launch with a mistake raises :class:`EmulatorError`, which names the kernel, the block and thread, what
happened and the source line.

    module = emulator.compile(source, ["-DTILE=32"])
    with emulator.using(profile="checked", order=2, seed=7):
        module.function("relu").launch((4,), (256,), [np.uintp(x.ptr), np.int32(1000)])

How it works. Each thread of a block is a fiber, a stack of its own in one OS thread; blocks run one after the other.
A fiber runs until it waits at a barrier or in a warp operation, then the schedule picks the next
(``runtime/fibers.cpp``, ``schedule.h``). The "checked" profile compiles with g++'s sanitizer instrumentation, whose
callbacks the runtime defines itself (``runtime/hooks.cpp``, ``shadow.cpp``). What kernels may use is in ``include/``;
``include/emulator.h`` lists the functions that stand for inline PTX.

What it does not show: bank conflicts, coalescing, occupancy, the reordering that a weak memory model permits within a
block, blocks that run at the same time (so waiting for another block never ends), and the exact rounding of tensor
cores' sums. What g++ accepts NVRTC may reject, so kernels are compiled with NVRTC in other tests.
"""

from .build import compile
from .errors import EmulatorError
from .memory import Allocation, allocate, is_alive
from .module import Function, Module
from .runtime import available
from .settings import Settings, current_settings, statistics, using

__all__ = [
    "Allocation",
    "EmulatorError",
    "Function",
    "Module",
    "Settings",
    "allocate",
    "available",
    "compile",
    "current_settings",
    "is_alive",
    "statistics",
    "using",
]
