"""Fusion of normalizations with the convolutions next to them: where a kernel computes both, and with the same bits."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from programs import assert_fused, drawn, recorded

import gradlite
from gradlite import Tensor, keras
from gradlite.backends.cpu import native
from gradlite.keras import layers
from gradlite.ops.blocks import batch_norm_pool_dropout, conv2d_statistics

pytestmark = pytest.mark.usefixtures("each_device")


def test_in_inference_a_convolution_normalizes_and_pools_where_a_kernel_does_so(backend):
    x, kernel, b = drawn(2, 12, 12, 16), drawn(3, 3, 16, 20), drawn(20)
    first, normal = drawn(3, 3, 3, 16), [drawn(20), drawn(20), drawn(20), drawn(20).exp()]
    image, small = drawn(2, 12, 12, 3), [drawn(16), drawn(16), drawn(16), drawn(16).exp()]
    at_once = native.is_available() and backend.device == "cpu"

    def norm(y, parameters):
        return gradlite.batch_norm_inference(y, *parameters)

    def row():
        y = gradlite.relu(gradlite.conv2d(x, kernel, b, padding="same"))
        return [gradlite.max_pool2d(norm(y, normal), 2)]

    def behind_few_channels():
        y = gradlite.relu(gradlite.conv2d(image, first))
        return [gradlite.max_pool2d(norm(y, small), 2)]

    def read_by_two():
        y = gradlite.conv2d(x, kernel, b)
        return [norm(y, normal), y * 2]

    def normalized_twice():
        y = norm(gradlite.conv2d(x, kernel, b), normal)
        return [gradlite.max_pool2d(y, 2), y * 2]

    def by_itself():
        y = gradlite.conv2d(x, kernel)
        return [gradlite.batch_norm_inference(y, normal[0], normal[1], y[0, 0, 0], normal[3])]

    whole, apart = "conv2d_batch_norm_max_pool2d", ("conv2d", "batch_norm_inference")
    with gradlite.no_grad():
        activated = ("conv2d", "batch_norm_inference", "max_pool2d")
        assert_fused(backend, row, *((whole,) if at_once else activated))
        assert_fused(backend, behind_few_channels, *((whole, "max_pool2d") if at_once else activated))
        assert_fused(backend, read_by_two, *apart, "multiply")
        assert_fused(backend, normalized_twice, *((whole,) if at_once else apart), "max_pool2d", "multiply")
        launches, before, after = recorded(backend, by_itself)
        assert whole not in launches
        assert before[0].tobytes() == after[0].tobytes()


def trained_block(channels: int = 16) -> Any:
    """Two convolutions with their normalizations, and how gradients of them are computed."""
    image, first, second = drawn(2, 8, 7, 3).detach(), drawn(3, 3, 3, channels), drawn(3, 3, channels, 16)
    parameters = [drawn(n) for n in (channels, channels, channels, 16, 16, 16)]

    def step(also: Any = None) -> list[Tensor]:
        y, *statistics = conv2d_statistics(image, first, parameters[0], padding="same", activation="relu")
        y = batch_norm_pool_dropout(y, *parameters[1:3], 1e-3, statistics=tuple(statistics))[0]
        extra = [] if also is None else also(y, statistics)
        y, *statistics = conv2d_statistics(y, second, parameters[3], padding="same", activation="relu")
        y = batch_norm_pool_dropout(y, *parameters[4:], 1e-3, statistics=tuple(statistics))[0]
        return [*gradlite.grad((y * y).sum(), [first, second, *parameters]), *extra]

    return step


def test_what_only_convolutions_read_is_normalized_where_they_read_it_if_kernels_do_so(backend):
    at_once = native.is_available() and backend.device == "cpu"
    launches, before, after = recorded(backend, trained_block())
    assert launches.count("normalized_conv2d_statistics") == at_once
    assert launches.count("normalized_conv2d_parameter_gradients") == at_once
    assert launches.count("batch_norm_apply_max_pool2d_dropout") == 2 - at_once
    for a, b in zip(before, after):
        assert a.tobytes() == b.tobytes()


def test_a_normalization_that_others_read_or_that_changes_is_computed(backend):
    def read(y, statistics):
        return [y * 2]

    def kept(y, statistics):
        return [y]

    def changed(y, statistics):
        backend.launch("assign_add", statistics[0].data, 1.0)
        return []

    for also in (read, kept, changed):
        launches, before, after = recorded(backend, partial(trained_block(), also))
        assert not any(name.startswith("normalized") for name in launches)
        if also is not changed:
            for a, b in zip(before, after):
                assert a.tobytes() == b.tobytes()
    assert not any(name.startswith("normalized") for name in recorded(backend, trained_block(8))[0]), "few channels"


def test_moving_averages_do_not_change_what_they_take_in(backend):
    average = gradlite.zeros((16,))

    def averaged(y, statistics):
        backend.launch("moving_average", average.data, statistics[0].data, None, momentum=0.9)
        return []

    launches, *_ = recorded(backend, partial(trained_block(), averaged))
    assert ("normalized_conv2d_statistics" in launches) == (native.is_available() and backend.device == "cpu")


def test_a_convolution_does_not_normalize_by_what_changes_before_the_normalization(backend):
    x, kernel, mean, variance = drawn(2, 12, 12, 16), drawn(3, 3, 16, 20), drawn(20), drawn(20).exp()

    def changed_between():
        y = gradlite.conv2d(x, kernel)
        backend.launch("assign_add", kernel.data, 1.0)
        result = gradlite.batch_norm_inference(y, None, None, mean, variance)
        backend.launch("assign_add", kernel.data, -1.0)
        return [result]

    with gradlite.no_grad():
        launches, *_ = recorded(backend, changed_between)
    assert launches == ("conv2d", "assign_add", "batch_norm_inference", "assign_add")


def test_predictions_of_a_recorded_model_are_those_of_its_layers(backend):
    model = keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 9, 9, 3), np.float32), rng.standard_normal((20, 3), np.float32)
    model.fit(x, y, batch_size=10, epochs=2, verbose=0)  # averages that are not what they begin as
    with gradlite.no_grad():
        expected = model(x).numpy()
    assert model.predict(x, batch_size=20, verbose=0).tobytes() == expected.tobytes()
