"""PyTorch: channels_last, Adam(fused=True), a hand-written loop over whole batches; eager or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.images import train_until
from benchmarks.models import architecture, data

Work = Callable[[], Any]
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def network(model: str) -> nn.Sequential:
    """The network, ending in logits where it is trained by cross-entropy, as PyTorch wants them."""
    net = architecture(model)
    parts: list[nn.Module] = []
    shape = net.input_shape
    for layer in net.layers:
        size = int(layer.size)
        if layer.kind == "dense":
            parts.append(nn.Linear(shape[-1], size))
            shape = (size,)
        elif layer.kind == "conv":
            parts.append(nn.Conv2d(shape[-1], size, 3, padding=1))
            shape = (*shape[:2], size)
        elif layer.kind == "norm":
            # Keras's momentum of 0.99 is 0.01 here.
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            parts.append(kind(shape[-1], eps=1e-3, momentum=0.01))
        elif layer.kind == "pool":
            parts.append(nn.MaxPool2d(2))
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif layer.kind == "dropout":
            parts.append(nn.Dropout(layer.size))
        else:
            parts.append(nn.Flatten())
            shape = (int(np.prod(shape)),)
        if layer.activation:
            parts.append(ACTIVATIONS[layer.activation]())
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    """Arrays as tensors; images (n, height, width, channels) as (n, channels, height, width) of the same memory."""
    made = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    return [t.permute(0, 3, 1, 2) if t.ndim == 4 else t for t in made]


class Training:
    """A network, its optimizer, its data and an epoch of steps."""

    def __init__(
        self,
        model: str,
        batch: int,
        x: np.ndarray,
        y: np.ndarray,
        compiled: bool = False,
        device: str = "cpu",
        **adam: bool,
    ) -> None:
        self.net = network(model).to(device)
        self.x, self.y = (tensor.to(device) for tensor in tensors(x, y))
        self.batch = batch
        self.classifies = architecture(model).loss == "crossentropy"
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True, **adam)
        self.loss = nn.CrossEntropyLoss() if self.classifies else nn.MSELoss()
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.outputs_and_loss: Callable[..., Any] = self._outputs_and_loss
        if compiled:
            torch._dynamo.reset()  # or it would compile for any batch, having seen two
            self.outputs_and_loss = torch.compile(self._outputs_and_loss, dynamic=False)

    def _outputs_and_loss(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.net(x)
        return outputs, self.loss(outputs, y)

    def step(self, x: torch.Tensor, y: torch.Tensor, set_to_none: bool = True) -> None:
        """One step; counts right answers as the others do."""
        self.optimizer.zero_grad(set_to_none=set_to_none)
        outputs, loss = self.outputs_and_loss(x, y)
        loss.backward()
        self.optimizer.step()
        if self.classifies:
            self.right += (outputs.detach().argmax(1) == y).sum()

    def epoch(self) -> None:
        """An epoch in a new order."""
        self.net.train()
        order = torch.randperm(len(self.x), device=self.x.device)
        for start in range(0, len(self.x), self.batch):
            rows = order[start : start + self.batch]
            self.step(self.x[rows], self.y[rows])
        self.right.item()


def configure(threads: int, compiled: bool = False) -> dict[str, Any]:
    """PyTorch's tasks; ``compiled``: forward, loss and backward under torch.compile."""
    torch.set_num_threads(threads)
    from benchmarks.rivals.torch_kernels import kernel, operation

    def train(model: str, batch: int, steps: int) -> Work:
        return Training(model, batch, *data(model, batch * steps), compiled=compiled).epoch

    def predict(model: str, batch: int, steps: int) -> Work:
        net = _forward(model, compiled)
        (x,) = tensors(data(model, batch * steps)[0])

        @torch.inference_mode()
        def work() -> Any:
            return torch.cat([net(x[start : start + batch]) for start in range(0, len(x), batch)]).numpy()

        return work

    def one_sample(model: str, steps: int) -> Work:
        net = _forward(model, compiled)
        (x,) = tensors(data(model, steps)[0])

        @torch.inference_mode()
        def work() -> None:
            for i in range(steps):
                net(x[i : i + 1]).numpy()

        return work

    def accuracy(path: str, target: float, batch: int, epochs: int) -> Work:
        arrays = np.load(path)
        labels = arrays["y_train"].astype(np.int64)

        def work() -> dict[str, Any]:
            training = Training("mnist", batch, arrays["x_train"], labels, compiled)

            @torch.inference_mode()
            def answers() -> np.ndarray:
                training.net.eval()
                return training.net(torch.from_numpy(arrays["x_test"])).argmax(1).numpy()

            return train_until(target, epochs, arrays["y_test"], training.epoch, answers)

        return work

    return {
        "train": train,
        "predict": predict,
        "one_sample": one_sample,
        "accuracy": accuracy,
        "kernel": kernel,
        "operation": operation,
    }


def _forward(model: str, compiled: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network for predictions, ending in probabilities where the others' does."""
    classifies = architecture(model).loss == "crossentropy"
    net = nn.Sequential(network(model), nn.Softmax(1)) if classifies else network(model)
    net.eval()
    return torch.compile(net) if compiled else net
