"""Trainer: compile, fit, evaluate and predict, for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import grad, no_grad
from gradlite.backends import default_backend
from gradlite.keras import metrics as keras_metrics
from gradlite.keras import optimizers
from gradlite.keras.callbacks import CallbackList, History
from gradlite.keras.layers.base import Layer
from gradlite.tensor import Tensor
from gradlite.training.checks import check_compile_arguments, split_validation, warn_of_missing_numbers
from gradlite.training.compiled import CompiledLoss, CompiledMetrics
from gradlite.training.data import ArrayFeed, Batch, Feed, is_batches, make_feed, numbers_as_array, unpack
from gradlite.training.interrupts import InterruptBetweenSteps
from gradlite.training.structure import flatten, map_structure

Logs = dict[str, Any]


class Trainer(Layer):
    """What a model can do besides computing: be compiled, trained, evaluated and used on arrays of data."""

    optimizer: Any = None
    stop_training = False
    history: Any = None
    _compiled_loss: CompiledLoss | None = None
    _compiled_metrics: CompiledMetrics | None = None
    _loss_tracker: Any = None
    _compile_arguments: dict[str, Any] | None = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
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
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: accepted as in Keras; every step runs
                eagerly for now.

        Raises:
            ValueError: for unknown names, with the nearest one, and for metrics in the place of ``loss_weights``.
        """
        check_compile_arguments(loss_weights)
        if metrics is not None and not isinstance(metrics, (list, tuple, dict)):
            raise ValueError(f"metrics must be a list, such as metrics=['accuracy']. Received: metrics={metrics!r}.")
        # Everything is looked up before anything is set: a failed compile changes nothing.
        chosen = optimizers.get(optimizer)
        compiled_loss = None if loss is None else CompiledLoss(loss, loss_weights)
        compiled_metrics = CompiledMetrics(metrics, weighted_metrics)
        self.optimizer = chosen
        self._compiled_loss = compiled_loss
        self._compiled_metrics = compiled_metrics
        self._loss_tracker = keras_metrics.Mean(name="loss")
        self.stop_training = False
        self._compile_arguments = {
            "optimizer": chosen,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
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

    def _train_step(self, batch: Batch, variables: Sequence[Any]) -> None:
        y_pred = self(batch.x, training=True)
        loss = self.compute_loss(batch.x, batch.y, y_pred, batch.sample_weight)
        self.optimizer.apply(grad(loss, variables, allow_unused=True), variables)
        self._update_metrics(loss, batch, y_pred)

    def _test_step(self, batch: Batch) -> None:
        y_pred = self(batch.x, training=False)
        loss = self.compute_loss(batch.x, batch.y, y_pred, batch.sample_weight, training=False)
        self._update_metrics(loss, batch, y_pred)

    def _update_metrics(self, loss: Tensor, batch: Batch, y_pred: Any) -> None:
        with no_grad():
            self._loss_tracker.update_state(loss, sample_weight=batch.size)
            assert self._compiled_metrics is not None
            self._compiled_metrics.update(batch.y, y_pred, batch.sample_weight)

    def _logs(self) -> Logs:
        """The values of all metrics, by name. Reading them waits for the device."""
        logs: Logs = {}
        for metric in self.metrics:
            value = metric.result()
            if isinstance(value, dict):
                logs.update({key: _number(part) for key, part in value.items()})
            else:
                logs[metric.name] = _number(value)
        return dict(sorted(logs.items()))

    def _reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    reset_metrics = _reset_metrics

    # The loops.

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> History:
        """Train the model.

        Args:
            x: arrays or Tensors of all samples (one, a list or a dict); or an iterable of batches ``(x, y)`` or
                ``(x, y, sample_weight)``: a generator, a ``PyDataset``, a list of tuples.
            y: the labels, unless they come with x.
            batch_size: samples of a step, 32 by default.
            epochs: the number of the last epoch.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 a line for each epoch.
            callbacks: a list of ``keras.callbacks.Callback``.
            validation_split: the last part of the samples is held back and evaluated after each epoch.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or an iterable of batches, evaluated likewise.
            shuffle: whether arrays are shuffled before each epoch.
            class_weight: dict from class numbers to weights of their samples in the loss.
            sample_weight: weights of samples in the loss.
            initial_epoch: the epoch to begin with.
            steps_per_epoch: how many batches make an epoch; needed for endless iterables.
            validation_steps, validation_batch_size: the same for validation.
            validation_freq: evaluate every so many epochs, or at the epochs listed.

        Returns:
            the ``History``: a list of values per epoch for the loss, each metric, and both for validation.

        Raises:
            ValueError: before ``compile``, and for data that does not fit, before anything is changed.
            KeyboardInterrupt: on Ctrl-C, after the step that runs; the model stays usable, ``model.history`` holds
                the epochs so far.
        """
        self._require_compiled()
        if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)):
            raise ValueError(f"epochs must be an integer. Received: epochs={epochs!r}.")
        if validation_split and validation_data is None:
            if is_batches(x):
                raise ValueError("validation_split needs arrays, not batches: pass validation_data instead.")
            (x, y, sample_weight), validation_data = split_validation(validation_split, x, y, sample_weight)
        feed = self._feed(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight)
        validation = self._validation(validation_data, validation_batch_size or batch_size, validation_steps)
        self._prepare(feed)
        if not is_batches(x):
            warn_of_missing_numbers(x=x, y=y)
        steps = steps_per_epoch or feed.steps
        params = {"verbose": verbose, "epochs": int(epochs), "steps": steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_history=True, add_progbar=verbose != 0)
        self.stop_training = False
        listeners.on_train_begin()
        logs: Logs = {}
        with InterruptBetweenSteps() as interrupts:
            for epoch in range(initial_epoch, int(epochs)):
                epoch_logs = self._run_epoch(epoch, feed, steps, listeners, interrupts)
                if epoch_logs is None:
                    break
                logs = epoch_logs
                if validation is not None and _is_due(epoch + 1, validation_freq):
                    for name, value in self._run_evaluation(validation, listeners, interrupts).items():
                        logs[f"val_{name}"] = value
                listeners.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        self.optimizer.finalize_variable_values(self.trainable_variables)
        listeners.on_train_end(logs)
        return self.history

    def _run_epoch(
        self, epoch: int, feed: Feed, steps: int | None, listeners: CallbackList, interrupts: InterruptBetweenSteps
    ) -> Logs | None:
        """The logs of one epoch of training; None if there was no data left for it."""
        self._reset_metrics()
        listeners.on_epoch_begin(epoch)
        variables = self.trainable_variables
        if not variables:
            raise ValueError("There is nothing to train: no weight of the model is trainable.")
        done = 0
        for step, batch in enumerate(_limited(feed, steps)):
            listeners.on_train_batch_begin(step)
            self._train_step(batch, variables)
            done = step + 1
            listeners.on_train_batch_end(step, self._logs)
            interrupts.check()
            if self.stop_training:
                break
        if not done:
            self.stop_training = True
            return None
        return self._logs()

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics on data, in inference mode; arguments as in ``fit``.

        Returns:
            ``[loss, metric, ...]`` in the order of ``metrics_names``; the loss alone if there are no metrics; a dict
            with ``return_dict``.
        """
        self._require_compiled()
        feed = self._feed(x, y, sample_weight, batch_size, steps, False, None)
        self._prepare(feed)
        params = {"verbose": verbose, "epochs": 1, "steps": steps or feed.steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_progbar=verbose != 0)
        with InterruptBetweenSteps() as interrupts:
            logs = self._run_evaluation((feed, steps), listeners, interrupts)
        return logs if return_dict else self._listed(logs)

    def _run_evaluation(
        self, validation: tuple[Feed, int | None], listeners: CallbackList, interrupts: InterruptBetweenSteps
    ) -> Logs:
        feed, steps = validation
        self._reset_metrics()
        listeners.on_test_begin()
        with no_grad():
            for step, batch in enumerate(_limited(feed, steps)):
                listeners.on_test_batch_begin(step)
                self._test_step(batch)
                listeners.on_test_batch_end(step, self._logs)
                interrupts.check()
        logs = self._logs()
        listeners.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for all samples, in inference mode, as NumPy arrays.

        Args:
            x: arrays or Tensors of all samples, or an iterable of batches.
            batch_size: samples of a step, 32 by default.
            verbose, steps, callbacks: as in ``fit``.
        """
        feed = self._feed(x, None, None, batch_size, steps, False, None)
        params = {"verbose": verbose, "epochs": 1, "steps": steps or feed.steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_progbar=verbose != 0)
        listeners.on_predict_begin()
        collected: list[Any] = []
        with InterruptBetweenSteps() as interrupts, no_grad():
            for step, batch in enumerate(_limited(feed, steps)):
                listeners.on_predict_batch_begin(step)
                outputs = self(batch.x, training=False)
                collected.append(map_structure(lambda y: y.numpy(), outputs))
                listeners.on_predict_batch_end(step, {"outputs": collected[-1]})
                interrupts.check()
        listeners.on_predict_end()
        return _joined(collected)

    # Single batches.

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step of training on this batch; returns the loss and metrics since the last ``reset_metrics``."""
        self._require_compiled()
        batch = self._single_batch(x, y, sample_weight, class_weight)
        self._train_step(batch, self.trainable_variables)
        logs = self._logs()
        return logs if return_dict else self._listed(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and metrics on this batch, in inference mode."""
        self._require_compiled()
        batch = self._single_batch(x, y, sample_weight, None)
        with no_grad():
            self._test_step(batch)
        logs = self._logs()
        return logs if return_dict else self._listed(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for this batch, in inference mode, as NumPy arrays."""
        feed = self._feed(x, None, None, _length(x), None, False, None)
        with no_grad():
            return map_structure(lambda y: y.numpy(), self(feed.first().x, training=False))

    def _single_batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> Batch:
        feed = self._feed(x, y, sample_weight, _length(x), None, False, class_weight)
        if not self._is_prepared():
            self._prepare(feed)
        return feed.first()

    # Help.

    def _feed(
        self, x: Any, y: Any, sample_weight: Any, batch_size: Any, steps: Any, shuffle: bool, class_weight: Any
    ) -> Feed:
        variables = self.variables
        return make_feed(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            steps=steps,
            shuffle=shuffle,
            class_weight=class_weight,
            backend=variables[0].backend if variables else default_backend(),
        )

    def _validation(self, data: Any, batch_size: int | None, steps: int | None) -> tuple[Feed, int | None] | None:
        if data is None:
            return None
        if is_batches(data):
            return self._feed(data, None, None, batch_size, steps, False, None), steps
        x, y, weight = unpack(tuple(data) if isinstance(data, list) else data)
        return self._feed(x, y, weight, batch_size, steps, False, None), steps

    def _prepare(self, feed: Feed) -> None:
        """Build weights and metrics from a first batch, and check its labels, before anything is changed."""
        batch = feed.first()
        with no_grad():
            y_pred = self(map_structure(lambda a: a[:2], batch.x), training=False)
        assert self._compiled_metrics is not None
        if self._compiled_loss is not None:
            self._compiled_loss.check_labels(_all_labels(feed, batch), y_pred)
        self._compiled_metrics.build(batch.y, y_pred)
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def _is_prepared(self) -> bool:
        return bool(self.built and self.optimizer.built)

    def _require_compiled(self) -> None:
        if not self.compiled:
            raise ValueError("You must call `compile()` before using the model.")

    def _listed(self, logs: Logs) -> Any:
        values = [logs[name] for name in self.metrics_names if name in logs]
        return values[0] if len(values) == 1 else values

    def _layer_metrics(self) -> list[Any]:
        return [metric for layer in self.flatten_layers() for metric in layer._metrics]


def _limited(feed: Feed, steps: int | None) -> Any:
    """The batches of an epoch, at most ``steps``."""
    if steps is None:
        yield from feed.epoch()
        return
    batches = feed.epoch()
    for _ in range(steps):
        batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _all_labels(feed: Feed, batch: Batch) -> Any:
    """The labels that can be checked: of all samples where they are arrays, else of the first batch."""
    return feed.labels if isinstance(feed, ArrayFeed) else batch.y


def _is_due(epoch: int, frequency: Any) -> bool:
    return epoch % frequency == 0 if isinstance(frequency, int) else epoch in frequency


def _number(value: Any) -> Any:
    """A metric's value on the host: a float, or an array where it is more than one number."""
    if isinstance(value, Tensor):
        value = value.numpy()
    return float(value) if np.size(value) == 1 else value


def _joined(parts: list[Any]) -> Any:
    """The outputs of all batches, in one array for each output."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, (list, tuple)):
        return [_joined([part[i] for part in parts]) for i in range(len(first))]
    return first if len(parts) == 1 else np.concatenate(parts)


def _length(x: Any) -> int:
    """The number of samples in one batch; make_feed refuses what has none."""
    leaves = flatten(numbers_as_array(x))
    return max(np.shape(leaves[0])[0], 1) if leaves and np.ndim(leaves[0]) else 1
