"""Downloading a file from the first mirror that has it: resumed where it broke off, checked, put in place at once."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gradlite.keras.datasets.locking import exclusive

BLOCK = 1 << 18  # bytes
TIMEOUT_SECONDS = 30.0  # without a byte
ATTEMPTS = 3  # at one mirror, without getting further
PAUSE_SECONDS = 0.5  # before an attempt that gets further; doubles with each that did not

Install = Callable[[Path, Path], None]


class DownloadError(Exception):
    """No mirror gave the file; ``tried`` holds each address or path with what went wrong there."""

    def __init__(self, tried: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{where}: {reason}" for where, reason in tried))
        self.tried = tried


class _MirrorError(Exception):
    """This mirror does not have the file."""


class _BrokenOffError(Exception):
    """The transfer broke off and may be worth taking up again."""


def download(urls: tuple[str, ...], target: Path, install: Install) -> None:
    """Make ``target`` from the first of ``urls`` that gives the right content.

    The bytes go to ``<target>.part``, which stays when a transfer breaks off and is then continued, by this call or by
    a later one. Of several processes that want the same target one downloads and the others wait for it.

    Arguments:
        urls: mirrors of the same file, in the order to try them.
        target: the file or directory to make, with its parents where they are missing. Nothing is done if it exists.
        install: ``install(part, target)`` checks the transferred file and puts its content at ``target`` in one step;
            a ValueError from it says what is wrong with the content.

    Raises:
        DownloadError: no mirror worked, or the directory cannot be written; ``target`` was not touched.
    """
    made: list[Path] = []
    try:
        made = _make_directories(target.parent)
        with _alone(target) as part:
            if not target.exists():
                _from_any(urls, part, target, install)
    except OSError as error:
        raise DownloadError([(str(target.parent), f"cannot be written: {_reason(error)}")]) from error
    finally:
        for directory in made:
            with suppress(OSError):  # not empty: the download or part of it is there
                directory.rmdir()


def sha256(stream: IO[bytes] | Any) -> str:
    """The SHA-256 of all that a stream still holds, in hexadecimal."""
    digest = hashlib.sha256()
    while block := stream.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on the disk, where the platform can."""
    if path.is_dir() and sys.platform == "win32":  # Windows cannot open a directory
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directories(directory: Path) -> list[Path]:
    """Make a directory and its missing parents; returns those that were made, the innermost first."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


@contextmanager
def _alone(target: Path) -> Iterator[Path]:
    """The path for the transferred bytes, which nobody else writes to."""

    def say() -> None:
        print(f"Waiting for another process to download {target.name}", file=sys.stderr)

    with exclusive(target.with_name(f"{target.name}.lock"), say) as locked:
        if locked:
            yield target.with_name(f"{target.name}.part")
            return
        # Without locks two processes must not share a file, so that nothing can be resumed.
        private = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            yield private
        finally:
            private.unlink(missing_ok=True)


def _from_any(urls: tuple[str, ...], part: Path, target: Path, install: Install) -> None:
    tried: list[tuple[str, str]] = []
    for url in urls:
        try:
            _from_mirror(url, part, target, install)
        except _MirrorError as error:
            tried.append((url, str(error)))
        else:
            return
    raise DownloadError(tried)


def _from_mirror(url: str, part: Path, target: Path, install: Install) -> None:
    furthest, failures, restarted = _size(part), 0, False
    while True:
        try:
            resumed = _transfer(url, part, target.name)
        except _BrokenOffError as error:
            failures = failures + 1 if _size(part) <= furthest else 0
            furthest = max(furthest, _size(part))
            if failures >= ATTEMPTS:
                raise _MirrorError(str(error)) from error
            time.sleep(PAUSE_SECONDS * 2**failures)
            continue
        try:
            install(part, target)
        except ValueError as error:
            part.unlink()
            # The beginning may be left from another version of the file, so a resumed transfer gets one more chance.
            if restarted or not resumed:
                raise _MirrorError(str(error)) from error
            furthest, restarted = 0, True
            continue
        flush_to_disk(target.parent)
        return


def _transfer(url: str, part: Path, name: str) -> bool:
    """Fetch what ``part`` still lacks; returns whether it began with bytes of an earlier transfer."""
    have = _size(part)
    response = _open(url, have)
    if response is None:  # the server has nothing beyond what is here
        return True
    with response:
        begin = 0
        if response.status == 206:
            begin = have
            if not re.match(rf"bytes {have}-", response.headers.get("Content-Range", "")):
                part.unlink(missing_ok=True)
                raise _BrokenOffError("the server continued the file at another place than asked for")
        length = response.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdigit() else None
        # A server that ignores the Range header sends the whole file: start again.
        with open(part, "ab" if begin else "wb") as file:
            received = begin + _copy(response, file, name, begin, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and received < total:
        raise _BrokenOffError(f"the connection closed after {received:,} of {total:,} bytes")
    return begin > 0


def _open(url: str, have: int) -> Any:
    """The response to a request for the bytes from ``have`` on, or None if the server says that there are none."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "gradlite"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:
            if error.code == 416 and have:
                return None
            reason = f"HTTP status {error.code} {error.reason}"
            if error.code in (408, 429) or error.code >= 500:  # too slow, too many requests, the server's own trouble
                raise _BrokenOffError(reason) from error
            raise _MirrorError(reason) from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _BrokenOffError(_reason(error.reason)) from error
        raise _MirrorError(_reason(error.reason)) from error
    except (OSError, HTTPException) as error:  # the connection broke before or within the response's headers
        raise _BrokenOffError(_reason(error)) from error


def _copy(response: Any, file: IO[bytes], name: str, begin: int, total: int | None) -> int:
    """Copy a response to a file with a progress bar on stderr; returns the number of bytes."""
    from http.client import HTTPException

    from tqdm import tqdm

    received = 0
    with tqdm(total=total, initial=begin, desc=name, unit="B", unit_scale=True, file=sys.stderr) as bar:
        while True:
            try:
                block = response.read(BLOCK)
            except (OSError, HTTPException) as error:
                file.flush()
                raise _BrokenOffError(_reason(error)) from error
            if not block:
                return received
            file.write(block)
            received += len(block)
            bar.update(len(block))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: object) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
