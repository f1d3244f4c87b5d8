"""Compiled: how a model is trained, and one step of training or testing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradlite.autograd import grad, no_grad
from gradlite.backends import Backend
from gradlite.keras import metrics as keras_metrics
from gradlite.keras import optimizers
from gradlite.keras.layers.base import Layer
from gradlite.tensor import Tensor
from gradlite.training.batches import Batch
from gradlite.training.checks import check_compile_arguments, check_steps_per_execution
from gradlite.training.compiled import CompiledLoss, CompiledMetrics
from gradlite.training.logs import Logs, RunningLogs


class Compiled(Layer):
    """A layer with an optimizer, a loss and metrics: everything that a single step needs."""

    _untracked = Layer._untracked | {"_loss_tracker", "_compile_arguments"}

    optimizer: Any = None
    stop_training = False
    run_eagerly = False
    steps_per_execution: Any = "auto"
    history: Any = None
    _compiled_loss: CompiledLoss | None = None
    _compiled_metrics: CompiledMetrics | None = None
    _loss_tracker: Any = None
    _compile_arguments: dict[str, Any] | None = None
    _kept_steps: Any = None  # recorded steps, while no fit, evaluate or predict has them

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: Any = "auto",
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how the model is trained.

        Args:
            optimizer: name or object.
            loss: name, function or object; a list or dict of them for several outputs.
            loss_weights: factors of the losses of several outputs.
            metrics: what is reported besides the loss, as a list; "accuracy" fits itself to the labels.
            weighted_metrics: metrics that take sample and class weights into account.
            run_eagerly: run every step's Python code, instead of recording a step once and replaying it.
            steps_per_execution: how many steps run between two calls of callbacks' batch hooks. "auto" is 1 where a
                callback has such hooks; where none has, it makes no difference but that of speed.
            jit_compile: accepted as in Keras, without effect.
            auto_scale_loss: for a model of policy "mixed_float16", wrap the optimizer in a ``LossScaleOptimizer``.

        Raises:
            ValueError: for unknown names, with the nearest one, for metrics in the place of ``loss_weights``, and for
                ``steps_per_execution`` that is neither "auto" nor a positive integer.
        """
        check_compile_arguments(loss_weights)
        if metrics is not None and not isinstance(metrics, (list, tuple, dict)):
            raise ValueError(f"metrics must be a list, such as metrics=['accuracy']. Received: metrics={metrics!r}.")
        check_steps_per_execution(steps_per_execution)
        # Everything is looked up before anything is set: a failed compile changes nothing.
        chosen = optimizers.get(optimizer)
        compiled_loss = None if loss is None else CompiledLoss(loss, loss_weights)
        compiled_metrics = CompiledMetrics(metrics, weighted_metrics)
        vars(self).pop("_kept_steps", None)
        mixed = self.dtype_policy.name == "mixed_float16" and auto_scale_loss
        if mixed and chosen is not None and not isinstance(chosen, optimizers.LossScaleOptimizer):
            self.optimizer = optimizers.LossScaleOptimizer(chosen, name="loss_scale_optimizer")
        else:
            self.optimizer = chosen
        self._compiled_loss = compiled_loss
        self._compiled_metrics = compiled_metrics
        self._loss_tracker = keras_metrics.Mean(name="loss")
        self.stop_training = False
        self.run_eagerly = bool(run_eagerly)
        self.steps_per_execution = steps_per_execution
        self._compile_arguments = {
            "optimizer": chosen,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self._compiled_metrics is not None

    @property
    def metrics(self) -> list[Any]:
        """The loss's mean, the compiled metrics, and those of layers."""
        if self._compiled_metrics is None:
            return list(self._layer_metrics())
        return [self._loss_tracker, *self._compiled_metrics.metrics, *self._layer_metrics()]

    @property
    def metrics_names(self) -> list[str]:
        """The names of what ``evaluate`` returns, in its order."""
        return [metric.name for metric in self.metrics]

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of ``compile``, or None."""
        return self._compile_arguments

    def compile_from_config(self, config: Any) -> None:
        """Compile as a saved model was, with the optimizer's state made for the model's weights."""
        from gradlite.keras.saving import deserialize_keras_object

        self.compile(**deserialize_keras_object(config))
        if getattr(self, "built", False):
            self.optimizer.build(self.trainable_variables)

    # To be overridden.

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The total loss of a batch: the compiled losses and those that layers added.

        Override it for a loss that needs more than labels and predictions.
        """
        total: Any = None
        if self._compiled_loss is not None:
            total = self._compiled_loss(y, y_pred, sample_weight)
        for extra in self.losses:
            total = extra if total is None else total + extra
        if total is None:
            raise ValueError("There is nothing to minimise: compile(loss=...) or add_loss() in a layer.")
        return total

    # The steps.

    def _train_step(self, batch: Batch, variables: Sequence[Any]) -> Any:
        """One step of training; returns the model's outputs."""
        y_pred = self(batch.x, training=True)
        self._check_labels(batch.unchecked, y_pred)
        loss = self._batch_loss(batch, y_pred, True)
        scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(grad(scaled, variables, allow_unused=True), variables)
        self._update_metrics(loss, batch, y_pred)
        return y_pred

    def _test_step(self, batch: Batch) -> Any:
        """One step of evaluation; returns the model's outputs."""
        y_pred = self(batch.x, training=False)
        self._check_labels(batch.unchecked, y_pred)
        self._update_metrics(self._batch_loss(batch, y_pred, False), batch, y_pred)
        return y_pred

    def _batch_loss(self, batch: Batch, y_pred: Any, training: bool) -> Tensor:
        parts = {"x": batch.x, "y": batch.y, "y_pred": y_pred, "sample_weight": batch.sample_weight}
        if _takes_training(type(self).compute_loss):
            parts["training"] = training
        return self.compute_loss(**parts)

    def _check_labels(self, labels: Any, y_pred: Any) -> None:
        """Check labels that were not seen before the first step."""
        if labels is not None and self._compiled_loss is not None:
            self._compiled_loss.check_labels(labels, y_pred)

    def _update_metrics(self, loss: Tensor, batch: Batch, y_pred: Any) -> None:
        with no_grad():
            self._loss_tracker.update_state(loss, sample_weight=batch.size)
            assert self._compiled_metrics is not None
            self._compiled_metrics.update(batch.y, y_pred, batch.sample_weight)

    def _results(self) -> Logs:
        """The results of all metrics, by name: Tensors, or what metrics of the user's return."""
        found: Logs = {}
        for metric in self.metrics:
            value = metric.result()
            found.update(value if isinstance(value, dict) else {metric.name: value})
        return dict(sorted(found.items()))

    def _logs(self) -> Logs:
        """The values of all metrics, by name. Reading them waits for the device."""
        return {name: _number(value) for name, value in self._results().items()}

    def _running_logs(self, backend: Backend) -> RunningLogs:
        """The same, for callbacks that are called while training runs."""
        return RunningLogs(backend, self._results, _number)

    def _reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    reset_metrics = _reset_metrics

    def _require_compiled(self) -> None:
        if not self.compiled:
            raise ValueError("You must call `compile()` before using the model.")

    def _trained_variables(self) -> list[Any]:
        """What is trained; an error if that is nothing."""
        variables = self.trainable_variables
        if not variables:
            raise ValueError(
                f"There is nothing to train: no weight of model {self.name!r} is trainable. "
                "Set layer.trainable = True for the layers to be trained."
            )
        return variables

    def _layer_metrics(self) -> list[Any]:
        return [metric for layer in self.flatten_layers() for metric in layer._metrics]


@cache
def _takes_training(compute_loss: Callable[..., Tensor]) -> bool:
    """Whether an override has the argument ``training``, which tf.keras 2 did not pass."""
    parameters = inspect.signature(compute_loss).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _number(value: Any) -> Any:
    """A metric's value on the host: a float, or an array where it is more than one number."""
    if isinstance(value, Tensor):
        value = value.numpy()
    return float(value) if np.size(value) == 1 else value
