"""The drawn digits: the same seed draws the same images, and the ten can be told apart, but not easily."""

from __future__ import annotations

import numpy as np
import pytest

from gradlite.keras.datasets import digit_shapes, digits


@pytest.fixture(scope="module")
def sample() -> tuple:
    return digits.load_data(train=6000, test=1500, seed=3)


def test_the_arrays_have_the_structure_of_mnist(sample: tuple) -> None:
    (x_train, y_train), (x_test, y_test) = sample
    assert (x_train.shape, y_train.shape) == ((6000, 28, 28), (6000,))
    assert (x_test.shape, y_test.shape) == ((1500, 28, 28), (1500,))
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}


def test_the_same_seed_draws_the_same_images(sample: tuple) -> None:
    again = digits.load_data(train=6000, test=1500, seed=3)
    for split, split_again in zip(sample, again):
        for array, array_again in zip(split, split_again):
            np.testing.assert_array_equal(array, array_again)


@pytest.mark.parametrize("n", [0, 1, 499, 500, 501, 1234])
def test_the_first_images_do_not_depend_on_how_many_are_drawn(sample: tuple, n: int) -> None:
    fewer = digits.load_data(train=n, test=n // 2, seed=3)
    for split, split_fewer, count in zip(sample, fewer, (n, n // 2)):
        for array, array_fewer in zip(split, split_fewer):
            np.testing.assert_array_equal(array[:count], array_fewer)


def test_another_seed_draws_other_images(sample: tuple) -> None:
    (x, y), _ = sample
    (x_other, y_other), _ = digits.load_data(train=6000, test=0, seed=4)
    assert 0.05 < (y == y_other).mean() < 0.15
    assert not (x == x_other).all(axis=(1, 2)).any()


def test_no_image_is_drawn_twice_and_none_is_in_both_splits(sample: tuple) -> None:
    (x_train, _), (x_test, _) = sample
    assert len({image.tobytes() for image in (*x_train, *x_test)}) == len(x_train) + len(x_test)


def test_all_ten_digits_are_about_as_frequent(sample: tuple) -> None:
    for _, y in sample:
        counts = np.bincount(y, minlength=10)
        assert len(counts) == 10
        # Five standard deviations of a binomial count.
        assert np.abs(counts - len(y) / 10).max() < 5 * np.sqrt(len(y) * 0.09)


def test_ink_is_white_on_black_and_stays_on_the_paper(sample: tuple) -> None:
    (x, _), _ = sample
    assert x.max(axis=(1, 2)).min() > 150  # every image has a stroke
    assert 0.1 < x.mean() / 255 < 0.2  # MNIST has 0.13
    assert (x == 0).mean() > 0.5
    edge = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
    assert edge.mean() < 3


def test_digits_can_be_told_apart_by_their_mean_images_but_not_well(sample: tuple) -> None:
    (x_train, y_train), (x_test, y_test) = sample
    train, test = x_train.reshape(6000, -1) / 255, x_test.reshape(1500, -1) / 255
    means = np.stack([train[y_train == digit].mean(axis=0) for digit in range(10)])
    nearest = ((test[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert 0.5 < (nearest == y_test).mean() < 0.85


@pytest.mark.parametrize("bad", [{"train": -1}, {"test": 2.0}, {"seed": -5}, {"seed": None}, {"train": True}])
def test_a_count_or_seed_that_cannot_be_is_refused(bad: dict) -> None:
    (name, value), *_ = bad.items()
    with pytest.raises(ValueError, match=f"needs {name} to be a non-negative integer. Received: {name}={value!r}"):
        digits.load_data(**bad)


def test_numpy_integers_are_counts_and_seeds() -> None:
    (x, _), (x_test, _) = digits.load_data(train=np.int64(3), test=np.uint8(2), seed=np.int32(1))
    assert (len(x), len(x_test)) == (3, 2)


def test_every_digit_has_several_styles() -> None:
    table = digit_shapes.shapes()
    assert len(table.style_count) == 10
    assert table.style_count.min() >= 5
    assert table.first_style[-1] + table.style_count[-1] == len(table.basis) == table.style_count.sum()


def strokes_of(style: int) -> list[list[str]]:
    texts = [text for styles in digit_shapes.STYLES for text in styles]
    return [stroke.split() for stroke in texts[style].split("/")]


def test_a_curve_begins_ends_and_turns_where_its_style_says() -> None:
    table = digit_shapes.shapes()
    for style in range(len(table.basis)):
        nodes = table.basis[style] @ table.control[style]
        strokes = np.split(nodes, np.flatnonzero(table.pen_down[style] == 0) + 1)
        assert len(strokes) == len(strokes_of(style))
        for drawn, words in zip(strokes, strokes_of(style)):
            points = np.array([[int(value) / 100 for value in word.rstrip("*").split(",")] for word in words])
            np.testing.assert_allclose(drawn[[0, -1]], points[[0, -1]], atol=1e-12)
            # Nodes are so close together that one is near every point that the pen passes through.
            apart = np.linalg.norm(drawn[:, None] - points, axis=-1).min(axis=0)
            assert apart.max() < 0.03


def test_nodes_are_evenly_spaced_and_closer_than_a_pixel() -> None:
    table = digit_shapes.shapes()
    for basis, control, pen_down in zip(table.basis, table.control, table.pen_down):
        steps = np.linalg.norm(np.diff(basis @ control, axis=0), axis=1)[pen_down == 1]
        assert steps.max() < 1.1 * np.median(steps)  # a corner cut short makes a small one
        assert steps.max() * max(digits.HEIGHT) < 1


def test_moving_all_control_points_moves_the_curve_along() -> None:
    table = digit_shapes.shapes()
    np.testing.assert_allclose(table.basis.sum(axis=-1), 1, atol=1e-12)
    assert np.abs(table.basis).max() < 1.2
