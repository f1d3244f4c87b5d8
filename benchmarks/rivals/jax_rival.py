"""JAX without a framework: networks, Adam and batch normalization written out; a step under jit, an epoch under scan.

The same work as Keras does: batches gathered from the data in a new order each epoch, dropout, running averages of
batch normalization, Adam with its bias correction, loss and right answers summed up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.images import train_until
from benchmarks.models import architecture, data

Work = Callable[[], Any]
Arrays = dict[str, Any]
CONVOLUTION = ("NHWC", "HWIO", "NHWC")
ACTIVATIONS = {None: lambda x: x, "relu": jax.nn.relu, "tanh": jnp.tanh}
MOMENTUM, EPSILON = 0.99, 1e-3


def initial(model: str) -> tuple[list[Arrays], list[Arrays]]:
    """Trained and running values, a table for each layer: Glorot-uniform weights."""
    net, rng = architecture(model), np.random.default_rng(0)
    trained: list[Arrays] = []
    running: list[Arrays] = []
    shape = net.input_shape
    for layer in net.layers:
        size, values, moving = int(layer.size), {}, {}
        if layer.kind in ("dense", "conv"):
            window = (3, 3) if layer.kind == "conv" else ()
            limit = np.sqrt(6 / (int(np.prod(window)) * (shape[-1] + size)))
            kernel = rng.uniform(-limit, limit, (*window, shape[-1], size)).astype(np.float32)
            values = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(size)}
            shape = (*shape[:-1], size)
        elif layer.kind == "norm":
            values = {"gamma": jnp.ones(shape[-1]), "beta": jnp.zeros(shape[-1])}
            moving = {"mean": jnp.zeros(shape[-1]), "variance": jnp.ones(shape[-1])}
        elif layer.kind == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif layer.kind == "flatten":
            shape = (int(np.prod(shape)),)
        trained.append(values)
        running.append(moving)
    return trained, running


def apply(
    model: str, trained: list[Arrays], running: list[Arrays], x: Any, key: Any = None
) -> tuple[Any, list[Arrays]]:
    """Outputs (logits, for classifiers), and the new running averages; trains if there is a key for dropout."""
    moved = []
    for i, (layer, values, moving) in enumerate(zip(architecture(model).layers, trained, running)):
        if layer.kind == "dense":
            x = ACTIVATIONS[layer.activation](x @ values["kernel"] + values["bias"])
        elif layer.kind == "conv":
            x = lax.conv_general_dilated(x, values["kernel"], (1, 1), "SAME", dimension_numbers=CONVOLUTION)
            x = ACTIVATIONS[layer.activation](x + values["bias"])
        elif layer.kind == "norm":
            axes = tuple(range(x.ndim - 1))
            mean, variance = moving["mean"], moving["variance"]
            if key is not None:
                mean, variance = x.mean(axes), x.var(axes)
                moving = {
                    "mean": MOMENTUM * moving["mean"] + (1 - MOMENTUM) * mean,
                    "variance": MOMENTUM * moving["variance"] + (1 - MOMENTUM) * variance,
                }
            x = (x - mean) * (values["gamma"] * lax.rsqrt(variance + EPSILON)) + values["beta"]
        elif layer.kind == "pool":
            window = (1, 2, 2, 1)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        elif layer.kind == "dropout":
            if key is not None:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - layer.size, x.shape)
                x = jnp.where(kept, x / (1 - layer.size), 0)
        else:
            x = x.reshape(len(x), -1)
        moved.append(moving)
    return x, moved


def loss_of(model: str, trained: list[Arrays], running: list[Arrays], x: Any, y: Any, key: Any) -> tuple[Any, Any]:
    """The loss of a batch; besides, the new running averages and how many answers are right."""
    outputs, moved = apply(model, trained, running, x, key)
    if architecture(model).loss == "mse":
        return jnp.square(outputs - y).mean(), (moved, jnp.zeros((), jnp.int32))
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1)
    return -chosen.mean(), (moved, (outputs.argmax(1) == y).sum())


def adam(values: Any, gradients: Any, first: Any, second: Any, step: Any) -> tuple[Any, Any, Any]:
    """Adam's update of every array, as Keras writes it."""
    first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradients)
    second = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), second, gradients)
    rate = 1e-3 * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    values = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), values, first, second)
    return values, first, second


