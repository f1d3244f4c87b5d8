"""Capture: record what a function launches once, and replay it many times without Python deciding anything.

All arithmetic passes ``Backend.launch``, so a run of a function under a recorder is a list of kernels and their arrays.
Replayed in that order into the same buffers it computes the same bits, with no tape, no dispatch and no allocation. On
a GPU the list becomes one CUDA graph.
"""

from gradlite.recording.function import Captured, capture
from gradlite.recording.program import Program
from gradlite.recording.recorder import CaptureError, Recorder, is_recording, measuring

__all__ = ["CaptureError", "Captured", "Program", "Recorder", "capture", "is_recording", "measuring"]
