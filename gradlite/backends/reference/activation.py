"""Activations that a product or a convolution applies in its own epilogue, and their derivatives.

Those whose derivative follows from the output alone: what was there before the activation need not be kept.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.reference.special import relu, relu_gradient, sigmoid

ACTIVATIONS = ("relu", "sigmoid", "tanh")


def activate(xp: Any, x: Any, activation: str | None) -> Any:
    """The activation of that name applied to ``x``; None: ``x`` itself.

    Raises:
        ValueError: for a name that is not in ``ACTIVATIONS``.
    """
    if activation is None:
        return x
    if activation == "relu":
        return relu(xp, x)
    if activation == "sigmoid":
        return sigmoid(xp, x)
    if activation == "tanh":
        return xp.tanh(x)
    raise ValueError(f"Kernels know the activations {', '.join(ACTIVATIONS)}. Received: activation={activation!r}.")


def activation_gradient(xp: Any, gradient: Any, y: Any, activation: str | None) -> Any:
    """``gradient`` times the activation's derivative, from its output ``y`` (not read where ``activation`` is None)."""
    if activation is None:
        return gradient
    if activation == "relu":
        return relu_gradient(xp, gradient, y)
    if activation == "sigmoid":
        return gradient * y * (1 - y)
    if activation == "tanh":
        return gradient * (1 - y * y)
    raise ValueError(f"Kernels know the activations {', '.join(ACTIVATIONS)}. Received: activation={activation!r}.")
