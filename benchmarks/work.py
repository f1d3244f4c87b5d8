"""How much there is to do: operations and the least bytes of every network and kernel that is measured.

Operations are multiplications and additions of products and convolutions alone, two for a multiply-add, as in every
published figure; what else a step does is small beside them and shows as a lower fraction of the floor. Bytes are what
must cross the memory's bus once even if everything else stays in a cache: see each function. float32 throughout.
"""

from __future__ import annotations

from math import prod

from benchmarks.models import Architecture, architecture

FLOAT = 4
# Adam reads a parameter and its two moments and writes all three.
ADAM_FLOATS = 6


class Count:
    """Parameters, multiply-adds and activations of a network, per sample."""

    def __init__(self, net: Architecture) -> None:
        self.inputs = prod(net.input_shape)
        self.parameters = 0
        self.multiply_adds: list[int] = []  # of every layer with weights
        self.activations: list[int] = []  # outputs of every layer with weights
        shape = net.input_shape
        for layer in net.layers:
            size = int(layer.size)
            if layer.kind == "dense":
                self._weighted(shape[-1] * size, shape[-1] * size + size, size)
                shape = (size,)
            elif layer.kind == "conv":
                height, width, channels = shape
                weights = 9 * channels * size
                self._weighted(height * width * weights, weights + size, height * width * size)
                shape = (height, width, size)
            elif layer.kind == "norm":
                self.parameters += 2 * shape[-1]
            elif layer.kind == "pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            elif layer.kind == "flatten":
                shape = (prod(shape),)

    def _weighted(self, multiply_adds: int, parameters: int, outputs: int) -> None:
        self.multiply_adds.append(multiply_adds)
        self.parameters += parameters
        self.activations.append(outputs)


def training_step(model: str, batch: int) -> dict[str, float]:
    """One training step: forward, the gradient of every weight, of every layer's input but the first's, Adam.

    Bytes: every parameter is read for the forward pass and updated by Adam; the batch is read; the output of each layer
    with weights is written and read once, and so is its gradient.

    >>> training_step("mnist", 1)["flop"]
    1636352
    """
    count = Count(architecture(model))
    macs = 3 * sum(count.multiply_adds) - count.multiply_adds[0]
    floats = (1 + ADAM_FLOATS) * count.parameters + batch * (count.inputs + 4 * sum(count.activations))
    return {"flop": 2 * macs * batch, "bytes": FLOAT * floats}


def prediction(model: str, batch: int) -> dict[str, float]:
    """A forward pass: parameters and the batch read, outputs of hidden layers written and read, the last written."""
    count = Count(architecture(model))
    *hidden, last = count.activations
    floats = count.parameters + batch * (count.inputs + 2 * sum(hidden) + last)
    return {"flop": 2 * sum(count.multiply_adds) * batch, "bytes": FLOAT * floats}


def matrix_product(n: int, k: int, m: int) -> dict[str, float]:
    """(n, k) times (k, m): both read, the product written."""
    return {"flop": 2 * n * k * m, "bytes": FLOAT * (n * k + k * m + n * m)}


def convolution(batch: int, side: int, channels: int, filters: int) -> dict[str, float]:
    """Any of the three passes of a 3 x 3 convolution with 'same' padding: two operands read, the third written.

    Operations are those of the direct algorithm; Winograd's needs fewer and may pass the ceiling of products.
    """
    pixels = batch * side * side
    floats = pixels * (channels + filters) + 9 * channels * filters
    return {"flop": 2 * 9 * pixels * channels * filters, "bytes": FLOAT * floats}


def touching(*sizes: int) -> dict[str, float]:
    """Kernels bound by memory: arrays of so many floats, each read or written once."""
    return {"flop": 0, "bytes": FLOAT * sum(sizes)}
