"""Data sets in MNIST's form: four IDX files, or Keras's one ``.npz``; found on disk, else downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gradlite.keras.datasets.download import DownloadError, download, sha256
from gradlite.keras.datasets.idx import damaged, open_maybe_gzipped, read_idx
from gradlite.keras.datasets.places import Place, cache_directory, missing_files, not_found, places

Split: TypeAlias = tuple[np.ndarray, np.ndarray]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
IMAGE = (28, 28)
CLASSES = 10

# Both data sets' files have the same names. How often each label occurs among the published training images tells which
# data set files belong to that lie about without a directory's name to say so.
LABEL_COUNTS = {
    "MNIST": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "Fashion-MNIST": (6000,) * CLASSES,
}


@dataclass(frozen=True)
class MnistFormat:
    """What is particular to one data set."""

    title: str  # its name for people, a key of LABEL_COUNTS
    name: str  # the directory of its files in the cache
    other_names: tuple[str, ...]  # what other programs call that directory
    mirrors: tuple[str, ...]  # addresses, without the file's name
    checksums: dict[str, str]  # SHA-256 by file
    checksums_of_unpacked: bool  # of the content; else of the .gz file


def load(dataset: MnistFormat, path: str | os.PathLike[str]) -> tuple[Split, Split]:
    """The data set's arrays, from the first place that has its files, else from the network.

    Arguments:
        dataset: which data set.
        path: its name in every place, with or without ``.npz``; or an absolute path, which is then the only place.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images (n, 28, 28) and labels (n,), uint8.

    Raises:
        DatasetNotFoundError: it is nowhere, and the network did not give it.
        DatasetFileError: a file is there, but cannot be used.
    """
    wanted = Path(path).expanduser()
    stem = wanted.with_suffix("") if wanted.suffix == ".npz" else wanted
    if stem.is_absolute():
        where, destination = [Place(stem.parent, "the path given")], stem
        names: tuple[str, ...] = (stem.name,)
    else:
        where, destination = places(), cache_directory() / stem
        names = (str(stem), *dataset.other_names)
    looked: list[tuple[Place, str]] = []
    for place in where:
        found = _find(dataset, place.directory, names)
        if not isinstance(found, str):
            return _read(found)
        looked.append((place, found))
    try:
        return _read(_fetch(dataset, destination))
    except DownloadError as error:
        accepted = (
            f"{' or '.join(f'{name}/' for name in names)} with {', '.join(FILES)}, each with or without .gz; "
            f"for the same files without a directory of their own; or for {names[0]}.npz"
        )
        raise not_found(dataset.title, looked, accepted, destination, error.tried) from error


Found: TypeAlias = "dict[str, Path] | Path"  # the four files by name, or one .npz


def _find(dataset: MnistFormat, directory: Path, names: tuple[str, ...]) -> Found | str:
    """The data set's files in a directory, or what there is instead."""
    if not directory.is_dir():
        return "is not a directory" if directory.exists() else "does not exist"
    notes = []
    for folder in (*(directory / name for name in names), directory):
        files = {name: found for name in FILES if (found := _variant(folder, name)) is not None}
        if len(files) == len(FILES):
            owner = _owner(files[TRAIN_LABELS])
            if owner in (None, dataset.title):
                return files
            notes.append(f"the files in {folder} are {owner}'s")
        elif note := missing_files(folder, (name for name in FILES if name not in files), len(FILES)):
            notes.append(note)
    for archive in (directory / f"{name}.npz" for name in names):
        if archive.is_file():
            return archive
    return "; ".join(notes) or "nothing of that name"


def _variant(folder: Path, name: str) -> Path | None:
    """The file of this name in a folder: gzipped or not, and with the dot that some unpackers make of the hyphen."""
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / f"{stem}.gz", folder / stem):
            if path.is_file():
                return path
    return None


def _owner(labels: Path) -> str | None:
    """Which data set training labels belong to, as far as their counts tell."""
    counts = tuple(np.bincount(read_idx(labels, ()), minlength=CLASSES).tolist())
    return next((title for title, known in LABEL_COUNTS.items() if counts == known), None)


def _read(found: Found) -> tuple[Split, Split]:
    if isinstance(found, Path):
        return _read_npz(found)
    splits = []
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        x, y = read_idx(found[images], IMAGE), read_idx(found[labels], ())
        splits.append(_checked(x, y, found[images], found[labels]))
    return splits[0], splits[1]


def _read_npz(path: Path) -> tuple[Split, Split]:
    from zipfile import BadZipFile
    from zlib import error as ZlibError

    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        # np.load would leave a damaged file open. Without pickle a file cannot run code.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = [archive[key] for key in keys]
    # np.load also opens a lone array, which is no context manager: AttributeError or TypeError, by Python's version.
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, BadZipFile, ZlibError) as error:
        raise damaged(path, f"it is not an .npz file with the arrays {', '.join(keys)} ({error})") from error
    for key, array in zip(keys, arrays):
        if array.dtype.kind not in "ui":
            raise damaged(path, f"{key} has dtype {array.dtype}, not whole numbers")
        if array.size and not 0 <= array.min() <= array.max() <= 255:
            raise damaged(path, f"{key} has values from {array.min()} to {array.max()}, not within 0 to 255")
    x_train, y_train, x_test, y_test = (array.astype(np.uint8, copy=False) for array in arrays)
    return _checked(x_train, y_train, path, path), _checked(x_test, y_test, path, path)


def _checked(images: np.ndarray, labels: np.ndarray, images_path: Path, labels_path: Path) -> Split:
    if images.shape[1:] != IMAGE or not len(images):
        raise damaged(images_path, f"it holds images of shape {images.shape}, not (n, 28, 28)")
    if labels.shape != (len(images),):
        raise damaged(labels_path, f"it holds labels of shape {labels.shape} for {len(images):,} images")
    if labels.max() >= CLASSES:
        raise damaged(labels_path, f"it holds the label {labels.max()}; labels are 0 to {CLASSES - 1}")
    return images, labels


def _fetch(dataset: MnistFormat, folder: Path) -> dict[str, Path]:
    """The four files in ``folder``, those that it lacks downloaded."""
    files = {}
    for name in FILES:
        present = _variant(folder, name)
        files[name] = present or folder / f"{name}.gz"
        if present is None:
            urls = tuple(f"{mirror}{name}.gz" for mirror in dataset.mirrors)
            download(urls, files[name], lambda part, target, name=name: _install(dataset, name, part, target))  # type: ignore[misc]
    return files


def _install(dataset: MnistFormat, name: str, part: Path, target: Path) -> None:
    """Put a downloaded file in place if its checksum is right."""
    import gzip
    import zlib

    unpacked = dataset.checksums_of_unpacked
    try:
        with open_maybe_gzipped(part) if unpacked else open(part, "rb") as stream:
            found = sha256(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"the file received is not a whole gzip file ({error})") from error
    expected = dataset.checksums[name]
    if found != expected:
        what = "of the file received, unpacked," if unpacked else "of the file received"
        raise ValueError(f"the SHA-256 {what} is {found}, not {expected}")
    os.replace(part, target)
