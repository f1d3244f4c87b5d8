"""Operations that users define, by class and by decorator: gradients of any order, and messages for mistakes."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


class Cube(gradlite.Op):
    def forward(self, backend, x):
        return x * x * x

    def vjp(self, node, gradient):
        (x,) = node.saved_inputs()
        return [gradient * 3 * x * x]


class SumAndDifference(gradlite.Op):
    outputs = 2

    def forward(self, backend, a, b, *, scale):
        return (a + b) * scale, (a - b) * scale

    def vjp(self, node, to_sum, to_difference):
        scale = node.attributes["scale"]
        plus = 0 if to_sum is None else to_sum * scale
        minus = 0 if to_difference is None else to_difference * scale
        return [plus + minus, plus - minus]


class Exponential(gradlite.Op):
    name = "exponential"
    saves_inputs = False
    saves_output = True

    def forward(self, backend, x):
        return backend.xp.exp(x)

    def vjp(self, node, gradient):
        return [gradient * node.saved_output()]


@gradlite.op(
    lambda g, out, x, y, *, power: g * power * x ** (power - 1) * y, lambda g, out, x, y, *, power: g * x**power
)
def scaled_power(xp, x, y, *, power):
    """x ** power * y."""
    return xp.power(x, power) * y


@gradlite.op(lambda g, out, x: g * out)
def exponential(xp, x):
    return xp.exp(x)


def inputs(*shapes):
    rng = np.random.default_rng(0)
    return [Tensor(rng.uniform(0.5, 2, shape), requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (Cube(), [(2, 3)]),
        (Exponential(), [(3,)]),
        (lambda a, b: SumAndDifference()(a, b, scale=3.0), [(3,), (3,)]),
        (lambda a, b: SumAndDifference()(a, b, scale=3.0)[1], [(3,), (3,)]),
        (lambda x, y: scaled_power(x, y, power=3), [(2, 3), (3,)]),
        (exponential, [(2,)]),
    ],
)
def test_users_operations_have_right_derivatives_of_both_orders(function, shapes):
    assert gradlite.gradcheck(function, inputs(*shapes))
    assert gradlite.gradgradcheck(lambda *x: [y * y for y in _listed(function(*x))], inputs(*shapes))


def _listed(y):
    return y if isinstance(y, (tuple, list)) else [y]


def test_an_input_without_a_derivative_gets_none():
    @gradlite.op(lambda g, out, x, c: g * c, None)
    def scale(xp, x, c):
        return x * c

    x, c = inputs((2,), (2,))
    to_x, to_c = gradlite.grad(scale(x, c).sum(), [x, c], allow_unused=True)
    np.testing.assert_array_equal(to_x.numpy(), c.numpy())
    assert to_c is None


def test_an_operation_without_derivatives_records_nothing():
    @gradlite.op()
    def sign(xp, x):
        return xp.sign(x)

    (x,) = inputs((2,))
    assert not sign(x).requires_grad


def test_numbers_and_arrays_are_taken_as_inputs():
    assert Cube()(2.0).item() == 8.0
    np.testing.assert_array_equal(Cube()(np.array([1.0, 2.0])).numpy(), [1.0, 8.0])
    np.testing.assert_array_equal(Cube()([1.0, 2.0]).numpy(), [1.0, 8.0])


def test_a_decorated_function_keeps_its_name_and_documentation():
    assert scaled_power.name == "scaled_power"
    assert scaled_power.__doc__ == "x ** power * y."
    assert "scaled_power" in repr(scaled_power)


def test_missing_methods_are_named():
    class Nothing(gradlite.Op):
        pass

    class OnlyForward(gradlite.Op):
        def forward(self, backend, x):
            return x + 1

    with pytest.raises(NotImplementedError, match="Nothing needs a forward"):
        Nothing()(1.0)
    with pytest.raises(NotImplementedError, match=r"OnlyForward needs a vjp\(node, gradient\)"):
        OnlyForward()(inputs((1,))[0]).backward()


def test_a_wrong_number_of_derivatives_is_named():
    @gradlite.op(lambda g, out, x, y: g)
    def add(xp, x, y):
        return x + y

    with pytest.raises(TypeError, match=r"add.* has 1 derivatives for 2 inputs"):
        add(*inputs((1,), (1,))).backward()


def test_several_outputs_must_be_declared():
    @gradlite.op(lambda g, out, x: g)
    def twins(xp, x):
        return x, x + 1

    with pytest.raises(TypeError, match=r"twins.* returned 2 outputs and declares 1"):
        twins(inputs((1,))[0])


@pytest.mark.parametrize("answer", [lambda g: g, lambda g: [], lambda g: [g, g]])
def test_a_vjp_must_give_one_gradient_for_each_input(answer):
    class Identity(gradlite.Op):
        name = "identity"

        def forward(self, backend, x):
            return x + 0

        def vjp(self, node, gradient):
            return answer(gradient)

    with pytest.raises(TypeError, match="vjp of identity must return a list of 1 gradient"):
        Identity()(inputs((3,))[0]).sum().backward()


def test_gradcheck_finds_a_wrong_derivative_and_names_the_element():
    @gradlite.op(lambda g, out, x: g * 2.5 * x)
    def square(xp, x):
        return x * x

    with pytest.raises(gradlite.GradcheckError, match=r"input 0 differs .* in 3 of 3 elements; most at \("):
        gradlite.gradcheck(square, inputs((3,)))


def test_gradgradcheck_finds_a_derivative_that_forgets_its_own_dependence():
    @gradlite.op(lambda g, out, x: g * 2 * x.detach())
    def square(xp, x):
        return x * x

    assert gradlite.gradcheck(square, inputs((3,)))
    with pytest.raises(gradlite.GradcheckError):
        gradlite.gradgradcheck(square, inputs((3,)))


def test_gradcheck_refuses_float32_and_inputs_without_gradient():
    with pytest.raises(TypeError, match=r"float64 inputs. Received: input 0 of dtype float32"):
        gradlite.gradcheck(gradlite.exp, Tensor([1.0], requires_grad=True))
    with pytest.raises(ValueError, match="at least one input"):
        gradlite.gradcheck(gradlite.exp, Tensor([1.0]))
    with pytest.raises(gradlite.GradcheckError, match="No output"):
        gradlite.gradcheck(gradlite.floor, inputs((2,)))
