"""For all tests of the data sets: a home of their own, no network, and a web server that misbehaves."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gradlite.keras.datasets import download, places


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, without any of the variables that the data sets look at."""
    directory = tmp_path / "home"
    directory.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(directory))
    for name in ("GRADLITE_DATA_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA", "KERAS_HOME", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(download, "BLOCK", 1000)
    return directory


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other machines' names cannot be looked up, as without a network."""
    look_up = socket.getaddrinfo

    def refuse(host: str | None, *arguments: object, **keywords: object) -> object:
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def cache(home: Path) -> Path:
    """The user's cache directory for data sets, which does not exist yet."""
    directory = places.cache_directory()
    assert directory.is_relative_to(home)
    return directory


@dataclass
class Served:
    """One address of the server."""

    content: bytes
    ranges: bool = True  # whether a Range header is honoured
    announced: bool = True  # whether the length is
    breaks: list[int] = field(default_factory=list)  # after how many bytes the next responses break off
    failures: list[int] = field(default_factory=list)  # the HTTP statuses of the next responses
    delay: float = 0.0  # seconds before a response


class Server(ThreadingHTTPServer):
    """Serves ``files``, and notes in ``requests`` the path and the Range header of every request."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []

    def serve(self, path: str, content: bytes, **behaviour: Any) -> Served:
        """Serve ``content`` at ``path``; the keywords are the fields of Served."""
        self.files[path] = Served(content, **behaviour)
        return self.files[path]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        served = self.server.files.get(self.path)
        if served is None or served.failures:
            self.send_error(404 if served is None else served.failures.pop(0))
            return
        time.sleep(served.delay)
        begin, size = 0, len(served.content)
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if match and served.ranges:
            begin = int(match[1])
            if begin >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if served.announced:
            self.send_header("Content-Length", str(size - begin))
        self.end_headers()
        end = begin + served.breaks.pop(0) if served.breaks else size
        self.wfile.write(served.content[begin:end])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
