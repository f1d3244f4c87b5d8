"""A few seconds that say whether the house stands: tensors, a gradient, a training loop by hand, a convolution."""

from __future__ import annotations

import numpy as np

import gradlite


def test_a_gradient_is_right():
    x = gradlite.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x * x + gradlite.exp(x)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy() + np.exp(x.numpy()), rtol=1e-6)


def test_second_derivatives_agree_with_finite_differences():
    x = gradlite.Tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
    assert gradlite.gradgradcheck(lambda x: gradlite.tanh(x @ x.T).sum(), x)


def test_gradient_descent_fits_a_line():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    y = x @ np.float32([[1.0], [-2.0], [0.5]]) + 3
    w, b = gradlite.zeros((3, 1)).requires_grad_(), gradlite.zeros(1).requires_grad_()
    for _ in range(200):
        loss = gradlite.mean((gradlite.dense(x, w, b) - y) ** 2)
        for p, g in zip((w, b), gradlite.grad(loss, [w, b])):
            with gradlite.no_grad():
                p[...] = p - 0.1 * g
    np.testing.assert_allclose(w.numpy().ravel(), [1.0, -2.0, 0.5], atol=1e-3)
    np.testing.assert_allclose(b.numpy(), [3.0], atol=1e-3)


def test_a_convolution_and_its_gradients_have_the_right_shapes():
    x, w = gradlite.ones((2, 5, 5, 3)).requires_grad_(), gradlite.ones((3, 3, 3, 4)).requires_grad_()
    y = gradlite.max_pool2d(gradlite.relu(gradlite.conv2d(x, w, padding="same")), 2)
    y.sum().backward()
    assert y.shape == (2, 2, 2, 4)
    assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)