def step(model: str, state: Arrays, x: Any, y: Any) -> Arrays:
    """One training step on a batch."""
    count = state["step"] + 1
    key = jax.random.fold_in(state["key"], count)
    gradient = jax.value_and_grad(partial(loss_of, model), has_aux=True)
    (loss, (running, right)), gradients = gradient(state["trained"], state["running"], x, y, key)
    trained, first, second = adam(
        state["trained"], gradients, state["first"], state["second"], count.astype(jnp.float32)
    )
    return {
        "trained": trained,
        "running": running,
        "first": first,
        "second": second,
        "step": count,
        "key": state["key"],
        "loss": state["loss"] + loss,
        "right": state["right"] + right,
    }


class Training:
    """A network, its data, and an epoch of steps."""

    def __init__(self, model: str, batch: int, x: np.ndarray, y: np.ndarray, scan: bool = False) -> None:
        trained, running = initial(model)
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state: Arrays = {"trained": trained, "running": running, "first": zeros(trained), "second": zeros(trained)}
        self.state |= {"step": jnp.zeros((), jnp.int32), "key": jax.random.key(0)}
        self.state |= {"loss": jnp.zeros(()), "right": jnp.zeros((), jnp.int32)}
        self.x, self.y, self.batch = jnp.asarray(x), jnp.asarray(y.astype(np.int32) if y.ndim == 1 else y), batch
        self.rng = np.random.default_rng(1)

        def one(state: Arrays, rows: Any, x: Any, y: Any) -> Arrays:
            return step(model, state, x[rows], y[rows])

        def all_steps(state: Arrays, rows: Any, x: Any, y: Any) -> Arrays:
            return lax.scan(lambda state, rows: (one(state, rows, x, y), None), state, rows)[0]

        self.scan = scan
        self.run = jax.jit(all_steps if scan else one, donate_argnums=0)

    def epoch(self) -> None:
        """An epoch in a new order; waits for its end."""
        order = self.rng.permutation(len(self.x)).astype(np.int32)
        if self.scan:
            self.state = self.run(self.state, order.reshape(-1, self.batch), self.x, self.y)
        else:
            for start in range(0, len(order), self.batch):
                self.state = self.run(self.state, order[start : start + self.batch], self.x, self.y)
        jax.block_until_ready(self.state)


def configure(threads: int, scan: bool = False) -> dict[str, Any]:
    """JAX's tasks; the processors that the process may use say how many threads there are."""
    from benchmarks.rivals.jax_kernels import kernel

    def train(model: str, batch: int, steps: int) -> Work:
        return Training(model, batch, *data(model, batch * steps), scan=scan).epoch

    def forward(model: str) -> Callable[[Any], Any]:
        values = initial(model)
        last = jax.nn.softmax if architecture(model).loss == "crossentropy" else (lambda x: x)
        return jax.jit(lambda x: last(apply(model, *values, x)[0]))

    def predict(model: str, batch: int, steps: int) -> Work:
        net, x = forward(model), data(model, batch * steps)[0]
        return lambda: np.concatenate([net(x[start : start + batch]) for start in range(0, len(x), batch)])

    def one_sample(model: str, steps: int) -> Work:
        net, x = forward(model), data(model, steps)[0]

        def work() -> None:
            for i in range(steps):
                np.asarray(net(x[i : i + 1]))

        return work

    def accuracy(path: str, target: float, batch: int, epochs: int) -> Work:
        arrays = np.load(path)
        whole = len(arrays["x_train"]) // batch * batch

        def work() -> dict[str, Any]:
            training = Training("mnist", batch, arrays["x_train"][:whole], arrays["y_train"][:whole])
            net = jax.jit(lambda trained, x: apply("mnist", trained, training.state["running"], x)[0].argmax(1))

            def answers() -> np.ndarray:
                return np.asarray(net(training.state["trained"], arrays["x_test"]))

            return train_until(target, epochs, arrays["y_test"], training.epoch, answers)

        return work

    return {"train": train, "predict": predict, "one_sample": one_sample, "accuracy": accuracy, "kernel": kernel}
