"""Trainer: fit, evaluate and predict, for every model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradlite.autograd import no_grad
from gradlite.backends import Backend, default_backend
from gradlite.keras.callbacks import CallbackList, History
from gradlite.tensor import Tensor
from gradlite.training.array_feeds import ArrayFeed
from gradlite.training.batches import Batch, numbers_as_array, unpack
from gradlite.training.checks import split_validation, warn_of_missing_numbers
from gradlite.training.data import Feed, is_batches, make_feed
from gradlite.training.interrupts import InterruptBetweenSteps
from gradlite.training.loop import Loop
from gradlite.training.outputs import Outputs
from gradlite.training.replay import Steps
from gradlite.training.steps import Compiled, Logs
from gradlite.training.streams import AHEAD
from gradlite.training.structure import flatten, map_structure


class Trainer(Compiled):
    """What a model can do besides computing: be compiled, trained, evaluated and used on arrays of data."""

    _initial_epoch: int | None = None  # set by a callback that restores a backup

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
                ``(x, y, sample_weight)``: a generator, a ``PyDataset``, a list of tuples. Iterables are read by a
                thread, up to two batches ahead of the step that runs, but not beyond the steps of an epoch.
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
            steps_per_epoch: how many batches make an epoch; needed for endless iterables. The next epoch goes on where
                this one ended.
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
        x, y, sample_weight = (numbers_as_array(part) for part in (x, y, sample_weight))
        if validation_split and validation_data is None:
            if is_batches(x):
                raise ValueError("validation_split needs arrays, not batches: pass validation_data instead.")
            (x, y, sample_weight), validation_data = split_validation(validation_split, x, y, sample_weight)
        feed = self._feed(x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight)
        validation = self._validation(validation_data, validation_batch_size or batch_size, validation_steps)
        self._prepare(feed)
        self._trained_variables()
        if validation is not None:
            self._prepare(validation)
        if not is_batches(x):
            warn_of_missing_numbers(x=x, y=y)
        params = {"verbose": verbose, "epochs": int(epochs), "steps": feed.steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_history=True, add_progbar=verbose != 0)
        self.stop_training, self._initial_epoch = False, None
        listeners.on_train_begin()
        logs: Logs = {}
        with self._steps(feed.backend) as steps, InterruptBetweenSteps() as interrupts:
            for epoch in range(self._initial_epoch or initial_epoch, int(epochs)):
                epoch_logs = self._run_epoch(epoch, feed, steps, listeners, interrupts)
                if epoch_logs is None:
                    break
                logs = epoch_logs
                if validation is not None and _is_due(epoch + 1, validation_freq):
                    for name, value in self._run_evaluation(validation, steps, listeners, interrupts).items():
                        logs[f"val_{name}"] = value
                listeners.on_epoch_end(epoch, logs)
                interrupts.check()
                if self.stop_training:
                    break
        self.optimizer.finalize_variable_values(self.trainable_variables)
        listeners.on_train_end(logs)
        return self.history

    def _run_epoch(
        self, epoch: int, feed: Feed, steps: Steps, listeners: CallbackList, interrupts: InterruptBetweenSteps
    ) -> Logs | None:
        """The logs of one epoch of training; None if there was no data left for it."""
        self._reset_metrics()
        listeners.on_epoch_begin(epoch)
        variables = self._trained_variables()
        steps.check_state()
        loop = Loop("train", listeners, interrupts, self.steps_per_execution, steps.check_state)
        try:
            done = loop.run(
                feed,
                lambda batch: steps.train(batch, variables),
                self._running_logs(feed.backend),
                lambda: self.stop_training,
            )
        finally:
            steps.finish()
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
        params = {"verbose": verbose, "epochs": 1, "steps": feed.steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_progbar=verbose != 0)
        with self._steps(feed.backend) as runner, InterruptBetweenSteps() as interrupts:
            logs = self._run_evaluation(feed, runner, listeners, interrupts)
        return logs if return_dict else self._listed(logs)

    def _run_evaluation(
        self, feed: Feed, steps: Steps, listeners: CallbackList, interrupts: InterruptBetweenSteps
    ) -> Logs:
        """The loss and metrics over one epoch of ``feed``; nothing if it gave no batch."""
        feed.restart()
        self._reset_metrics()
        listeners.on_test_begin()
        steps.check_state()
        loop = Loop("test", listeners, interrupts, self.steps_per_execution, steps.check_state)
        with no_grad():
            done = loop.run(feed, steps.test, self._running_logs(feed.backend), lambda: False)
        logs = self._logs() if done else {}
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
        feed.first()  # an error now, if there is nothing to predict
        params = {"verbose": verbose, "epochs": 1, "steps": feed.steps}
        listeners = CallbackList(callbacks, model=self, params=params, add_progbar=verbose != 0)
        listeners.on_predict_begin()
        outputs = Outputs(listeners.needs_batch_logs("predict"))
        with self._steps(feed.backend) as runner, InterruptBetweenSteps() as interrupts, no_grad():
            runner.check_state()
            loop = Loop("predict", listeners, interrupts, self.steps_per_execution, runner.check_state)
            loop.run(feed, lambda batch: runner.predict(batch, outputs), outputs.logs, lambda: False)
        listeners.on_predict_end()
        return outputs.joined()

    # Single batches.

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step of training on this batch; returns the loss and metrics of this batch alone, before the step."""
        self._require_compiled()
        batch = self._single_batch(x, y, sample_weight, class_weight)
        self._reset_metrics()
        with self._steps(batch.backend) as steps:
            steps.check_state()
            steps.train(batch, self._trained_variables())
            steps.finish()
        logs = self._logs()
        return logs if return_dict else self._listed(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and metrics on this batch, in inference mode."""
        self._require_compiled()
        batch = self._single_batch(x, y, sample_weight, None)
        self._reset_metrics()
        with self._steps(batch.backend) as steps, no_grad():
            steps.check_state()
            steps.test(batch)
        logs = self._logs()
        return logs if return_dict else self._listed(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for this batch, in inference mode, as NumPy arrays."""
        feed = self._feed(x, None, None, _length(x), None, False, None)
        outputs = Outputs()
        with self._steps(feed.backend) as steps, no_grad():
            steps.check_state()
            steps.predict(feed.first(), outputs)
        return outputs.joined()

    def _single_batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> Batch:
        feed = self._feed(x, y, sample_weight, _length(x), None, False, class_weight)
        if not self._is_prepared():
            self._prepare(feed)
        # Labels are looked at on the host, and so before the step: one that reads values cannot be recorded.
        batch = feed.first()
        labels = feed.labels if isinstance(feed, ArrayFeed) else batch.unchecked
        return batch._replace(unchecked=map_structure(lambda a: a.numpy() if isinstance(a, Tensor) else a, labels))

    # Help.

    @contextmanager
    def _steps(self, backend: Backend) -> Iterator[Steps]:
        """What runs the steps, where the device's work is done, with the programs of the calls before; the programs
        stay with the model."""
        steps = Steps.of(self)
        try:
            with backend.entered():
                yield steps
        finally:
            steps.put_back()

    def _feed(
        self, x: Any, y: Any, sample_weight: Any, batch_size: Any, steps: Any, shuffle: bool, class_weight: Any
    ) -> Feed:
        variable = next((v for layer in self.flatten_layers() for v in layer.own_weights), None)
        return make_feed(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            steps=steps,
            shuffle=shuffle,
            class_weight=class_weight,
            backend=default_backend() if variable is None else variable.backend,
            ahead=0 if self.run_eagerly else AHEAD,
        )

    def _validation(self, data: Any, batch_size: int | None, steps: int | None) -> Feed | None:
        if data is None:
            return None
        if is_batches(data):
            return self._feed(data, None, None, batch_size, steps, False, None)
        x, y, weight = unpack(tuple(data) if isinstance(data, list) else data)
        return self._feed(x, y, weight, batch_size, steps, False, None)

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

    def _listed(self, logs: Logs) -> Any:
        values = [logs[name] for name in self.metrics_names if name in logs]
        return values[0] if len(values) == 1 else values


def _all_labels(feed: Feed, batch: Batch) -> Any:
    """The labels that can be checked: of all samples where they are arrays, else of the first batch."""
    return feed.labels if isinstance(feed, ArrayFeed) else batch.y


def _is_due(epoch: int, frequency: Any) -> bool:
    return epoch % frequency == 0 if isinstance(frequency, int) else epoch in frequency


def _length(x: Any) -> int:
    """The number of samples in one batch; make_feed refuses what has none."""
    leaves = flatten(numbers_as_array(x))
    return max(np.shape(leaves[0])[0], 1) if leaves and np.ndim(leaves[0]) else 1
