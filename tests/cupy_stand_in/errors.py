"""CUDA's error codes, and the exceptions in which CuPy reports them."""

from __future__ import annotations

_ERRORS = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    401: ("cudaErrorIllegalState", "the operation cannot be performed in the present state"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    904: ("cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"),
    905: ("cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
}

INVALID_VALUE, NO_DEVICE, INVALID_DEVICE, INVALID_HANDLE, ILLEGAL_STATE, ILLEGAL_ADDRESS = 1, 100, 101, 400, 401, 700
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_ISOLATION, CAPTURE_IMPLICIT = (
    900,
    901,
    904,
    905,
    906,
)


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime.

    Args:
        status: CUDA's number.
        detail: what the stand-in knows about the cause; CuPy's message ends before it.
    """

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        name, text = _ERRORS[status]
        super().__init__(f"{name}: {text}" + (f" [stand-in: {detail}]" if detail else ""))


class OutOfMemoryError(MemoryError):
    """An allocation that did not fit; message and attributes as CuPy's.

    Args:
        size: bytes asked for.
        total: bytes allocated so far.
        limit: the pool's limit in bytes, 0 for none.
    """

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._size, self._total, self._limit = size, total, limit
        ending = f", limit set to: {limit:,} bytes)." if limit else ")."
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{ending}")


class CompileException(Exception):
    """Source text that does not compile."""

    def __init__(self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "nvrtc") -> None:
        super().__init__(msg)
        self._msg, self.source, self.name, self.options, self.backend = msg, source, name, options, backend
