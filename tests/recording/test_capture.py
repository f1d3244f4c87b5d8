"""Captured functions: the bits of an ordinary call, from then on without its Python; and what cannot be captured."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, keras
from gradlite.recording import CaptureError, Recorder

pytestmark = pytest.mark.usefixtures("each_device")


def network(weights, x):
    hidden = gradlite.dense(x, weights[0], weights[1], activation="relu")
    loss = (gradlite.log_softmax(gradlite.dense(hidden, weights[2])) * -0.25).mean()
    return loss, *gradlite.grad(loss, weights)


def make_weights(rng):
    return [
        Tensor(rng.standard_normal(shape, np.float32), requires_grad=True, device=gradlite.get_device())
        for shape in ((6, 5), (5,), (5, 3))
    ]


def drawn(rng, *shape):
    return Tensor(rng.standard_normal(shape, np.float32), device=gradlite.get_device())


def test_replays_give_the_bits_of_ordinary_calls_and_read_weights_as_they_are_then(rng):
    weights = make_weights(rng)
    step = gradlite.capture(lambda x: network(weights, x))
    for _ in range(3):
        x = drawn(rng, 7, 6)
        for found, expected in zip(step(x), network(weights, x)):
            assert found.numpy().tobytes() == expected.numpy().tobytes()
            assert not found.requires_grad
        with gradlite.no_grad():
            weights[0][:] = weights[0] * 0.5
    assert len(step.programs) == 1


def test_results_of_one_call_are_left_alone_by_the_next(rng):
    double = gradlite.capture(lambda x: x * 2)
    first = double(drawn(rng, 3))
    before = first.numpy()
    double(drawn(rng, 3))
    double(drawn(rng, 3))
    np.testing.assert_array_equal(first.numpy(), before)


def test_every_kind_of_inputs_has_a_program_of_its_own(rng):
    double = gradlite.capture(lambda x: x + x)
    for shape in ((3,), (4,), (3,), (2, 2)):
        x = drawn(rng, *shape)
        np.testing.assert_array_equal(double(x).numpy(), 2 * x.numpy())
    assert double(Tensor([1, 2], device=gradlite.get_device())).dtype == np.int64
    assert len(double.programs) == 4


def test_views_operations_of_users_and_updates_in_place_are_replayed(rng):
    count = Tensor(np.zeros(2, np.float32), device=gradlite.get_device())

    @gradlite.op(lambda g, out, x: g * 3 * x * x)
    def cube(xp, x):
        return x * x * x

    @gradlite.capture
    def step(x):
        with gradlite.no_grad():
            count[:] = count + 1
        turned = cube(x.transpose()[1:]).reshape(-1)
        return turned, turned.flip()

    for call in range(1, 4):
        x = drawn(rng, 3, 4)
        turned, flipped = step(x)
        expected = (x.numpy().T[1:] ** 3).ravel()
        np.testing.assert_allclose(turned.numpy(), expected, rtol=1e-6)
        np.testing.assert_array_equal(flipped.numpy(), turned.numpy()[::-1])
        assert count.tolist() == [call, call]


def test_random_draws_go_on_from_replay_to_replay():
    keras.utils.set_random_seed(5)
    dropout = keras.layers.Dropout(0.5)
    ones = gradlite.ones((4, 9))
    expected = [dropout(ones, training=True).numpy() for _ in range(4)]
    keras.utils.set_random_seed(5)
    dropout = keras.layers.Dropout(0.5)
    dropped = gradlite.capture(lambda x: dropout(x, training=True))
    for values in expected:
        np.testing.assert_array_equal(dropped(ones).numpy(), values)


@pytest.mark.parametrize("read", [lambda x: x.sum().item(), lambda x: x.numpy(), lambda x: bool((x > 0).all()), float])
def test_a_value_read_on_the_host_is_an_error_that_names_the_line(read):
    def step(x):
        read(x[0])
        return x

    with pytest.raises(
        CaptureError, match=r"step cannot be captured: a value is read on the host in .*test_capture.py"
    ):
        gradlite.capture(step)(gradlite.ones((1,)))


def test_a_result_that_is_no_tensor_and_a_changed_input_are_refused():
    with pytest.raises(CaptureError, match=re.escape("returns Tensors. Received: int")):
        gradlite.capture(lambda x: 3)(gradlite.ones(2))

    def change(x):
        x[0] = 1.0

    with pytest.raises(CaptureError, match=r"changes one of its inputs in place \(assign_at\)"):
        gradlite.capture(change)(gradlite.zeros(2))


def test_the_backend_is_itself_again_after_an_error_within(backend):
    before = backend.launch

    def fail(x):
        raise KeyError("within")

    with pytest.raises(KeyError, match="within"):
        gradlite.capture(fail)(gradlite.ones(2))
    assert backend.launch == before
    recorder = Recorder(backend)
    with recorder.recording(), pytest.raises(CaptureError, match="while another one is"), Recorder(backend).recording():
        pass


def test_a_captured_function_within_another_becomes_a_part_of_it(rng):
    double = gradlite.capture(lambda x: x * 2)
    both = gradlite.capture(lambda x: double(x) + double(x + 1))
    for _ in range(3):
        x = drawn(rng, 4)
        np.testing.assert_allclose(both(x).numpy(), 4 * x.numpy() + 2, rtol=1e-6)
    assert both.programs[0].launches == ("multiply", "add", "multiply", "add")
    assert double.programs == []


def test_memory_is_shared_by_what_is_never_needed_together():
    def chain(x):
        for _ in range(10):
            x = gradlite.tanh(x * 0.5)
        return x

    step = gradlite.capture(chain)
    step(gradlite.ones((1024,)))  # 4096 bytes, which no allocator rounds up
    memory = step.programs[0].memory
    assert memory.buffers == 20
    assert memory.unshared_bytes == 20 * 4096
    assert memory.live_bytes == 2 * 4096
    assert memory.live_bytes <= memory.planned_bytes <= 1.1 * memory.live_bytes
