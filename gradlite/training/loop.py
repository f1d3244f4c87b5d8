"""The loop over the batches of an epoch: how many steps run at once, and who is told between them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from gradlite.keras.callbacks import CallbackList
from gradlite.training.batches import Batch
from gradlite.training.data import Feed
from gradlite.training.interrupts import InterruptBetweenSteps
from gradlite.training.pace import Pace


class Loop:
    """Runs steps in executions: the batch hooks of callbacks are called before and after each of them, as in Keras.

    Within an execution steps are started in pieces that take a moment, between which Ctrl-C takes effect. Where no
    callback has batch hooks a piece is an execution of its own, for the progress bar.

    Args:
        mode: "train", "test" or "predict".
        per_execution: steps of an execution, or "auto".
        changed: called where callbacks may have changed the model.
    """

    def __init__(
        self,
        mode: str,
        listeners: CallbackList,
        interrupts: InterruptBetweenSteps,
        per_execution: Any,
        changed: Callable[[], None],
    ) -> None:
        self._begin = getattr(listeners, f"on_{mode}_batch_begin")
        self._end = getattr(listeners, f"on_{mode}_batch_end")
        self._interrupts = interrupts
        self._steps: int | None = None
        if listeners.has_batch_hooks(mode):
            self._steps = 1 if per_execution == "auto" else int(per_execution)
        self._changed = changed

    def run(self, feed: Feed, step: Callable[[Batch], Any], logs: Callable[[], Any], stop: Callable[[], bool]) -> int:
        """The steps that were taken: all of one epoch, unless ``stop`` says so after an execution.

        Args:
            step: takes the steps of all batches in a Batch.
            logs: gives what the hooks are told, if somebody asks.
        """
        pace = Pace(feed.backend)
        done = left = 0
        # Closed at once when something stops the loop: a thread may be reading ahead.
        with closing(feed.epoch()) as batches:
            for batch in batches:
                while batch.times:
                    if not left:
                        self._begin(done)
                        if self._steps is not None:
                            self._changed()
                        left = self._steps or pace.steps
                    piece, batch = batch.split(min(left, pace.steps))
                    pace.begin()
                    step(piece)
                    pace.done(piece.times)
                    done += piece.times
                    left = left - piece.times if self._steps else 0
                    if not left:
                        self._end(done - 1, logs)
                    self._interrupts.check()
                    if not left and stop():
                        return done
        if left:
            self._end(done - 1, logs)
        return done
