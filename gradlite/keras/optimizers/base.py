"""Optimizer: what all optimizers share. The order of an update, clipping, decay, averages, configs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradlite.autograd import no_grad
from gradlite.backends import Backend, default_backend
from gradlite.keras.optimizers import schedules
from gradlite.keras.optimizers.gradients import checked_gradients
from gradlite.keras.optimizers.group import Group, Piece
from gradlite.keras.optimizers.guard import Guard
from gradlite.keras.optimizers.options import Options
from gradlite.keras.optimizers.rate import LearningRate
from gradlite.keras.optimizers.state import State
from gradlite.keras.utils.naming import unique_name
from gradlite.keras.variables import Variable
from gradlite.tensor import Tensor

# A group, the gradients of its variables (None where there is none), and these gradients in runs.
Work = tuple[Group, list[Any], list[Piece]]


class Optimizer(State, LearningRate, Options):
    """Base class of optimizers.

    Args:
        learning_rate: a float, a ``LearningRateSchedule``, or a function without arguments that returns the rate.
        weight_decay: every update first takes ``weight_decay * learning_rate`` of each weight away.
        clipnorm: the largest norm of each variable's gradient.
        clipvalue: the largest absolute value in a gradient.
        global_clipnorm: the largest norm of all gradients taken together. One of the three may be given.
        use_ema: keep an exponential moving average of every weight.
        ema_momentum: ``average = ema_momentum * average + (1 - ema_momentum) * weight``.
        ema_overwrite_frequency: after so many updates the weights become their averages; None: never by itself.
        loss_scale_factor: the loss was multiplied by this (see ``scale_loss``), so gradients are divided by it.
        gradient_accumulation_steps: update only every so many calls, with the mean of their gradients.
        name: for messages and files.

    An optimizer of your own overrides ``update_step`` with operations on Tensors, as in Keras:

    >>> import gradlite
    >>> from gradlite.keras.optimizers import Optimizer
    >>> class Signs(Optimizer):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         variable.assign_sub(learning_rate * gradlite.sign(gradient))
    >>> w = gradlite.Variable([1.0, -1.0])
    >>> Signs(0.5).apply([gradlite.Tensor([3.0, -4.0])], [w])
    >>> w.numpy()
    array([ 0.5, -0.5], dtype=float32)
    """

    _guard: Guard | None = None  # of a LossScaleOptimizer around this one

    def __init__(self, learning_rate: Any, *, name: str | None = None, **options: Any) -> None:
        self._set_options(type(self).__name__, options)
        self.name = name or unique_name(type(self).__name__)
        self.built = False
        self._iterations = Variable(np.int64(0), trainable=False, name="iteration", dtype="int64")
        self._learning_rate: Any = self._checked_rate(learning_rate)
        self._own_variables: list[Variable] = []
        self._groups: list[Group] = []
        self._layout = 0  # how often memory or the kind of learning rate changed
        self._trainable_variables: list[Variable] = []
        self._excluded: tuple[list[Variable], re.Pattern[str] | None] = ([], None)
        self._counted: tuple[int, int] | None = None  # the iterations variable's version, and its value then
        self._move_to(default_backend())

    # What a subclass provides.

    def update(
        self, backend: Backend, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> None:
        """Launch the update of a contiguous run: 1-D arrays, with ``rate`` and ``step`` (from 1 on) 0-d arrays.

        ``backend`` is the backend, or a gate in front of it: its ``launch`` takes update kernels, and returns None.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `update_step` or `update`.")

    def prepare(self, backend: Backend, step: Any) -> None:
        """Launch what one update needs once, whatever the number of runs."""

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        """Update one variable; for optimizers of your own. Those built in update whole runs of variables at once."""
        raise NotImplementedError

    @property
    def iterations(self) -> Tensor:
        """The number of updates so far; with accumulation, calls divided by ``gradient_accumulation_steps``."""
        if self.gradient_accumulation_steps:
            return self._iterations // self.gradient_accumulation_steps
        return self._iterations

    # The update.

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> Tensor:
        """``apply`` for pairs of gradient and variable; returns the iteration."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Update the variables, one gradient for each; None for a variable that the loss does not depend on.

        Raises:
            ValueError: for lists of different lengths, a gradient of another shape than its variable, or no gradient.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    "apply() without variables needs an optimizer that was built. "
                    "Call `optimizer.build(variables)` first, or pass the variables."
                )
            trainable_variables = self._trainable_variables
        given = checked_gradients(grads, list(trainable_variables))
        new = self._unknown_variables(trainable_variables)
        if self.built and new and self._is_custom():
            raise ValueError(
                f"Unknown variables {[variable.path for variable in new]}: {type(self).__name__} has state for the "
                "variables it was built with. Create a new optimizer for them."
            )
        if new or not self.built:
            self.build(trainable_variables)
        with no_grad():
            self._apply(given)

    def _apply(self, given: dict[int, Any]) -> None:
        """Unscale, accumulate, clip, decay, update, average, constrain, count: the order is Keras's.

        Under a guard every call launches everything, and whether something changes is known on the device: what writes
        to weights and state is launched by a gate in the place of the backend.
        """
        is_update, overwrite, _ = self.phase()
        rate = self._current_rate()
        self._set_step()
        guard = self._guard
        work = self._gathered(given)
        every: Any = self._backend if guard is None else guard.gate
        update = self._accumulate(work, is_update, every)
        if is_update:
            self._clip(work, update)
            if self.weight_decay is not None:
                for group, arrays, _ in work:
                    group.decay(update, self._decays, [a is not None for a in arrays], rate, self.weight_decay)
            self._update_all(work, rate, update)
            if guard is not None and self.gradient_accumulation_steps:
                for group, _, _ in work:
                    group.start_again(update)
        self._average(every, overwrite)
        for variable in self._trainable_variables:
            if id(variable) in given:
                variable.bump_version()
                if variable.constraint is not None:
                    every.launch("assign", variable.data, variable.constraint(variable).data)
        if guard is not None:
            guard.adapt()
        self._backend.launch("assign_add", self._iterations.data, self._one if guard is None else guard.finite)
        self._iterations.bump_version()
        self._count_step()

    def _gathered(self, given: dict[int, Any]) -> list[Work]:
        """The gradients in the groups' order, without the scale that the loss had."""
        work = []
        for group in self._groups:
            arrays = [given.get(id(variable)) for variable in group.variables]
            work.append((group, arrays, group.gather(arrays, in_place=self._changes_gradients())))
        gradients = [piece.gradient for _, _, pieces in work for piece in pieces]
        if self._guard is not None:
            self._guard.unscale(gradients)
        elif self.loss_scale_factor is not None:
            for gradient in gradients:
                self._backend.launch("scale", gradient, factor=1.0 / self.loss_scale_factor)
        return work

    def _accumulate(self, work: list[Work], is_update: bool, every: Any) -> Any:
        """Add the gradients to those kept, where they are accumulated. Returns what launches the update."""
        steps = self.gradient_accumulation_steps
        if not steps:
            return every
        if self._guard is None:
            for group, _, pieces in work:
                group.accumulate(pieces, steps, is_update)
            return every
        for group, _, pieces in work:
            group.accumulate_gated(pieces, steps, every)
        return self._guard.gate_every(self._backend.launch("add", self._iterations.data, self._one), steps)

    def _update_all(self, work: list[Work], rate: Any, writer: Any) -> None:
        self.prepare(writer, self._step)
        if self._is_custom():
            rate_tensor = Tensor(rate)
            for group, _, pieces in work:
                with self._restoring(group, writer):
                    self._update_each(group, pieces, rate_tensor)
            return
        for group, _, pieces in work:
            for start, stop, gradient in pieces:
                state = {name: array[start:stop] for name, array in group.states.items()}
                self.update(writer, group.flat.data[start:stop], gradient, state, rate, self._step)

    @contextmanager
    def _restoring(self, group: Group, writer: Any) -> Iterator[None]:
        """Take back what the block does where a gate says so: for operations that know of no gate."""
        if self._guard is None:
            yield
            return
        launch = self._backend.launch
        written = [group.flat.data, *group.states.values(), *(v.data for v in self._own_variables)]
        before = [launch("copy", array) for array in written]
        yield
        for array, old in zip(written, before):
            launch("where", writer.flag, array, old, out=array)

    def _is_custom(self) -> bool:
        return type(self).update_step is not Optimizer.update_step

    def _update_each(self, group: Group, pieces: list[Piece], rate: Tensor) -> None:
        for variable, offset in zip(group.variables, group.flat.offsets):
            for start, stop, gradient in pieces:
                if start <= offset < stop:
                    own = gradient[offset - start : offset - start + variable.size]
                    self.update_step(Tensor(own.reshape(variable.shape)), variable, rate)

    def _changes_gradients(self) -> bool:
        """Whether gradients are written to on the way, and so have to be copies."""
        options = (self.loss_scale_factor, self.gradient_accumulation_steps, self.clipnorm, self.clipvalue)
        return any(option is not None for option in (*options, self.global_clipnorm, self._guard))

    def _clip(self, work: list[Work], writer: Any) -> None:
        launch = self._backend.launch
        if self.clipnorm is not None:
            for group, arrays, _ in work:
                group.clip_each(arrays, self.clipnorm)
        elif self.global_clipnorm is not None:
            gradients = [piece.gradient for _, _, pieces in work for piece in pieces]
            squares = launch("square_sum", *gradients)
            for gradient in gradients:
                # By the writer: what is between the variables in a run must not become NaN by a bad step, and stay it.
                writer.launch("scale_to_norm", gradient, squares, norm=self.global_clipnorm)
        elif self.clipvalue is not None:
            for _, _, pieces in work:
                for piece in pieces:
                    launch("clip_by_value", piece.gradient, limit=self.clipvalue)

    def _average(self, every: Any, overwrite: bool) -> None:
        if self.use_ema:
            writer: Any = every
            if self._guard is not None and self.ema_overwrite_frequency:
                writer = self._guard.gate_every(self._step, self.ema_overwrite_frequency)
            for group in self._groups:
                group.average(every, self._step, self.ema_momentum)
                if overwrite:
                    group.overwrite_with_average(writer)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave these variables, and those whose name contains one of ``var_names``, without weight decay.

        Raises:
            ValueError: if the optimizer is built already.
        """
        if self.built:
            raise ValueError("`exclude_from_weight_decay()` can only be configured before the optimizer is built.")
        names = "|".join(sorted(set(var_names or ())))
        self._excluded = list(var_list or ()), re.compile(names) if names else None

    def _decays(self, variable: Variable) -> bool:
        excluded, names = self._excluded
        return not (any(variable is v for v in excluded) or (names is not None and names.search(variable.name)))

    # What a step launches, for those who record and replay steps.

    def phase(self) -> tuple[bool, bool, int]:
        """(whether the next ``apply`` updates, whether it overwrites weights with averages, a count of memory changes).

        A recorded step stands for steps of the same phase alone. Learning rate, step number and state are in memory
        that it reads anew each time. Call ``prepare_replay`` before each replay.
        """
        strayed = [group.check_homes() for group in self._groups]
        self._layout += any(strayed)
        steps, frequency = self.gradient_accumulation_steps, self.ema_overwrite_frequency if self.use_ema else None
        if self._guard is not None:  # which calls count is known on the device alone
            return True, bool(frequency), self._layout
        if not steps and not frequency:
            return True, False, self._layout
        if self._counted is None or self._counted[0] != self._iterations.version:
            self._counted = self._iterations.version, int(self._iterations.item())
        calls = self._counted[1]
        updates = calls // steps if steps else calls
        is_update = not steps or (calls + 1) % steps == 0
        return is_update, bool(frequency) and (updates + 1) % (frequency or 1) == 0, self._layout

    def steps_are_alike(self) -> bool:
        """Whether all steps to come are of one phase and need nothing from the host, so that many can be replayed."""
        overwrites = self.use_ema and self.ema_overwrite_frequency
        varies = self.gradient_accumulation_steps or overwrites
        # Under a guard every step launches the same, and the device knows which of it counts.
        return (self._guard is not None or not varies) and not self._rate_is_a_function()

    def prepare_replay(self) -> None:
        """Do the host's part of a step whose launches are about to be replayed: a learning rate that is a function is
        evaluated, and the step is counted."""
        self._current_rate(functions_only=True)
        self._count_step()

    def _count_step(self) -> None:
        if self._counted is not None:
            self._counted = self._iterations.version, self._counted[1] + 1

    def _set_step(self) -> None:
        """The number of this update, from 1 on, in a buffer of its own."""
        iterations = self._iterations.data
        if self.gradient_accumulation_steps:
            iterations = self.iterations.data
        self._backend.launch("add", iterations, self._one, out=self._step)

    # Averages and loss scaling.

    def scale_loss(self, loss: Any) -> Any:
        """The loss times ``loss_scale_factor``, if there is one."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, var_list: Sequence[Variable] | None = None) -> None:
        """At the end of training: with ``use_ema`` the weights become their averages."""
        if self.use_ema:
            for group in self._groups:
                group.check_homes()
                group.overwrite_with_average()

    def swap_ema_values(self) -> None:
        """Exchange weights and averages: once to evaluate the averages, once more to go on training.

        Raises:
            ValueError: without ``use_ema``.
        """
        if not self.use_ema:
            raise ValueError("There are no averages to swap: create the optimizer with use_ema=True.")
        for group in self._groups:
            group.check_homes()
            group.swap_with_average()

    # Configs.

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        rate = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif isinstance(rate, Variable):
            rate = float(rate.item())
        return {"name": self.name, "learning_rate": rate, **self._options_config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
        """An optimizer from what ``get_config`` returned."""
        arguments = dict(config)
        if isinstance(arguments.get("learning_rate"), Mapping):
            arguments["learning_rate"] = schedules.deserialize(arguments["learning_rate"], custom_objects)
        return cls(**arguments)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
