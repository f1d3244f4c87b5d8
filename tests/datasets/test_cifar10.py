"""CIFAR-10's binary version: found in every place and form, refused when damaged, else downloaded and unpacked."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradlite.keras.datasets import cifar10
from gradlite.keras.datasets.cifar10 import ARCHIVE, FILES, FOLDER, TRAIN_FILES
from gradlite.keras.datasets.places import DatasetFileError, DatasetNotFoundError

if TYPE_CHECKING:
    from conftest import Server

RECORDS = 6

rng = np.random.default_rng()
CONTENT = {
    name: np.concatenate(
        [rng.integers(0, 10, (RECORDS, 1), np.uint8), rng.integers(0, 256, (RECORDS, 3072), np.uint8)], axis=1
    ).tobytes()
    for name in FILES
}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that GRADLITE_DATA_DIR names."""
    directory = tmp_path / "data"
    directory.mkdir()
    monkeypatch.setenv("GRADLITE_DATA_DIR", str(directory))
    return directory


def write_files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)


def archive(*extra: tarfile.TarInfo, names: tuple[str, ...] = FILES, prefix: str = f"{FOLDER}/") -> bytes:
    """An archive as the published one: the folder, a text and the files, out of order; then ``extra`` members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        folder = tarfile.TarInfo(prefix.rstrip("/"))
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in [("batches.meta.txt", b"airplane\n"), *((name, CONTENT[name]) for name in names[::-1])]:
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return stream.getvalue()


def pixel(content: bytes, image: int, channel: int, row: int, column: int) -> int:
    """A pixel by the format's description: a label, then the red, green and blue planes in row-major order."""
    return content[image * 3073 + 1 + channel * 1024 + row * 32 + column]


def assert_loaded(loaded: tuple) -> None:
    (x_train, y_train), (x_test, y_test) = loaded
    assert (x_train.shape, y_train.shape) == ((5 * RECORDS, 32, 32, 3), (5 * RECORDS, 1))
    assert (x_test.shape, y_test.shape) == ((RECORDS, 32, 32, 3), (RECORDS, 1))
    for array in (x_train, y_train, x_test, y_test):
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert array.flags.writeable
    images, labels = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])[:, 0]
    for i, name in enumerate(FILES):
        for image in range(RECORDS):
            assert labels[i * RECORDS + image] == CONTENT[name][image * 3073]
            row, column, channel = (int(rng.integers(n)) for n in (32, 32, 3))
            expected = pixel(CONTENT[name], image, channel, row, column)
            assert images[i * RECORDS + image, row, column, channel] == expected


@pytest.mark.parametrize("folder", [FOLDER, f"cifar10/{FOLDER}", "cifar10", "cifar-10", "."])
def test_the_six_files_are_found_with_and_without_folders(data: Path, folder: str) -> None:
    write_files(data / folder)
    assert_loaded(cifar10.load_data())


@pytest.mark.parametrize("folder", [".", "cifar10"])
@pytest.mark.parametrize("prefix", [f"{FOLDER}/", f"./{FOLDER}/"])
def test_the_archive_is_read_without_writing_anything(data: Path, folder: str, prefix: str) -> None:
    (data / folder).mkdir(exist_ok=True)
    (data / folder / ARCHIVE).write_bytes(archive(prefix=prefix))
    assert_loaded(cifar10.load_data())
    assert [path.name for path in data.rglob("*") if path.is_file()] == [ARCHIVE]


@pytest.mark.parametrize("size", [RECORDS * 3073 - 1, (RECORDS - 1) * 3073, (RECORDS + 1) * 3073, 0])
def test_a_file_of_another_size_is_named_and_left_as_it_is(data: Path, size: int) -> None:
    write_files(data / FOLDER)
    path = data / FOLDER / TRAIN_FILES[2]
    path.write_bytes((CONTENT[TRAIN_FILES[2]] * 2)[:size])
    with pytest.raises(DatasetFileError, match=f"{size:,} bytes, not 6 records, 18,438 bytes") as caught:
        cifar10.load_data()
    assert str(caught.value).startswith(f"{path} cannot be used")
    assert path.stat().st_size == size


def test_labels_beyond_nine_are_refused(data: Path) -> None:
    write_files(data / FOLDER)
    content = bytearray(CONTENT["test_batch.bin"])
    content[3073] = 10
    (data / FOLDER / "test_batch.bin").write_bytes(content)
    with pytest.raises(DatasetFileError, match=r"test_batch\.bin holds the label 10"):
        cifar10.load_data()


