"""PyTorch's kernels, called alone, into buffers that are there where PyTorch has such a form; and single operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.operands import DROPOUT, EPSILON, operands

Work = Callable[[], Any]
aten = torch.ops.aten


def kernel(name: str, **sizes: int) -> Work:
    """A call of one kernel, outside of autograd."""
    # Images (n, h, w, c) as (n, c, h, w) with channels last in memory, filters (3, 3, c, f) as (f, c, 3, 3) likewise.
    arrays = [torch.from_numpy(x) for x in operands(name, **sizes)]
    if name.startswith("conv2d"):
        return _convolution(name, arrays, sizes)
    arrays = [x.permute(0, 3, 1, 2) if x.ndim == 4 else x for x in arrays]
    work = _table(name, arrays)

    @torch.inference_mode()
    def call() -> Any:
        return work(*arrays)

    return call


def _table(name: str, arrays: list[torch.Tensor]) -> Callable[..., Any]:
    if name == "matmul":
        out = torch.empty(arrays[0].shape[0], arrays[1].shape[1])
        return lambda a, b: torch.mm(a, b, out=out)
    out = torch.empty_like(arrays[0])
    if name == "adam":
        step = torch.tensor(3.0)
        options = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-7}
        options |= {"amsgrad": False, "maximize": False}
        return lambda p, g, m, v: torch._fused_adam_([p], [g], [m], [v], [], [step], **options)
    if name == "batch_norm":
        return lambda x, gamma, beta: torch.native_batch_norm(x, gamma, beta, None, None, True, 0.0, EPSILON)
    if name == "batch_norm_gradient":
        return lambda g, x, gamma, mean, variance: aten.native_batch_norm_backward(
            g, x, gamma, None, None, mean, torch.rsqrt(variance + EPSILON), True, EPSILON, [True, True, True]
        )
    return {
        "relu": lambda x: aten.relu.out(x, out=out),
        "exp": lambda x: torch.exp(x, out=out),
        "add": lambda x, y: torch.add(x, y, out=out),
        "sum": torch.sum,
        "column_sum": lambda x: x.sum(0),
        "max_pool2d": lambda x: functional.max_pool2d(x, 2, return_indices=True),
        "dropout": lambda x: torch.native_dropout(x, DROPOUT, True),
        "sparse_softmax_cross_entropy": lambda x, y: functional.cross_entropy(x, y, reduction="none"),
    }[name]


def _convolution(name: str, arrays: list[torch.Tensor], sizes: dict[str, int]) -> Work:
    """One of the three passes, channels_last."""
    images = [x.permute(0, 3, 1, 2) for x in arrays if x.shape[0] == sizes["batch"] and x.shape[1] == sizes["side"]]
    shape = (sizes["filters"], sizes["channels"], 3, 3)
    if name == "conv2d_weight_gradient":
        x, g = images
        w = torch.empty(shape).contiguous(memory_format=torch.channels_last)
        mask = [False, True, False]
    else:
        w = arrays[1].permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        if name == "conv2d":
            return torch.inference_mode()(lambda: functional.conv2d(images[0], w, padding=1))
        g = images[0]
        x = torch.empty(g.shape[0], shape[1], *g.shape[2:]).contiguous(memory_format=torch.channels_last)
        mask = [True, False, False]
    rest = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)
    return torch.inference_mode()(lambda: aten.convolution_backward(g, x, w, *rest))


def operation(name: str) -> Work:
    """exp, multiply or add of one number, forward and backward."""
    x, constant = torch.tensor([1.5], requires_grad=True), torch.tensor([2.0])

    def exp() -> None:
        x.grad = None
        torch.exp(x).backward()

    def multiply() -> None:
        x.grad = None
        (x * constant).backward()

    def add() -> None:
        x.grad = None
        (x + constant).backward()

    return {"exp": exp, "multiply": multiply, "add": add}[name]
