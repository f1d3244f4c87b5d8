"""MNIST and Fashion-MNIST: found in every place and form, refused when damaged, else downloaded."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradlite.keras.datasets import fashion_mnist, mnist, mnist_format
from gradlite.keras.datasets.mnist_format import FILES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from gradlite.keras.datasets.places import DatasetFileError, DatasetNotFoundError, cache_directory

if TYPE_CHECKING:
    from conftest import Server

REAL = os.environ.get("GRADLITE_DATA_DIR", "")

rng = np.random.default_rng()
ARRAYS = {
    TRAIN_IMAGES: rng.integers(0, 256, (13, 28, 28), np.uint8),
    TRAIN_LABELS: rng.integers(0, 10, 13, np.uint8),
    TEST_IMAGES: rng.integers(0, 256, (7, 28, 28), np.uint8),
    TEST_LABELS: rng.integers(0, 10, 7, np.uint8),
}


def idx(array: np.ndarray) -> bytes:
    """An array as the content of an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, arrays: dict[str, np.ndarray] = ARRAYS, suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix == ".gz" else content)


def shifted() -> dict[str, np.ndarray]:
    """Other images, to tell which of several places was read."""
    return {name: array if array.ndim == 1 else array ^ 255 for name, array in ARRAYS.items()}


