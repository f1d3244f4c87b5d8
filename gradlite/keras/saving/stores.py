"""Files of named arrays: NumPy's npz without pickling, and HDF5 through h5py."""

from __future__ import annotations

import importlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol

import numpy as np

_NO_H5PY = (
    "Files ending in .h5 need h5py, which is not installed. Install it (`pip install h5py`), or use the ending "
    "`.weights.npz`, which needs nothing."
)


class Store(Protocol):
    """Named arrays in a file that is open for reading."""

    where: str

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str) -> np.ndarray: ...


class NpzStore:
    """Reads an npz file: a zip of ``NAME.npy``. Shapes come from the headers, without reading the arrays."""

    def __init__(self, file: IO[bytes] | str, where: str) -> None:
        self.where = where
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{where} is not a complete npz file ({error}).") from None
        self._members = {name.removesuffix(".npy"): name for name in self._zip.namelist() if name.endswith(".npy")}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def names(self) -> list[str]:
        return list(self._members)

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            with self._reporting(name), self._zip.open(self._members[name]) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self._shapes[name] = read(member)[0]
        return self._shapes[name]

    def read(self, name: str) -> np.ndarray:
        with self._reporting(name), self._zip.open(self._members[name]) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{self.where} is damaged or foreign: {name} holds {array.dtype}, not numbers.")
        return np.asarray(array)

    @contextmanager
    def _reporting(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.where} is damaged or foreign: {name} cannot be read ({error}).") from error

    def close(self) -> None:
        self._zip.close()


class H5Store:
    """Reads an HDF5 file, or one inside an archive; every dataset is an array, named by its path."""

    def __init__(self, file: IO[bytes] | str, where: str) -> None:
        self.where = where
        h5py = _h5py()
        try:
            self._file = h5py.File(file if isinstance(file, str) else io.BytesIO(file.read()), "r")
        except OSError as error:
            raise ValueError(f"{where} is not a complete HDF5 file ({error}).") from None
        self._names: list[str] = []
        self._file.visititems(lambda name, item: self._names.append(name) if hasattr(item, "shape") else None)

    def names(self) -> list[str]:
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file[name].shape)

    def read(self, name: str) -> np.ndarray:
        try:
            array = np.asarray(self._file[name][()])
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{self.where} is damaged or foreign: {name} cannot be read ({error}).") from error
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{self.where} is damaged or foreign: {name} holds {array.dtype}, not numbers.")
        return array

    def close(self) -> None:
        self._file.close()


@contextmanager
def open_store(file: IO[bytes] | str, hdf5: bool, where: str) -> Iterator[Store]:
    """The named arrays in ``file``; ``where`` is what errors call it."""
    store: NpzStore | H5Store = H5Store(file, where) if hdf5 else NpzStore(file, where)
    try:
        yield store
    finally:
        store.close()


def write_store(file: IO[bytes] | str, arrays: Mapping[str, np.ndarray], hdf5: bool, owners: Mapping[str, str]) -> None:
    """Write ``arrays`` under their names; an HDF5 file also notes which layer owns each group."""
    if hdf5:
        with _h5py().File(file, "w") as target:
            for name, array in arrays.items():
                target.create_dataset(name, data=array)
            for group, owner in owners.items():
                target.require_group(group).attrs["name"] = owner
        return
    # Not np.savez: it takes names as keyword arguments, adds .npz to a name, and may pickle.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        for name, array in arrays.items():
            with target.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise ImportError(_NO_H5PY) from None
