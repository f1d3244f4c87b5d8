"""CUDA random numbers: Philox's published vectors, the reference's bits, and dropout's masks."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, check_bits, count_launches, expected, launch

# (counter, key, words) from the authors' Random123, kat_vectors, of philox4x32 with 10 rounds.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
SIZES = (1, 3, 4, 1001)


def state(seed=7, stream=3, draw=11):
    return np.array([seed, stream, draw], np.uint64)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_the_device_function_gives_the_published_vectors(gpu, counter, key, words):
    """Counters far from 0 are out of reach of an array, so a kernel of the test's own calls the function."""
    from gradlite.backends.cuda.sources import source

    text = "#define T float\n" + source("philox.cu") + (
        'extern "C" __global__ void known(const unsigned* in, unsigned* out) {\n'
        "  Words words = philox4x32(Words{{in[0], in[1], in[2], in[3]}}, in[4], in[5]);\n"
        "  for (int i = 0; i < 4; i++) out[i] = words.at[i];\n"
        "}\n"
    )  # fmt: skip
    function = gpu.xp.RawModule(code=text, options=("--std=c++17",)).get_function("known")
    with gpu.entered():
        out = gpu.empty((4,), np.uint32)
        function((1,), (1,), (gpu.asarray(np.array([*counter, *key], np.uint32)), out))
    assert gpu.to_numpy(out).tolist() == list(words)


@pytest.mark.parametrize("size", SIZES)
def test_words_are_the_references(gpu, size):
    for numbers in (state(), state(2**64 - 1, 2**32 - 1, 2**64 - 1), state(2**40 + 5, 0, 2**33 + 1)):
        found = launch(gpu, "random_bits", [numbers], size=size)[0]
        np.testing.assert_array_equal(found, expected("random_bits", [numbers], size=size)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (1001,), (0, 4)])
def test_uniform_numbers_are_the_references_to_the_bit(gpu, shape, dtype):
    options = {"shape": shape, "dtype": np.dtype(dtype)}
    found = launch(gpu, "random_uniform", [state()], **options)[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected("random_uniform", [state()], **options)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (50_001,)])
def test_normal_numbers_are_the_references_up_to_rounding(gpu, shape, dtype):
    options = {"shape": shape, "dtype": np.dtype(dtype)}
    found = launch(gpu, "random_normal", [state()], **options)[0]
    assert found.dtype == dtype
    wanted = expected("random_normal", [state()], **options)[0].astype(np.float64)
    rounding = {"float32": 6e-7, "float64": 1e-14, "float16": 1e-3}[dtype]
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=rounding, atol=rounding)


def test_drawing_copies_the_state_and_moves_it_on(gpu):
    home = gpu.asarray(state(7, 3, 2**64 - 1))
    first, second = gpu.launch("draw_random", home), gpu.launch("draw_random", home)
    assert first.get().tolist() == [7, 3, 2**64 - 1]
    assert second.get().tolist() == [7, 3, 0]
    assert home.get().tolist() == [7, 3, 1]
    out = gpu.empty((3,), np.uint64)
    assert gpu.launch("draw_random", home, out=out) is out
    assert out.get().tolist() == [7, 3, 1]


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (33, 5), (4, 8), (2, 6, 3, 4)])
def test_dropout_is_the_references_to_the_bit(gpu, rng, shape, dtype, rate):
    x = rng.uniform(-2, 2, shape).astype(dtype)
    found = check(gpu, "dropout", [x, state()], rate=rate)[0]
    np.testing.assert_array_equal(found, expected("dropout", [x, state()], None, rate=rate)[0])


@pytest.mark.parametrize(
    "noise", [(None, 1, 1, None), (1, None, None, 1), (None, 1, None, 1), (1, 1, 1, 1), (2, 6, 3, 1), (None,) * 4]
)
def test_axes_of_one_in_the_noise_shape_share_their_decision(gpu, rng, noise):
    x = rng.uniform(-2, 2, (2, 6, 3, 4)).astype(np.float32)
    found = check(gpu, "dropout", [x, state()], rate=0.5, noise_shape=noise)[0]
    np.testing.assert_array_equal(found, expected("dropout", [x, state()], None, rate=0.5, noise_shape=noise)[0])


def test_a_dropped_missing_number_is_zero_and_a_kept_one_stays(gpu):
    x = np.full(1000, np.nan, np.float32)
    found = launch(gpu, "dropout", [x, state()], rate=0.5)[0]
    kept = launch(gpu, "dropout", [np.ones_like(x), state()], rate=0.5)[0] != 0
    assert np.isnan(found[kept]).all()
    assert (found[~kept] == 0).all()
    assert 400 < kept.sum() < 600


def test_an_element_whose_word_is_the_threshold_is_kept(gpu):
    x = np.ones(8, np.float32)
    for place, word in enumerate(launch(gpu, "random_bits", [state()], size=8)[0].tolist()):
        assert launch(gpu, "dropout", [x, state()], rate=word / 2**32)[0][place] != 0
        assert launch(gpu, "dropout", [x, state()], rate=(word + 1) / 2**32)[0][place] == 0


def test_a_rate_or_noise_shape_that_does_not_fit_is_refused_as_on_the_cpu(gpu):
    x = gpu.asarray(np.ones((4, 5), np.float32))
    with pytest.raises(ValueError, match=r"rate=1\.5"):
        gpu.launch("dropout", x, gpu.asarray(state()), rate=1.5)
    with pytest.raises(ValueError, match=r"noise_shape=\(3, 1\).*\(4, 5\)"):
        gpu.launch("dropout", x, gpu.asarray(state()), rate=0.5, noise_shape=(3, 1))


def test_every_schedule_gives_the_same_bits(gpu, schedule):
    check_bits(gpu, "random_normal", [state()], shape=(1001,), dtype=np.dtype("float32"))
    check_bits(gpu, "dropout", [np.ones((33, 7), np.float32), state()], rate=0.5)


def test_no_access_is_out_of_bounds_or_races(gpu, checked):
    for size in SIZES:
        launch(gpu, "random_bits", [state()], size=size)
        for name in ("random_uniform", "random_normal"):
            launch(gpu, name, [state()], shape=(size,), dtype=np.dtype("float32"))
        launch(gpu, "dropout", [np.ones(size, np.float32), state()], rate=0.5)
        launch(gpu, "dropout", [np.ones((size, 3), np.float32), state()], rate=0.5, noise_shape=(None, 1))


def test_drawing_and_dropping_are_one_launch_each(gpu, monkeypatch):
    assert count_launches(gpu, monkeypatch, "draw_random", [state()]) == ["draw_random"]
    assert count_launches(gpu, monkeypatch, "dropout", [np.ones((32, 512), np.float32), state()], rate=0.5) == [
        "dropout"
    ]
