"""gradcheck and gradgradcheck: derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradlite.autograd.engine import grad
from gradlite.autograd.modes import enable_grad, no_grad
from gradlite.tensor import Tensor


class GradcheckError(AssertionError):
    """A derivative does not agree with finite differences."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    *,
    step: float = 1e-6,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    seed: int = 0,
) -> bool:
    """Check the gradient of ``function(*inputs)`` against central differences, along a random direction of its outputs.

    Args:
        function: takes the inputs, returns a Tensor or several.
        inputs: float64 Tensors; those that require a gradient are checked. Choose values away from kinks.
        step: the size of the difference.
        rtol: relative tolerance.
        atol: absolute tolerance.
        seed: of the random direction.

    Returns:
        True.

    Raises:
        GradcheckError: naming the input, the element and both values.
        TypeError: for inputs that are not float64, whose differences would be noise.

    >>> import gradlite
    >>> x = gradlite.Tensor([0.5, 1.5], dtype="float64", requires_grad=True)
    >>> gradlite.gradcheck(gradlite.tanh, x)
    True
    """
    given: list[Tensor] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck() needs at least one input that requires a gradient.")
    for i in checked:
        if given[i].dtype != np.float64:
            raise TypeError(f"gradcheck() needs float64 inputs. Received: input {i} of dtype {given[i].dtype}.")
    with enable_grad():
        outputs = _listed(function(*given))
    directions = _directions(outputs, seed)
    differentiable = [(y, d) for y, d in zip(outputs, directions) if y.requires_grad]
    if not differentiable:
        raise GradcheckError("No output of the function requires a gradient.")
    analytic = grad(
        [y for y, _ in differentiable], [given[i] for i in checked], [d for _, d in differentiable], allow_unused=True
    )
    for i, gradient in zip(checked, analytic):
        numeric = _numeric(function, given, i, directions, step)
        found = np.zeros_like(numeric) if gradient is None else gradient.numpy()
        _compare(i, found, numeric, rtol, atol)
    return True


def gradgradcheck(
    function: Callable[..., Any], inputs: Tensor | Sequence[Tensor], *, seed: int = 0, **tolerances: float
) -> bool:
    """Check the second derivatives: ``gradcheck`` of the gradient, in the inputs and in the gradient flowing in.

    Arguments, result and errors are those of ``gradcheck``.

    >>> import gradlite
    >>> x = gradlite.Tensor([0.5, 1.5], dtype="float64", requires_grad=True)
    >>> gradlite.gradgradcheck(gradlite.tanh, x)
    True
    """
    given: list[Tensor] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    with enable_grad():
        outputs = [y for y in _listed(function(*given)) if y.requires_grad]
    weights = [d.requires_grad_() for d in _directions(outputs, seed + 1)]

    def first_order(*values: Tensor) -> list[Tensor]:
        with enable_grad():
            args = list(values[: len(given)])
            results = [y for y in _listed(function(*args)) if y.requires_grad]
            found = grad(
                results, [args[i] for i in checked], list(values[len(given) :]), create_graph=True, allow_unused=True
            )
        return [g for g in found if g is not None and g.requires_grad]

    if not first_order(*given, *weights):
        raise GradcheckError("The gradient does not depend on anything that could be differentiated.")
    return gradcheck(first_order, [*given, *weights], seed=seed, **tolerances)


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _directions(outputs: Sequence[Tensor], seed: int) -> list[Tensor]:
    """A random tensor for each output: its products with the outputs stand for all of them."""
    rng = np.random.default_rng(seed)
    return [Tensor(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape), device=y.device) for y in outputs]


def _numeric(
    function: Callable[..., Any], inputs: Sequence[Tensor], which: int, directions: Sequence[Tensor], step: float
) -> np.ndarray:
    """The derivative of the outputs along their directions, for every element of one input."""
    values = inputs[which].numpy()
    result = np.empty(values.shape)

    def along(array: np.ndarray) -> float:
        moved = list(inputs)
        moved[which] = Tensor(array, device=inputs[which].device, requires_grad=True)
        with no_grad():
            outputs = _listed(function(*moved))
        return float(sum((y.numpy().astype(np.float64) * d.numpy()).sum() for y, d in zip(outputs, directions)))

    for index in np.ndindex(values.shape):
        shifted = values.copy()
        shifted[index] = values[index] + step
        above = along(shifted)
        shifted[index] = values[index] - step
        result[index] = (above - along(shifted)) / (2 * step)
    return result


def _compare(which: int, found: np.ndarray, numeric: np.ndarray, rtol: float, atol: float) -> None:
    wrong = ~(np.abs(found - numeric) <= atol + rtol * np.abs(numeric))
    if wrong.any():
        worst = np.unravel_index(np.argmax(np.where(wrong, np.abs(found - numeric), -1)), wrong.shape)
        raise GradcheckError(
            f"The gradient of input {which} differs from finite differences in {int(wrong.sum())} of {wrong.size} "
            f"elements; most at {tuple(int(k) for k in worst)}: {found[worst]:.9g}, should be {numeric[worst]:.9g}."
        )
