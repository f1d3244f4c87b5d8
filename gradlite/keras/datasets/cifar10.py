"""CIFAR-10: colour pictures of ten kinds of things, 50,000 to train on and 10,000 to test on.

It is read from its binary version: files of records, each a label and a picture's red, green and blue planes. The
Python version is a pickle, which can run code when it is loaded, and is not read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gradlite.keras.datasets.download import DownloadError, download, flush_to_disk
from gradlite.keras.datasets.idx import damaged
from gradlite.keras.datasets.places import Place, cache_directory, missing_files, not_found, places

Split: TypeAlias = tuple[np.ndarray, np.ndarray]

FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
PICKLES = "cifar-10-batches-py"
NAMES = ("cifar10", "cifar-10")
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
)
# SHA-256 of the unpacked files, which a mirror's own packing does not change. They hold for downloads alone: someone
# who puts other pictures in this form into a directory wants those.
CHECKSUMS = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
TRAIN_FILES, TEST_FILES = tuple(CHECKSUMS)[:5], tuple(CHECKSUMS)[5:]
FILES = TRAIN_FILES + TEST_FILES
RECORDS = 10_000  # in each file
PLANES = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
CLASSES = 10


def load_data() -> tuple[Split, Split]:
    """Load CIFAR-10, from this machine if it is there, else from the network into the user's cache.

    The labels are 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship and 9 truck. The
    files are ``cifar-10-batches-bin/data_batch_1.bin`` and so on, or ``cifar-10-binary.tar.gz``, in a directory
    ``cifar10`` or without one, in the directory that the environment variable ``GRADLITE_DATA_DIR`` names, in the
    user's cache or in Keras's.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3), uint8;
        labels of shape (50000, 1) and (10000, 1), uint8, 0 to 9.

    Raises:
        DatasetNotFoundError: it is not on this machine, and no mirror gave it; a FileNotFoundError.
        DatasetFileError: a file is cut short or damaged; a ValueError.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP

    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    looked: list[tuple[Place, str]] = []
    for place in places():
        found = _find(place.directory)
        if not isinstance(found, str):
            return _read(found)
        looked.append((place, found))
    return _read(_fetch(looked))


def _find(directory: Path) -> Path | str:
    """The folder of the six files, or the archive of them, in a directory; or what there is instead."""
    if not directory.is_dir():
        return "is not a directory" if directory.exists() else "does not exist"
    notes = []
    around = (*(directory / name for name in NAMES), directory)
    for folder in (*(path / FOLDER for path in around), *around):
        missing = [name for name in FILES if not (folder / name).is_file()]
        if not missing:
            return folder
        if note := missing_files(folder, missing, len(FILES)):
            notes.append(note)
    for path in around:
        if (path / ARCHIVE).is_file():
            return path / ARCHIVE
        if (path / PICKLES).exists():
            notes.append(f"{path / PICKLES} is the version for Python, made of pickles, which are not read")
    return "; ".join(notes) or "nothing of that name"


def _fetch(looked: list[tuple[Place, str]]) -> Path:
    """The folder of the six files in the cache, downloaded."""
    target = cache_directory() / NAMES[0] / FOLDER
    accepted = f"{FOLDER}/ with {', '.join(FILES)}, or for {ARCHIVE}, with or without a directory {NAMES[0]}/ around it"
    try:
        download(MIRRORS, target, _install)
    except DownloadError as error:
        raise not_found("CIFAR-10", looked, accepted, target, error.tried) from error
    found = _find(cache_directory())
    if isinstance(found, str):  # something was there before, so that nothing was downloaded
        raise not_found("CIFAR-10", looked, accepted, target, [(str(target), f"is in the way ({found}); move it away")])
    return found


def _read(found: Path) -> tuple[Split, Split]:
    images = {files: np.empty((len(files) * RECORDS, 32, 32, 3), np.uint8) for files in (TRAIN_FILES, TEST_FILES)}
    labels = {files: np.empty((len(files) * RECORDS, 1), np.uint8) for files in (TRAIN_FILES, TEST_FILES)}
    batches = _from_archive(found) if found.is_file() else ((name, (found / name).read_bytes()) for name in FILES)
    for name, content in batches:
        records = _records(content, found if found.is_file() else found / name, name)
        files = TRAIN_FILES if name in TRAIN_FILES else TEST_FILES
        rows = slice(files.index(name) * RECORDS, (files.index(name) + 1) * RECORDS)
        labels[files][rows] = records[:, :1]
        images[files][rows] = records[:, 1:].reshape(-1, *PLANES).transpose(0, 2, 3, 1)
    return (images[TRAIN_FILES], labels[TRAIN_FILES]), (images[TEST_FILES], labels[TEST_FILES])


def _records(content: bytes, path: Path, name: str) -> np.ndarray:
    """The records of one file, (RECORDS, RECORD_BYTES)."""
    expected = RECORDS * RECORD_BYTES
    if len(content) != expected:
        raise damaged(path, f"{name} has {len(content):,} bytes, not {RECORDS:,} records, {expected:,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, RECORD_BYTES)
    if records[:, 0].max() >= CLASSES:
        raise damaged(path, f"{name} holds the label {records[:, 0].max()}; labels are 0 to {CLASSES - 1}")
    return records


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The six files in an archive, in the archive's order."""
    try:
        yield from _members(path)
    except ValueError as error:
        raise damaged(path, str(error)) from error


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The six files in an archive; anything else in it is passed over, and nothing is written anywhere.

    Raises:
        ValueError: the archive is damaged, or lacks some of them.
    """
    import gzip
    import tarfile
    import zlib

    wanted = {f"{FOLDER}/{name}": name for name in FILES}
    try:
        with gzip.open(path, "rb") as packed, tarfile.open(fileobj=packed, mode="r:") as archive:
            for member in archive:
                # Only a regular file: a link could stand for any file on this machine.
                name = wanted.pop(member.name.removeprefix("./"), None) if member.isreg() else None
                stream = archive.extractfile(member) if name else None
                if name and stream:
                    yield name, stream.read(RECORDS * RECORD_BYTES + 1)  # one byte too many tells as well as more
            while packed.read(1 << 20):  # to the end, where gzip compares its checksum
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"the archive is cut short or damaged ({error})") from error
    if wanted:
        raise ValueError(f"the archive lacks {', '.join(wanted)}")


def _install(part: Path, target: Path) -> None:
    """Unpack a downloaded archive beside ``target``, checking each file, and rename the whole to ``target``."""
    import shutil

    unpacked = part.with_name(f"{part.name}.unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a process that was killed
    unpacked.mkdir()
    try:
        for name, content in _members(part):
            got, expected = hashlib.sha256(content).hexdigest(), CHECKSUMS[name]
            if got != expected:
                raise ValueError(f"the SHA-256 of {name} in the file received is {got}, not {expected}")
            (unpacked / name).write_bytes(content)
            flush_to_disk(unpacked / name)
        os.replace(unpacked, target)
    except BaseException:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    part.unlink()
