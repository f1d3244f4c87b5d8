"""JAX's kernels, each under jit; it has no way to write into a buffer that is there, but Adam's are donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.operands import DROPOUT, EPSILON, operands

Work = Callable[[], Any]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(x: Any, w: Any) -> Any:
    """3 x 3, 'same'."""
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAYOUT)


def _batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * (gamma * lax.rsqrt(variance + EPSILON)) + beta, mean, variance


def _batch_norm_gradient(g: Any, x: Any, gamma: Any, mean: Any, variance: Any) -> Any:
    scale, count = lax.rsqrt(variance + EPSILON), x.size // x.shape[-1]
    normalized = (x - mean) * scale
    along, total = (g * normalized).sum((0, 1, 2)), g.sum((0, 1, 2))
    return gamma * scale * (g - (total + normalized * along) / count), along, total


def _dropout(x: Any) -> Any:
    kept = jax.random.bernoulli(jax.random.key(3), 1 - DROPOUT, x.shape)
    return jnp.where(kept, x / (1 - DROPOUT), 0)


def _cross_entropy(logits: Any, labels: Any) -> Any:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0], jnp.exp(log_p)


def _max_pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _adam(p: Any, g: Any, m: Any, v: Any) -> Any:
    m, v = m + 0.1 * (g - m), v + 0.001 * (g * g - v)
    return p - 1e-3 * m / (jnp.sqrt(v) + 1e-7), m, v


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "matmul": jnp.matmul,
    "conv2d": convolution,
    "relu": jax.nn.relu,
    "exp": jnp.exp,
    "add": jnp.add,
    "sum": jnp.sum,
    "column_sum": lambda x: x.sum(0),
    "batch_norm": _batch_norm,
    "batch_norm_gradient": _batch_norm_gradient,
    "max_pool2d": _max_pool,
    "dropout": _dropout,
    "sparse_softmax_cross_entropy": _cross_entropy,
}


def kernel(name: str, **sizes: int) -> Work:
    """A call of one kernel; waits for its end."""
    arrays = [jnp.asarray(x) for x in operands(name, **sizes)]
    if name == "adam":
        return _adam_on(*arrays)
    function = FUNCTIONS.get(name) or _convolution_gradient(name, sizes)
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arrays))


def _convolution_gradient(name: str, sizes: dict[str, int]) -> Callable[..., Any]:
    """A pass that is linear in what it is given: the transpose of the convolution."""
    batch, side, channels, filters = (sizes[name] for name in ("batch", "side", "channels", "filters"))
    if name == "conv2d_input_gradient":
        x = jax.ShapeDtypeStruct((batch, side, side, channels), jnp.float32)
        return lambda g, w: jax.linear_transpose(lambda x: convolution(x, w), x)(g)
    w = jax.ShapeDtypeStruct((3, 3, channels, filters), jnp.float32)
    return lambda x, g: jax.linear_transpose(lambda w: convolution(x, w), w)(g)


def _adam_on(p: Any, g: Any, m: Any, v: Any) -> Work:
    compiled = jax.jit(_adam, donate_argnums=(0, 2, 3))
    state = [p, m, v]

    def call() -> None:
        state[:] = compiled(state[0], g, *state[1:])
        jax.block_until_ready(state)

    return call
