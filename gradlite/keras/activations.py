"""Activation functions by name, as layers take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite import nn, ops
from gradlite.autograd import as_tensor
from gradlite.keras.utils.lookup import lookup, to_config
from gradlite.tensor import Tensor

Activation = Callable[[Any], Tensor]


def linear(x: Any) -> Tensor:
    """``x`` itself."""
    return as_tensor(x)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis.

    The result remembers ``x``: a cross-entropy that comes next is computed from it, which is stable and exact where
    probabilities round to 0 or 1.

    >>> from gradlite.keras import activations
    >>> activations.softmax([[0.0, 0.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    x = as_tensor(x)
    y = nn.softmax(x, axis)
    if axis in (-1, x.ndim - 1):
        y.logits = ("softmax", x)
    return y


def sigmoid(x: Any) -> Tensor:
    """``1 / (1 + exp(-x))``. The result remembers ``x``, as that of ``softmax``.

    >>> from gradlite.keras import activations
    >>> activations.sigmoid([0.0]).numpy()
    array([0.5], dtype=float32)
    """
    x = as_tensor(x)
    y = nn.sigmoid(x)
    y.logits = ("sigmoid", x)
    return y


relu = nn.relu
tanh = nn.tanh
softplus = nn.softplus
softsign = nn.softsign
leaky_relu = nn.leaky_relu
relu6 = nn.relu6
elu = nn.elu
celu = nn.celu
selu = nn.selu
gelu = nn.gelu
glu = nn.glu
silu = swish = nn.silu
mish = nn.mish
exponential = ops.exp
hard_sigmoid = nn.hard_sigmoid
hard_silu = hard_swish = nn.hard_silu
hard_tanh = nn.hard_tanh
hard_shrink = nn.hard_shrink
soft_shrink = nn.soft_shrink
tanh_shrink = nn.tanh_shrink
threshold = nn.threshold
log_softmax = nn.log_softmax
log_sigmoid = nn.log_sigmoid
sparsemax = nn.sparsemax
squareplus = nn.squareplus
sparse_plus = nn.sparse_plus
sparse_sigmoid = nn.sparse_sigmoid

_TABLE: dict[str, Callable[..., Tensor]] = {
    "celu": celu,
    "elu": elu,
    "exponential": exponential,
    "gelu": gelu,
    "glu": glu,
    "hard_shrink": hard_shrink,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_swish,
    "hard_tanh": hard_tanh,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "log_sigmoid": log_sigmoid,
    "log_softmax": log_softmax,
    "mish": mish,
    "relu": relu,
    "relu6": relu6,
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": silu,
    "soft_shrink": soft_shrink,
    "softmax": softmax,
    "softplus": softplus,
    "softsign": softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "swish": swish,
    "tanh": tanh,
    "tanh_shrink": tanh_shrink,
    "threshold": threshold,
}

# Those that dense layers and convolutions leave to the kernel of their product. Not sigmoid: it remembers its input.
_IN_KERNEL: dict[Any, str] = {relu: "relu", tanh: "tanh"}

# Scripts pass tf.nn.softmax too: the same function, without the memory of its logits.
_REMEMBERING: dict[Any, Activation] = {nn.softmax: softmax, nn.sigmoid: sigmoid}


def get(identifier: Any) -> Activation:
    """The activation that a name, function, class or config stands for; None is ``linear``.

    Raises:
        ValueError: for an unknown name, with the nearest one.

    >>> from gradlite.keras import activations
    >>> activations.get("relu")([-1.0, 1.0]).numpy()
    array([0., 1.], dtype=float32)
    """
    if identifier is None:
        return linear
    try:
        known = _REMEMBERING.get(identifier)
    except TypeError:  # an identifier that cannot be hashed: a config
        known = None
    return known or lookup("activation", identifier, _TABLE)


def in_kernel(activation: Any) -> str | None:
    """The name under which a product's own kernel applies this activation, or None where it does not."""
    try:
        return _IN_KERNEL.get(activation)
    except TypeError:  # a callable object that cannot be a key
        return None


def serialize(activation: Any) -> Any:
    """The name of an activation of this module; a config for other objects.

    >>> from gradlite.keras import activations
    >>> activations.serialize(activations.relu)
    'relu'
    """
    for name, function in _TABLE.items():
        if function is activation:
            return name
    return to_config("activations", activation)


def deserialize(config: Any) -> Activation:
    """The activation of a config or name that ``serialize`` gave."""
    return get(config)