def test_an_archive_that_is_cut_short_damaged_or_incomplete_is_named(data: Path) -> None:
    whole = archive()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 50] = bytes(50)
    cases = [
        (whole[: len(whole) // 2], "cut short or damaged"),
        (bytes(damaged), "cut short or damaged"),
        (whole[:-6] + bytes(6), "cut short or damaged .*CRC"),
        (b"<html>", "cut short or damaged"),
        (archive(names=FILES[:4]), f"lacks {FOLDER}/data_batch_5.bin, {FOLDER}/test_batch.bin"),
    ]
    for content, what in cases:
        (data / ARCHIVE).write_bytes(content)
        with pytest.raises(DatasetFileError, match=what) as caught:
            cifar10.load_data()
        assert str(data / ARCHIVE) in str(caught.value)
        assert (data / ARCHIVE).read_bytes() == content


def test_the_error_names_missing_files_and_the_version_that_is_not_read(data: Path, home: Path, cache: Path) -> None:
    write_files(data / FOLDER)
    (data / FOLDER / "data_batch_4.bin").unlink()
    (home / ".keras" / "datasets" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError) as caught:
        cifar10.load_data()
    text = str(caught.value)
    assert f"{data} (GRADLITE_DATA_DIR): {data / FOLDER} lacks data_batch_4.bin" in text
    assert "cifar-10-batches-py is the version for Python, made of pickles, which are not read" in text
    assert f"{cache} (the cache): does not exist" in text
    for url in cifar10.MIRRORS:
        assert f"{url}: gaierror" in text
    assert not cache.exists()


@pytest.fixture
def served(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A mirror on this machine after one that has nothing."""
    server.serve("/good", archive())
    monkeypatch.setattr(cifar10, "MIRRORS", (server.url("/missing"), server.url("/good")))
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(cifar10, "CHECKSUMS", checksums)
    return server


def everything_in(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


UNPACKED = sorted([FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


def test_a_download_is_unpacked_into_the_cache_once(served: Server, cache: Path) -> None:
    served.files["/good"].breaks.append(30_000)
    assert_loaded(cifar10.load_data())
    assert served.requests == [("/missing", None), ("/good", None), ("/good", "bytes=30000-")]
    assert everything_in(cache / "cifar10") == UNPACKED
    assert_loaded(cifar10.load_data())
    assert len(served.requests) == 3


def test_a_download_with_other_content_is_refused_and_leaves_nothing(served: Server, cache: Path) -> None:
    content = dict(CONTENT)
    CONTENT["data_batch_2.bin"] = CONTENT["data_batch_1.bin"]
    try:
        served.serve("/good", archive())
    finally:
        CONTENT.update(content)
    with pytest.raises(DatasetNotFoundError, match=r"the SHA-256 of data_batch_2\.bin in the file received"):
        cifar10.load_data()
    assert not cache.exists()


@pytest.mark.parametrize("kind", ["cut short", "no archive"])
def test_a_download_that_is_no_whole_archive_is_refused(served: Server, cache: Path, kind: str) -> None:
    served.serve("/good", archive()[:-50_000] if kind == "cut short" else b"<html>Please log in.</html>")
    with pytest.raises(DatasetNotFoundError, match="the archive is cut short or damaged"):
        cifar10.load_data()
    assert not cache.exists()


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 100 if kind == tarfile.REGTYPE else 0
    return info


def test_nothing_but_the_six_regular_files_is_unpacked(served: Server, cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    extra = (
        member("../../outside", tarfile.REGTYPE),
        member(str(outside), tarfile.REGTYPE),
        member(f"{FOLDER}/../../outside", tarfile.REGTYPE),
        member(f"{FOLDER}/link", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{FOLDER}/more.bin", tarfile.REGTYPE),
    )
    served.serve("/good", archive(*extra))
    assert_loaded(cifar10.load_data())
    assert everything_in(cache / "cifar10") == UNPACKED
    assert not outside.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_link_in_place_of_a_file_is_not_followed(served: Server, cache: Path, kind: bytes) -> None:
    trap = member(f"{FOLDER}/test_batch.bin", kind, f"{FOLDER}/data_batch_1.bin")
    served.serve("/good", archive(trap, names=TRAIN_FILES))
    with pytest.raises(DatasetNotFoundError, match=f"the archive lacks {FOLDER}/test_batch.bin"):
        cifar10.load_data()
    assert not cache.exists()


def test_what_a_killed_process_left_half_unpacked_is_replaced(served: Server, cache: Path) -> None:
    left = cache / "cifar10" / f"{FOLDER}.part.unpacked"
    left.mkdir(parents=True)
    (left / "data_batch_1.bin").write_bytes(b"half")
    assert_loaded(cifar10.load_data())
    assert everything_in(cache / "cifar10") == UNPACKED


def test_a_folder_in_the_cache_that_is_in_the_way_is_named_and_kept(served: Server, cache: Path) -> None:
    folder = cache / "cifar10" / FOLDER
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(CONTENT["data_batch_1.bin"])
    with pytest.raises(DatasetNotFoundError, match=r"is in the way \(.*lacks data_batch_2\.bin.*\); move it away"):
        cifar10.load_data()
    assert everything_in(cache / "cifar10") == [FOLDER, f"{FOLDER}/data_batch_1.bin"]
    assert served.requests == []