def assert_arrays(loaded: tuple, arrays: dict[str, np.ndarray] = ARRAYS) -> None:
    (x_train, y_train), (x_test, y_test) = loaded
    for name, array in zip(FILES, (x_train, y_train, x_test, y_test)):
        assert array.dtype == np.uint8
        assert array.flags.writeable
        np.testing.assert_array_equal(array, arrays[name])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that GRADLITE_DATA_DIR names."""
    directory = tmp_path / "data"
    directory.mkdir()
    monkeypatch.setenv("GRADLITE_DATA_DIR", str(directory))
    return directory


@pytest.mark.parametrize("folder", ["mnist", ".", "MNIST/raw"])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_the_four_files_are_found_with_and_without_a_folder_and_gzip(data: Path, folder: str, suffix: str) -> None:
    write_idx(data / folder, suffix=suffix)
    assert_arrays(mnist.load_data())


def test_files_with_a_dot_for_the_hyphen_are_found(data: Path) -> None:
    write_idx(data / "mnist", {name.replace("-idx", ".idx"): array for name, array in ARRAYS.items()}, suffix="")
    assert_arrays(mnist.load_data())


def test_a_file_that_was_unpacked_but_kept_its_name_is_read(data: Path) -> None:
    write_idx(data / "mnist")
    for name, array in ARRAYS.items():
        (data / "mnist" / f"{name}.gz").write_bytes(idx(array))
    assert_arrays(mnist.load_data())


def as_npz(arrays: dict[str, np.ndarray] = ARRAYS) -> dict[str, np.ndarray]:
    return dict(zip(("x_train", "y_train", "x_test", "y_test"), (arrays[name] for name in FILES)))


@pytest.mark.parametrize("path", ["mnist", "mnist.npz"])
def test_the_npz_file_of_keras_is_found(data: Path, path: str) -> None:
    np.savez(data / "mnist.npz", **as_npz())
    assert_arrays(mnist.load_data(path))


def test_keras_own_directory_is_looked_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / ".keras" / "datasets"
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "mnist.npz", **as_npz())
    assert_arrays(mnist.load_data())
    write_idx(folder / "fashion-mnist", shifted())
    assert_arrays(fashion_mnist.load_data(), shifted())
    (home / "elsewhere").mkdir()
    (home / ".keras").rename(home / "elsewhere" / "keras")
    monkeypatch.setenv("KERAS_HOME", str(home / "elsewhere" / "keras"))
    assert_arrays(mnist.load_data())


def test_the_users_choice_comes_before_the_cache(data: Path, cache: Path) -> None:
    write_idx(cache / "mnist", shifted())
    assert_arrays(mnist.load_data(), shifted())
    write_idx(data)
    assert_arrays(mnist.load_data())


def test_the_cache_follows_the_platforms_rule(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradlite.keras.datasets import places

    monkeypatch.setattr(places.sys, "platform", "linux")
    assert cache_directory() == home / ".cache" / "gradlite"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
    assert cache_directory() == home / "caches" / "gradlite"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory() == home / ".cache" / "gradlite"
    monkeypatch.setattr(places.sys, "platform", "darwin")
    assert cache_directory() == home / "Library" / "Caches" / "gradlite"
    monkeypatch.setattr(places.sys, "platform", "win32")
    assert cache_directory() == home / "AppData" / "Local" / "gradlite"
    monkeypatch.setenv("LOCALAPPDATA", str(home / "local"))
    assert cache_directory() == home / "local" / "gradlite"


def test_an_absolute_path_is_the_only_place_looked_in(data: Path, tmp_path: Path) -> None:
    write_idx(data / "mnist")
    write_idx(tmp_path / "own" / "pictures", shifted())
    assert_arrays(mnist.load_data(tmp_path / "own" / "pictures"), shifted())
    np.savez(tmp_path / "one.npz", **as_npz(shifted()))
    assert_arrays(mnist.load_data(str(tmp_path / "one.npz")), shifted())
    with pytest.raises(DatasetNotFoundError) as caught:
        mnist.load_data(tmp_path / "own" / "other")
    assert str(data) not in str(caught.value)
    assert f"{tmp_path / 'own'} (the path given)" in str(caught.value)


def test_files_without_a_folder_are_not_mistaken_for_the_other_data_set(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = tuple(np.bincount(ARRAYS[TRAIN_LABELS], minlength=10).tolist())
    write_idx(data)
    monkeypatch.setitem(mnist_format.LABEL_COUNTS, "Fashion-MNIST", counts)
    assert_arrays(fashion_mnist.load_data())
    with pytest.raises(DatasetNotFoundError, match=r"the files in .*data are Fashion-MNIST's"):
        mnist.load_data()


def write_damaged(folder: Path, name: str, content: bytes) -> Path:
    write_idx(folder)
    path = folder / f"{name}.gz"
    path.write_bytes(content)
    return path


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


GZIPPED = gzip.compress(idx(ARRAYS[TRAIN_IMAGES]))
DAMAGED_IMAGES = {
    "gzip cut short": (GZIPPED[: len(GZIPPED) // 2], "cut short"),
    "gzip with a wrong checksum": (flipped(GZIPPED, len(GZIPPED) - 6), "damaged .*CRC"),
    "cut within the pixels": (idx(ARRAYS[TRAIN_IMAGES])[:-5], r"\(13, 28, 28\), 10,192 bytes; 10,187 follow"),
    "bytes left over": (idx(ARRAYS[TRAIN_IMAGES]) + b"?", "10,193 follow"),
    "cut within the header": (idx(ARRAYS[TRAIN_IMAGES])[:9], "ends after 9 bytes"),
    "empty": (b"", "ends after 0 bytes"),
    "a web page": (b"<!DOCTYPE html><html>Not found</html>", "begins with 3c21444f, not with 00000803"),
    "labels": (idx(np.zeros(5000, np.uint8)), "begins with 00000801, not with 00000803"),
    "images of another size": (idx(np.zeros((13, 32, 32), np.uint8)), r"items of shape \(32, 32\), not \(28, 28\)"),
    "another number of images": (idx(np.zeros((12, 28, 28), np.uint8)), r"shape \(13,\) for 12 images"),
    "no images": (idx(np.zeros((0, 28, 28), np.uint8)), r"images of shape \(0, 28, 28\)"),
}


@pytest.mark.parametrize("kind", DAMAGED_IMAGES)
def test_a_damaged_file_is_named_with_what_is_wrong_and_left_as_it_is(data: Path, kind: str) -> None:
    content, what = DAMAGED_IMAGES[kind]
    path = write_damaged(data / "mnist", TRAIN_IMAGES, content)
    with pytest.raises(DatasetFileError, match=what) as caught:
        mnist.load_data()
    named = path.with_name(f"{TRAIN_LABELS}.gz") if kind == "another number of images" else path
    assert str(caught.value).startswith(f"{named} cannot be used: ")
    assert "Put a good copy in its place, or move it away" in str(caught.value)
    assert path.read_bytes() == content


def test_labels_beyond_nine_are_refused(data: Path) -> None:
    labels = ARRAYS[TEST_LABELS].copy()
    labels[-1] = 10
    path = write_damaged(data / "mnist", TEST_LABELS, idx(labels))
    with pytest.raises(DatasetFileError, match="the label 10; labels are 0 to 9") as caught:
        mnist.load_data()
    assert str(path) in str(caught.value)


def test_an_npz_file_that_holds_pickles_is_refused_and_not_run(data: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(data / "sprung"),)

    np.savez(data / "mnist.npz", **{**as_npz(), "x_test": np.array([Trap()], dtype=object)})
    with pytest.raises(DatasetFileError, match=r"mnist\.npz cannot be used.*allow_pickle=False"):
        mnist.load_data()
    assert not (data / "sprung").exists()


@pytest.mark.parametrize(
    "kind", ["cut short", "no zip", "a lone array", "an array missing", "floats", "large", "empty"]
)
def test_a_damaged_npz_file_is_named(data: Path, kind: str) -> None:
    path = data / "mnist.npz"
    arrays = as_npz()
    if kind == "an array missing":
        del arrays["y_test"]
    elif kind == "floats":
        arrays["x_train"] = arrays["x_train"] / np.float32(255)  # type: ignore[assignment]
    elif kind == "large":
        arrays["y_train"] = arrays["y_train"].astype(np.int64) - 1
        arrays["y_train"][0] = -1
    np.savez(path, **arrays)
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:-3000])
    elif kind in ("no zip", "empty"):
        path.write_bytes(b"<html>" if kind == "no zip" else b"")
    elif kind == "a lone array":
        with open(path, "wb") as file:
            np.save(file, arrays["x_train"])
    before = path.read_bytes()
    with pytest.raises(DatasetFileError, match=r"mnist\.npz cannot be used"):
        mnist.load_data()
    assert path.read_bytes() == before


def test_the_error_without_files_and_network_says_all_there_is_to_say(data: Path, home: Path, cache: Path) -> None:
    write_idx(data / "mnist", {TRAIN_IMAGES: ARRAYS[TRAIN_IMAGES], TEST_LABELS: ARRAYS[TEST_LABELS]})
    with pytest.raises(FileNotFoundError) as caught:
        mnist.load_data()
    text = str(caught.value)
    assert f"{data} (GRADLITE_DATA_DIR): {data / 'mnist'} lacks {TRAIN_LABELS}, {TEST_IMAGES}" in text
    assert f"{cache} (the cache): does not exist" in text
    assert f"{home / '.keras' / 'datasets'} (Keras's): does not exist" in text
    for name in FILES:
        assert name in text
    assert "mnist.npz" in text
    for mirror in mnist.MNIST.mirrors:
        assert f"{mirror}{TRAIN_IMAGES}.gz: gaierror: " in text
    assert f"copy the files from a machine that has one into {cache / 'mnist'}, or" in text
    assert not cache.exists()


def test_the_error_says_that_the_variable_is_not_set() -> None:
    with pytest.raises(DatasetNotFoundError, match="GRADLITE_DATA_DIR is not set"):
        fashion_mnist.load_data()


@pytest.fixture(params=["mnist", "fashion_mnist"])
def served(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """One of the two data sets as (module, its constant's name), with small files and mirrors on this machine."""
    module = {"mnist": mnist, "fashion_mnist": fashion_mnist}[request.param]
    constant = request.param.upper()
    checksums = {}
    for name, array in ARRAYS.items():
        content = gzip.compress(idx(array))
        server.serve(f"/good/{name}.gz", content)
        of = idx(array) if request.param == "mnist" else content
        checksums[name] = hashlib.sha256(of).hexdigest()
    mirrors = (server.url("/missing/"), server.url("/good/"))
    small = dataclasses.replace(getattr(module, constant), mirrors=mirrors, checksums=checksums)
    monkeypatch.setattr(module, constant, small)
    return module, request.param


def test_downloaded_files_stay_in_the_cache(served: tuple, server: Server, cache: Path) -> None:
    module, name = served
    assert_arrays(module.load_data())
    assert len(server.requests) == 8  # each file from the second mirror
    assert sorted(path.name for path in (cache / name).iterdir()) == sorted(f"{file}.gz" for file in FILES)
    assert_arrays(module.load_data())
    assert len(server.requests) == 8


def test_only_what_the_cache_lacks_is_downloaded(served: tuple, server: Server, cache: Path) -> None:
    module, name = served
    removed = server.files.pop(f"/good/{TEST_IMAGES}.gz")
    with pytest.raises(DatasetNotFoundError, match="404"):
        module.load_data()
    assert sorted(path.name for path in (cache / name).iterdir()) == [f"{TRAIN_IMAGES}.gz", f"{TRAIN_LABELS}.gz"]
    server.files[f"/good/{TEST_IMAGES}.gz"] = removed
    server.requests.clear()
    assert_arrays(module.load_data())
    assert [path for path, _ in server.requests if path.startswith("/good")] == [
        f"/good/{TEST_IMAGES}.gz",
        f"/good/{TEST_LABELS}.gz",
    ]


@pytest.mark.parametrize("kind", ["another image", "cut short", "no gzip"])
def test_a_download_with_other_content_is_refused(served: tuple, server: Server, cache: Path, kind: str) -> None:
    module, _ = served
    content = {
        "another image": gzip.compress(idx(ARRAYS[TRAIN_IMAGES] ^ 1)),
        "cut short": server.files[f"/good/{TRAIN_IMAGES}.gz"].content[:-100],
        "no gzip": b"<html>Please log in to this network.</html>",
    }[kind]
    server.serve(f"/good/{TRAIN_IMAGES}.gz", content)
    with pytest.raises(DatasetNotFoundError, match=r"the SHA-256 of the file received|not a whole gzip file"):
        module.load_data()
    assert not cache.exists()


def test_mnist_packed_anew_by_a_mirror_is_accepted(served: tuple, server: Server) -> None:
    module, name = served
    for file, array in ARRAYS.items():
        server.serve(f"/good/{file}.gz", gzip.compress(idx(array), compresslevel=1, mtime=1))
    if name == "mnist":  # its checksums are those of the content
        assert_arrays(module.load_data())
    else:
        with pytest.raises(DatasetNotFoundError, match="SHA-256"):
            module.load_data()


@pytest.mark.skipif(not (Path(REAL) / "mnist").is_dir() or not REAL, reason="GRADLITE_DATA_DIR has no mnist")
def test_the_published_mnist_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLITE_DATA_DIR", REAL)
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert (x_train.shape, y_train.shape) == ((60000, 28, 28), (60000,))
    assert (x_test.shape, y_test.shape) == ((10000, 28, 28), (10000,))
    assert tuple(np.bincount(y_train)) == mnist_format.LABEL_COUNTS["MNIST"]
    # The mean and deviation of MNIST's training pixels, as they are used everywhere to normalise them.
    assert x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert x_train.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    for name, array in zip(FILES, (x_train, y_train, x_test, y_test)):
        assert hashlib.sha256(idx(array)).hexdigest() == mnist.MNIST.checksums[name]
