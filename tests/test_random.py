"""Random numbers: published vectors for Philox4x32-10, the same bits everywhere, distributions, dropout, generators."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from gradlite import random
from gradlite.backends.cpu import random as cpu
from gradlite.backends.reference import random as reference
from gradlite.random import Generator, set_seed

# Random123's known answers for philox4x32, 10 rounds: counter, key, output (Salmon et al. 2011, file kat_vectors).
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


class HostBackend:
    """As much of a backend as a generator needs."""

    def __init__(self):
        self.launched = []

    def asarray(self, data):
        return np.array(data)

    def to_numpy(self, array):
        return np.array(array)

    def launch(self, name, *arrays, **attributes):
        self.launched.append(name)
        return getattr(reference, name)(np, *arrays, **attributes)


def words(text):
    return [int(word, 16) for word in text.split()]


def state(seed=11, stream=2, draw=3):
    return np.array([seed, stream, draw], np.uint64)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_known_answers(counter, key, expected):
    result = reference.philox4x32(
        np,
        tuple(np.array([word], np.uint64) for word in words(counter)),
        tuple(np.array([word], np.uint64) for word in words(key)),
    )
    assert [int(word[0]) for word in result] == words(expected)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_the_blocked_cpu_philox_gives_the_published_known_answers(counter, key, expected):
    c0, stream, low, high = words(counter)
    k0, k1 = words(key)
    scratch = np.zeros((6, 1), np.uint64)
    result = cpu._philox_block(c0, 1, (k0 | k1 << 32, stream, low | high << 32), scratch)
    assert [int(word[0]) for word in result] == words(expected)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1000, 32768, 32771, 100_003])
def test_cpu_bits_are_the_reference_bits(size):
    for seed, stream, draw in [(0, 0, 0), (2**64 - 1, 2**32 - 1, 2**64 - 1), (0x123456789ABCDEF, 7, 2**40 + 5)]:
        bits = cpu.random_bits(state(seed, stream, draw), size=size)
        assert bits.dtype == np.uint32
        np.testing.assert_array_equal(bits, reference.random_bits(np, state(seed, stream, draw), size=size))


def test_a_longer_draw_begins_with_the_shorter_one():
    np.testing.assert_array_equal(cpu.random_bits(state(), size=50_000)[:777], cpu.random_bits(state(), size=777))


def test_seed_stream_and_draw_each_change_the_bits():
    bits = [cpu.random_bits(s, size=8).tobytes() for s in (state(), state(seed=12), state(stream=4), state(draw=9))]
    assert len(set(bits)) == 4


def test_draw_random_returns_a_snapshot_and_advances_the_draw_in_place():
    live = state(draw=2**64 - 1)
    snapshot = reference.draw_random(np, live)
    assert snapshot.tolist() == [11, 2, 2**64 - 1]
    assert live.tolist() == [11, 2, 0]
    assert not np.shares_memory(snapshot, live)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_are_in_the_half_open_interval_and_even(dtype):
    values = reference.random_uniform(np, state(), shape=(200, 500), dtype=dtype)
    assert values.dtype == dtype
    assert values.shape == (200, 500)
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values.astype(np.float64), bins=10, range=(0, 1))[0]
    chi_square = ((counts - 10_000.0) ** 2 / 10_000.0).sum()
    assert chi_square < 27.9  # the 0.999 quantile with 9 degrees of freedom
    np.testing.assert_array_equal(values, cpu.random_uniform(state(), shape=(200, 500), dtype=dtype))


def test_the_largest_word_stays_below_one_in_every_dtype():
    bits = np.full(2, 2**32 - 1, np.uint32)
    for dtype in ("float16", "float32", "float64"):
        assert reference.uniform_from_bits(np, bits, np.dtype(dtype)).max() < 1


def test_float64_uniform_numbers_have_53_bits():
    bits = np.array([2**32 - 1, 2**32 - 1, 0, 1 << 6], np.uint32)
    assert reference.uniform_from_bits(np, bits, np.dtype("float64")).tolist() == [1 - 2**-53, 2**-53]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_numbers_have_the_normal_distribution(dtype):
    values = reference.random_normal(np, state(), shape=(99_999,), dtype=dtype)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, cpu.random_normal(state(), shape=(99_999,), dtype=dtype))
    assert kolmogorov_distance(values.astype(np.float64), statistics.NormalDist().cdf) < 1.95 / math.sqrt(values.size)
    assert abs(np.corrcoef(values[:-1:2].astype(float), values[1::2].astype(float))[0, 1]) < 0.02


def kolmogorov_distance(values, cdf):
    """The largest difference between the empirical and the given distribution function."""
    values = np.sort(values)
    theory = np.array([cdf(value) for value in values])
    n = values.size
    return max((np.arange(1, n + 1) / n - theory).max(), (theory - np.arange(n) / n).max())


def test_the_word_that_gives_the_largest_radius_stays_finite():
    bits = np.array([2**32 - 1, 5, 2**32 - 1, 2**32 - 1], np.uint32)
    assert np.isfinite(reference.normal_from_bits(np, bits, 4, np.dtype("float32"))).all()
    assert np.isfinite(reference.normal_from_bits(np, bits, 2, np.dtype("float64"))).all()


@pytest.mark.parametrize("noise_shape", [None, (7, 1, 33), (None, 30, 1), (1, 1, 1)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_cpu_dropout_is_the_reference_dropout(dtype, rate, noise_shape):
    x = np.random.default_rng().normal(size=(7, 30, 33)).astype(dtype)
    for view in (x, x[:, ::-1]):
        expected = reference.dropout(np, view, state(), rate=rate, noise_shape=noise_shape)
        for _ in range(2):  # drawn, and from the remembered mask
            result = cpu.dropout(view, state(), rate=rate, noise_shape=noise_shape)
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, expected)
        out = np.empty_like(expected)
        assert cpu.dropout(view, state(), rate=rate, noise_shape=noise_shape, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_dropout_over_several_blocks_is_the_reference_dropout():
    x = np.random.default_rng().normal(size=100_001).astype(np.float32)
    np.testing.assert_array_equal(cpu.dropout(x, state(), rate=0.3), reference.dropout(np, x, state(), rate=0.3))


def test_dropout_keeps_the_mean_and_drops_the_asked_fraction():
    x = np.ones((300, 1000), np.float32)
    y = cpu.dropout(x, state(), rate=0.3)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.004)
    assert y.mean() == pytest.approx(1.0, abs=0.006)
    np.testing.assert_array_equal(np.unique(y), np.array([0, 1 / np.float32(0.7)], np.float32))


def test_dropped_elements_are_zero_even_where_the_input_is_nan_and_kept_nan_stays():
    x = np.full(1000, np.nan, np.float32)
    for y in (cpu.dropout(x, state(), rate=0.5), reference.dropout(np, x, state(), rate=0.5)):
        kept = cpu.dropout(np.ones_like(x), state(), rate=0.5) != 0
        assert np.isnan(y[kept]).all()
        assert (y[~kept] == 0).all()


def test_an_axis_of_one_in_the_noise_shape_shares_its_decision():
    y = cpu.dropout(np.ones((4, 50, 6), np.float32), state(), rate=0.5, noise_shape=(None, 1, None))
    assert (y == y[:, :1]).all()
    assert len(np.unique(y)) == 2


def test_a_noise_shape_that_does_not_fit_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"noise_shape=\(3, 1\).*\(4, 5\)"):
        cpu.dropout(np.ones((4, 5), np.float32), state(), rate=0.5, noise_shape=(3, 1))


@pytest.mark.parametrize("rate", [-0.1, 1.5, math.nan])
def test_a_dropout_rate_outside_zero_to_one_is_refused(rate):
    with pytest.raises(ValueError, match="rate="):
        reference.dropout(np, np.ones(3), state(), rate=rate)


def test_remembered_masks_stay_within_their_bounds():
    masks = cpu._Masks()
    for draw in range(40):
        masks.get(state(draw=draw), 2**31, 100)
    assert len(masks._masks) == masks.ENTRIES
    masks.get(state(draw=99), 2**31, masks.BYTES - 100)
    assert sum(mask.nbytes for mask in masks._masks.values()) <= masks.BYTES
    np.testing.assert_array_equal(masks.get(state(draw=5), 2**31, 100), cpu._draw_mask(state(draw=5), 2**31, 100))


@pytest.mark.parametrize("size", [0, 1, 2, 1001])
def test_a_permutation_holds_every_number_once(size):
    order = reference.random_permutation(np, state(), size=size)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))
    np.testing.assert_array_equal(order, cpu.random_permutation(state(), size=size))


def test_permutations_of_three_are_equally_likely():
    generator = Generator(seed=5)
    counts = {}
    for _ in range(6000):
        key = tuple(generator.permutation(3))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5  # 0.999 quantile, 5 degrees of freedom


def test_the_same_global_seed_gives_the_same_numbers_and_generators_differ():
    set_seed(42)
    first = [Generator().bits(6).tobytes() for _ in range(3)]
    set_seed(42)
    assert [Generator().bits(6).tobytes() for _ in range(3)] == first
    assert len(set(first)) == 3
    set_seed(43)
    assert Generator().bits(6).tobytes() not in first


def test_setting_the_seed_starts_the_shared_generator_again():
    set_seed(42)
    first = random.default_generator()
    bits = first.bits(4)
    assert random.default_generator() is first
    set_seed(42)
    np.testing.assert_array_equal(random.default_generator().bits(4), bits)
    assert (Generator().bits(4) != bits).all()


def test_a_generator_with_a_seed_of_its_own_does_not_depend_on_the_global_state():
    set_seed(1)
    first = Generator(seed=9).bits(4)
    set_seed(2)
    Generator()
    np.testing.assert_array_equal(Generator(seed=9).bits(4), first)


def test_without_a_global_seed_one_comes_from_the_system(monkeypatch):
    seeds = set()
    for _ in range(3):
        monkeypatch.setattr(random, "_seed", None)
        generator = Generator()
        assert Generator().seed == generator.seed
        seeds.add(generator.seed)
    assert len(seeds) == 3


def test_successive_draws_of_a_generator_differ_and_repeat_from_the_start():
    first, second = Generator(seed=3), Generator(seed=3)
    a, b = first.uniform((5,)), first.uniform((5,))
    assert (a != b).any()
    np.testing.assert_array_equal(second.uniform((5,)), a)
    np.testing.assert_array_equal(second.uniform((5,)), b)


def test_draw_moves_the_state_to_the_backend_and_launches_there():
    generator, backend = Generator(seed=3, stream=8), HostBackend()
    assert generator.draw(backend).tolist() == [3, 8, 0]
    home = generator.state
    assert generator.draw(backend).tolist() == [3, 8, 1]
    assert generator.state is home  # advanced in place: a recorded step keeps its address
    assert backend.launched == ["draw_random", "draw_random"]
    other = HostBackend()
    assert generator.draw(other).tolist() == [3, 8, 2]
    np.testing.assert_array_equal(generator.bits(4), cpu.random_bits(state(3, 8, 3), size=4))
    assert generator.draw(other).tolist() == [3, 8, 4]


def test_uniform_numbers_lie_between_low_and_high():
    values = Generator(seed=1).uniform((1000, 3), -2.0, 5.0)
    assert values.shape == (1000, 3)
    assert values.dtype == np.float32
    assert values.min() >= -2
    assert values.max() <= 5
    assert values.mean() == pytest.approx(1.5, abs=0.15)


def test_normal_numbers_have_the_asked_mean_and_deviation():
    values = Generator(seed=1).normal(100_000, mean=3.0, stddev=0.5, dtype="float64")
    assert values.mean() == pytest.approx(3.0, abs=0.006)
    assert values.std() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normal_numbers_follow_the_truncated_distribution(dtype):
    values = Generator(seed=1).truncated_normal((50_000,), mean=1.0, stddev=2.0, dtype=dtype)
    assert values.dtype == dtype
    assert values.min() >= -3
    assert values.max() <= 5
    normal = statistics.NormalDist(1.0, 2.0)
    low, high = normal.cdf(-3.0), normal.cdf(5.0)
    distance = kolmogorov_distance(values.astype(float), lambda v: (normal.cdf(v) - low) / (high - low))
    assert distance < 1.95 / math.sqrt(values.size)
    assert values.std() == pytest.approx(2 * 0.87962566103423978, rel=0.01)


def test_the_normal_quantile_agrees_with_the_standard_library():
    p = np.concatenate([np.linspace(0.02, 0.98, 1001), [1e-9, 0.075, 0.925, 1 - 1e-9]])
    expected = np.array([statistics.NormalDist().inv_cdf(v) for v in p])
    np.testing.assert_allclose(random.normal_quantile(p), expected, rtol=4e-15, atol=1e-15)


def test_integers_cover_their_range_evenly():
    values = Generator(seed=1).integers(-3, 4, (7000,))
    assert values.dtype == np.int64
    numbers, counts = np.unique(values, return_counts=True)
    assert numbers.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 22.5  # 0.999 quantile, 6 degrees of freedom


def test_an_empty_range_of_integers_is_refused():
    with pytest.raises(ValueError, match="low=3, high=3"):
        Generator(seed=1).integers(3, 3, (2,))


@pytest.mark.parametrize(("seed", "error"), [(1.5, TypeError), ("1", TypeError), (-1, ValueError), (2**64, ValueError)])
def test_a_seed_that_is_no_integer_of_64_bits_is_refused(seed, error):
    with pytest.raises(error, match="Received: seed="):
        set_seed(seed)
    with pytest.raises(error, match="Received: seed="):
        Generator(seed=seed)


def test_a_stream_beyond_32_bits_is_refused():
    with pytest.raises(ValueError, match="stream="):
        Generator(seed=1, stream=2**32)


def test_numbers_of_a_dtype_that_is_no_float_are_refused():
    with pytest.raises(TypeError, match="int32"):
        Generator(seed=1).uniform((2,), dtype="int32")
