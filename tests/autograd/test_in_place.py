"""Changes in place: detected where backward needs the old values, by version, and allowed where it does not."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, Variable
from gradlite.tensor import wrap

pytestmark = pytest.mark.usefixtures("each_device")

CHANGED = "changed in place 1 time"


@pytest.fixture
def x():
    return Tensor([1.0, 2.0], dtype="float64", requires_grad=True)


def test_a_recorded_tensor_cannot_be_written_to_and_the_message_says_what_to_do(x):
    for target in (x, x * 2):
        with pytest.raises(RuntimeError, match=r"gradlite\.where.*no_grad"):
            target[0] = 5.0


def test_writing_a_tensor_that_requires_a_gradient_into_another_is_refused(x):
    target = gradlite.zeros(2)
    with pytest.raises(RuntimeError, match=r"gradient.*detach"):
        target[0] = x[0]
    target[0] = x[0].detach()
    assert target[0].item() == 1.0


def test_a_changed_input_is_found_and_the_message_names_operation_and_shape(x):
    y = (x * x).sum()
    with gradlite.no_grad():
        x[0] = 5.0
    with pytest.raises(
        RuntimeError, match=r"multiply needs an input of shape \(2,\), which was changed in place 1 time"
    ):
        y.backward()


def test_a_changed_output_is_found(x):
    y = gradlite.exp(x)
    with gradlite.no_grad():
        y[0] = 5.0
    with pytest.raises(RuntimeError, match=r"exp needs its output of shape \(2,\), which was " + CHANGED):
        y.sum().backward()


def test_a_changed_constant_is_found(x):
    constant = Tensor([3.0, 4.0], dtype="float64")
    y = (x * constant).sum()
    constant[0] = 0.0
    with pytest.raises(RuntimeError, match=CHANGED):
        y.backward()


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[1:], lambda t: t.reshape(2, 1), lambda t: t.T, lambda t: t[::-1], lambda t: t.detach(),
        lambda t: t.flip(), lambda t: t.broadcast_to(2), lambda t: t[None].squeeze(0), lambda t: t.split(2)[0],
        lambda t: Tensor(t),
    ],
)  # fmt: skip
def test_a_change_through_a_view_is_found_also_when_the_view_is_older(x, view):
    for early in (True, False):
        constant = Tensor([3.0, 4.0], dtype="float64")
        window = view(constant) if early else None
        y = (x * constant).sum()
        window = view(constant) if window is None else window
        window.data.flags.writeable = True
        window[...] = 0.0
        assert constant.numpy().min() == 0.0, "the view should share memory"
        with pytest.raises(RuntimeError, match=CHANGED):
            y.backward()


def test_a_change_of_the_base_is_found_by_what_saved_a_view(x):
    constant = Tensor([[3.0, 4.0]], dtype="float64")
    y = (x * constant[0]).sum()
    constant[0, 0] = 1.0
    with pytest.raises(RuntimeError, match=CHANGED):
        y.backward()


def test_a_variable_assigned_between_forward_and_backward_is_found():
    for change in (lambda v: v.assign([5.0]), lambda v: v.assign_add([1.0]), lambda v: v.assign_sub([1.0])):
        v = Variable([2.0])
        y = v * v
        change(v)
        with pytest.raises(RuntimeError, match=CHANGED):
            y.backward()


def test_a_change_that_backward_does_not_need_is_allowed(x):
    y = x + 3
    z = (y - 1).sum()
    with gradlite.no_grad():
        y[0] = 7.0
        x[0] = 7.0
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 1.0])


def test_a_change_before_the_operation_counts_as_its_input(x):
    constant = Tensor([3.0, 4.0], dtype="float64")
    constant[0] = 10.0
    (x * constant).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [10.0, 4.0])


def test_a_copy_may_be_changed(x):
    constant = Tensor([3.0, 4.0], dtype="float64")
    y = (x * constant).sum()
    constant.copy()[...] = 0.0
    gradlite.einsum("i->i", constant)[...] = 0.0
    gradlite.concatenate([constant])[...] = 0.0
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])


def test_a_changed_argument_of_a_checkpoint_is_found(x):
    constant = Tensor([3.0, 4.0], dtype="float64")
    for change in (x, constant):
        y = gradlite.checkpoint(lambda x, c: (x * c).sum(), x, constant)
        z = gradlite.checkpoint(lambda x: (x * constant).sum(), x)
        with gradlite.no_grad():
            change[0] = change[0] + 1.0
        for result in (y, z):
            with pytest.raises(RuntimeError, match=CHANGED):
                result.backward()


def test_writing_takes_numbers_arrays_tensors_and_every_kind_of_index():
    t = gradlite.zeros((3, 4))
    expected = np.zeros((3, 4), np.float32)
    for index, value in (
        (0, 1.0), ((slice(None), 1), [1, 2, 3]), ((Tensor([0, 2]), 2), Tensor([5.0, 6.0])), ([1], np.full(4, 9.0)),
    ):  # fmt: skip
        t[index] = value
        plain = tuple(i.numpy() if isinstance(i, Tensor) else i for i in index) if isinstance(index, tuple) else index
        expected[plain] = value.numpy() if isinstance(value, Tensor) else value
    mask = t > 5
    t[mask] = -1.0
    expected[expected > 5] = -1.0
    np.testing.assert_array_equal(t.numpy(), expected)
    assert t.version == 5


def test_views_share_a_version_and_copies_do_not():
    t = gradlite.zeros(3)
    view, copy = t[1:], t.copy()
    view[0] = 1.0
    assert (t.version, view.version, copy.version) == (1, 1, 0)
    assert wrap(t.data, t.backend).version == 0
