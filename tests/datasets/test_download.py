"""Downloads: resumed, checked, put in place at once, one at a time; against a web server on this machine."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradlite.keras.datasets import download as downloading
from gradlite.keras.datasets import locking
from gradlite.keras.datasets.download import DownloadError, download

if TYPE_CHECKING:
    from conftest import Server

CONTENT = random.Random(1).randbytes(20_011)
REPOSITORY = Path(__file__).resolve().parents[2]


def install_checked(part: Path, target: Path) -> None:
    if hashlib.sha256(part.read_bytes()).digest() != hashlib.sha256(CONTENT).digest():
        raise ValueError("the checksum is wrong")
    os.replace(part, target)


def everything_in(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_whole_transfer_leaves_the_file_and_nothing_else(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT)
    target = tmp_path / "new" / "folder" / "data.bin"
    download((server.url("/data"),), target, install_checked)
    assert target.read_bytes() == CONTENT
    assert everything_in(tmp_path / "new") == ["folder", "folder/data.bin"]
    assert server.requests == [("/data", None)]


def test_a_file_that_is_there_is_not_downloaded(tmp_path: Path, server: Server) -> None:
    target = tmp_path / "data.bin"
    target.write_bytes(b"mine")
    download((server.url("/data"),), target, install_checked)
    assert (target.read_bytes(), server.requests) == (b"mine", [])


def test_an_interrupted_transfer_is_resumed_where_it_broke_off(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, breaks=[7003, 5000])
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data", None), ("/data", "bytes=7003-"), ("/data", "bytes=12003-")]


def test_a_later_call_resumes_what_an_earlier_one_could_not_finish(tmp_path: Path, server: Server) -> None:
    served = server.serve("/data", CONTENT, breaks=[6000, 0, 0, 0, 0, 0])
    target = tmp_path / "data.bin"
    with pytest.raises(DownloadError, match="closed after 6,000 of 20,011 bytes"):
        download((server.url("/data"),), target, install_checked)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["data.bin.part"]
    served.breaks.clear()
    server.requests.clear()
    download((server.url("/data"),), target, install_checked)
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/data", "bytes=6000-")]


def test_a_server_without_ranges_is_asked_again_for_the_whole_file(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, ranges=False, breaks=[9000])
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data", None), ("/data", "bytes=9000-")]


def test_a_server_that_always_breaks_off_is_given_up(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, ranges=False, breaks=[9000] * 100)
    with pytest.raises(DownloadError, match="closed after 9,000 of 20,011 bytes"):
        download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert len(server.requests) == 1 + downloading.ATTEMPTS
    assert not (tmp_path / "data.bin").exists()


def test_a_transfer_cut_short_without_an_announced_length_fails_its_check(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, announced=False, breaks=[9000])
    with pytest.raises(DownloadError, match="checksum"):
        download((server.url("/data"),), tmp_path / "folder" / "data.bin", install_checked)
    assert not (tmp_path / "folder").exists()


def test_wrong_content_is_thrown_away_and_the_directory_left_untouched(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT[:5000] + b"?" + CONTENT[5001:])
    folder = tmp_path / "folder"
    with pytest.raises(DownloadError, match="the checksum is wrong"):
        download((server.url("/data"),), folder / "data.bin", install_checked)
    assert not folder.exists()
    assert len(server.requests) == 1
    folder.mkdir()
    (folder / "other.bin").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="the checksum is wrong"):
        download((server.url("/data"),), folder / "data.bin", install_checked)
    assert everything_in(folder) == ["other.bin"]


def test_the_beginning_of_another_version_is_replaced_by_a_fresh_transfer(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT)
    (tmp_path / "data.bin.part").write_bytes(bytes(4000))
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/data", "bytes=4000-"), ("/data", None)]


def test_wrong_content_after_a_resumed_transfer_is_fetched_afresh_only_once(tmp_path: Path, server: Server) -> None:
    server.serve("/data", bytes(20_011), breaks=[4000, 20_011, 4000, 20_011, 4000, 20_011])
    with pytest.raises(DownloadError, match="checksum"):
        download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert [begin for _, begin in server.requests] == [None, "bytes=4000-", None, "bytes=4000-"]


def test_a_transfer_that_was_complete_but_not_installed_is_installed(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT)
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert everything_in(tmp_path) == ["data.bin", "home"]
    assert server.requests == [("/data", f"bytes={len(CONTENT)}-")]


def test_a_second_mirror_serves_what_the_first_lacks(tmp_path: Path, server: Server) -> None:
    server.serve("/good", CONTENT)
    urls = ("https://nowhere.invalid/data", server.url("/missing"), server.url("/good"))
    download(urls, tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [("/missing", None), ("/good", None)]


def test_a_second_mirror_serves_what_the_first_has_wrong(tmp_path: Path, server: Server) -> None:
    server.serve("/bad", CONTENT[::-1])
    server.serve("/good", CONTENT)
    download((server.url("/bad"), server.url("/good")), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert everything_in(tmp_path) == ["data.bin", "home"]


def test_a_second_mirror_continues_what_the_first_began(tmp_path: Path, server: Server) -> None:
    server.serve("/first", CONTENT, breaks=[6000, 0, 0, 0, 0])
    server.serve("/second", CONTENT)
    download((server.url("/first"), server.url("/second")), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests[-1] == ("/second", "bytes=6000-")


def test_the_error_gives_each_address_with_its_reason(tmp_path: Path, server: Server) -> None:
    urls = ("https://nowhere.invalid/data", server.url("/missing"), "http://127.0.0.1:9/data")
    with pytest.raises(DownloadError) as caught:
        download(urls, tmp_path / "folder" / "data.bin", install_checked)
    assert [url for url, _ in caught.value.tried] == list(urls)
    for word, (_, reason) in zip(("Name or service", "404", "refused"), caught.value.tried):
        assert word in reason
    assert not (tmp_path / "folder").exists()


def test_a_server_in_trouble_is_asked_again(tmp_path: Path, server: Server) -> None:
    served = server.serve("/data", CONTENT, failures=[503, 429])
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    served.failures.extend([500] * 100)
    server.requests.clear()
    with pytest.raises(DownloadError, match="500"):
        download((server.url("/data"),), tmp_path / "again.bin", install_checked)
    assert len(server.requests) == downloading.ATTEMPTS


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT)
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DownloadError) as caught:
        download((server.url("/data"),), tmp_path / "file" / "data.bin", install_checked)
    assert str(tmp_path / "file") in str(caught.value)
    assert "cannot be written" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_progress_is_shown_on_stderr(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.serve("/data", CONTENT)
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "data.bin" in shown.err
    assert "100%" in shown.err
    assert "20.0k/20.0k" in shown.err


def in_threads(count: int, function: Callable[[], None]) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_of_many_threads_one_downloads_and_the_others_wait(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, delay=0.05, breaks=[5000])
    target = tmp_path / "folder" / "data.bin"
    assert in_threads(6, lambda: download((server.url("/data"),), target, install_checked)) == []
    assert target.read_bytes() == CONTENT
    assert everything_in(target.parent) == ["data.bin"]
    assert len(server.requests) == 2


def test_where_files_cannot_be_locked_nobody_shares_a_part_file(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_try_lock", lambda descriptor: None)
    server.serve("/data", CONTENT)
    (tmp_path / "data.bin.part").write_bytes(b"another process's")
    download((server.url("/data"),), tmp_path / "data.bin", install_checked)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert (tmp_path / "data.bin.part").read_bytes() == b"another process's"
    assert everything_in(tmp_path) == ["data.bin", "data.bin.part", "home"]


SCRIPT = """
import os, sys
from pathlib import Path
from gradlite.keras.datasets.download import download
download((sys.argv[1],), Path(sys.argv[2]), os.replace)
"""


def test_two_processes_at_once_both_get_the_file_by_one_transfer(tmp_path: Path, server: Server) -> None:
    server.serve("/data", CONTENT, delay=0.5)
    target = tmp_path / "folder" / "data.bin"
    command = [sys.executable, "-c", SCRIPT, server.url("/data"), str(target)]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) for _ in range(2)]
    shown = [process.communicate(timeout=60)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], shown
    assert target.read_bytes() == CONTENT
    assert everything_in(target.parent) == ["data.bin"]
    assert len(server.requests) == 1


HOLD = """
import sys, time
from pathlib import Path
from gradlite.keras.datasets.locking import exclusive
with exclusive(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed by a POSIX signal")
def test_the_lock_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    lock = tmp_path / "data.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], cwd=REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert lock.exists()
    with locking.exclusive(lock, lambda: None) as locked:
        assert locked
    assert not lock.exists()


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "POLL_SECONDS", 0.0005)
    inside, worst = [0], [0]

    def enter() -> None:
        for _ in range(20):
            with locking.exclusive(tmp_path / "lock", lambda: None):
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                threading.Event().wait(0.0002)
                inside[0] -= 1

    assert in_threads(5, enter) == []
    assert worst == [1]
    assert everything_in(tmp_path) == ["home"]
