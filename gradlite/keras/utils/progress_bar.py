"""The progress line of fit, evaluate and predict, in Keras's own look."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, TextIO

import numpy as np

Values = Mapping[str, Any] | Iterable[tuple[str, Any]]

# A log file gets a line at the end of an epoch, and in a long epoch one at this interval, as a sign of life.
_LOG_FILE_INTERVAL = 30.0


class Progbar:
    """Draws ``current/target``, a bar, the time and the values given, and redraws in place on a terminal.

    Where output is not a terminal, lines are plain text: one at the end, and one every 30 seconds before that.

    Args:
        target: number of steps, None if unknown (it may be set later).
        width: characters of the bar.
        verbose: 1 (or "auto") for the bar, 2 for one line at the end, 0 for silence.
        interval: seconds between redraws.
        stateful_metrics: names whose values are shown as given; other ``(name, value)`` pairs are averaged over steps.
        unit_name: what a step is called.

    >>> from gradlite.keras.utils.progress_bar import Progbar
    >>> bar = Progbar(2, verbose=0)
    >>> bar.update(1, [("loss", 0.5)])
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int | str = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        self.target = target
        self.width = width
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.unit_name = unit_name
        self.stateful_metrics = set(stateful_metrics or ())
        self._stream: TextIO = sys.stdout
        self._in_place = _redraws_in_place(self._stream)
        self._interval = interval if self._in_place else max(interval, _LOG_FILE_INTERVAL)
        self._done_mark, self._rest_mark = _bar_marks(self._stream, self._in_place)
        # name -> (sum of value * steps, steps); steps 0 marks a value that is shown as it is.
        self._values: dict[str, tuple[Any, int]] = {}
        self._seen = 0
        self._start = perf_counter()
        self._first_steps = 0  # steps done when the first update came, and when that was
        self._after_first = self._last_step = self._start
        # A log file's first line can wait for the interval; a terminal shows the first step at once.
        self._last_draw = -math.inf if self._in_place else self._start
        self._line_width = 0

    def update(
        self, current: int, values: Values | Callable[[], Values] | None = None, finalize: bool | None = None
    ) -> None:
        """Say that ``current`` steps are done.

        ``values`` may be a function: it is called only when a line is drawn, so that values which cost something to
        read (a transfer from the GPU) are read twenty times a second at most. ``finalize`` ends the line; by default
        it does once ``current`` reaches ``target``.
        """
        now = perf_counter()
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if current > self._seen:
            self._last_step = now
            if self._first_steps == 0 and not finalize:
                self._first_steps, self._after_first = current, now
        due = finalize or (self.verbose == 1 and now - self._last_draw >= self._interval)
        if callable(values):
            if due and self.verbose:
                self._take(values(), current, as_given=True)
        elif values is not None and self.verbose:
            self._take(values, current, as_given=finalize)
        self._seen = current
        if due and self.verbose:
            self._last_draw = now
            self._draw(current, now, finalize)

    def add(self, n: int, values: Values | None = None) -> None:
        """Say that ``n`` more steps are done."""
        self.update(self._seen + n, values)

    def _take(self, values: Values, current: int, as_given: bool) -> None:
        steps = max(current - self._seen, 1)
        for name, value in values.items() if isinstance(values, Mapping) else values:
            if as_given or name in self.stateful_metrics or not isinstance(value, (int, float, np.generic, np.ndarray)):
                self._values[name] = (value, 0)
            else:
                total, count = self._values.get(name, (0.0, 0))
                self._values[name] = (total + np.mean(value) * steps, count + steps)

    def _draw(self, current: int, now: float, finalize: bool) -> None:
        target = current if self.target is None and finalize else self.target
        step_time = self._time_per_step()
        tail = f"{_per_step(step_time, self.unit_name)}{self._shown_values()}"
        spent = f"{now - self._start:.0f}s"
        if self.verbose == 2:
            self._write(f"{current}/{target} - {spent} -{tail}\n")
            return
        if target is None or finalize:
            time_text = spent
        else:
            time_text = _duration(step_time * max(target - current, 0))
        if target is None:
            plain = painted = f"{current:7d}/Unknown"
        else:
            counter = f"{current:{len(str(target))}d}/{target}"
            done = int(self.width * min(current / target, 1.0)) if target else self.width
            bar = self._done_mark * done, self._rest_mark * (self.width - done)
            plain = f"{counter} {bar[0]}{bar[1]}"
            painted = f"{self._bold(counter)} {self._coloured(bar[0], 32) if done else ''}{self._coloured(bar[1], 37)}"
        width = len(f"{plain} {time_text}{tail}")
        line = f"{painted} {self._bold(time_text)}{tail}"
        if self._in_place:
            # Backspaces too: some consoles do not obey a carriage return.
            line = "\b" * self._line_width + "\r" + line + " " * max(self._line_width - width, 0)
            self._line_width = width
        self._write(line + ("\n" if finalize or not self._in_place else ""))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self._in_place else text

    def _coloured(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._in_place else text

    def _time_per_step(self) -> float:
        # The first step builds and compiles: counting it would spoil the estimate.
        if self._seen > self._first_steps > 0:
            return (self._last_step - self._after_first) / (self._seen - self._first_steps)
        return (self._last_step - self._start) / max(self._seen, 1)

    def _shown_values(self) -> str:
        shown = ""
        for name, (value, count) in self._values.items():
            shown += f" - {name}:{_number(value / count if count else value)}"
        return shown


def _number(value: Any) -> str:
    if hasattr(value, "numpy"):
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return f" {value}"
    number = float(array.mean())
    return f" {number:.4f}" if abs(number) > 1e-3 else f" {number:.4e}"


def _per_step(seconds: float, unit: str) -> str:
    if seconds >= 1 or seconds == 0:
        return f" {seconds:.0f}s/{unit}"
    if seconds >= 1e-3:
        return f" {seconds * 1e3:.0f}ms/{unit}"
    return f" {seconds * 1e6:.0f}us/{unit}"


def _duration(seconds: float) -> str:
    if seconds > 3600:
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f}:{seconds % 60 // 1:02.0f}"
    if seconds > 60:
        return f"{seconds // 60:.0f}:{seconds % 60 // 1:02.0f}"
    return f"{seconds // 1:.0f}s"


def _redraws_in_place(stream: TextIO) -> bool:
    """Whether carriage returns and colours make sense there: a terminal, or a notebook's output cell."""
    in_notebook = type(stream).__module__.startswith("ipykernel")
    return in_notebook or "PYCHARM_HOSTED" in os.environ or bool(getattr(stream, "isatty", lambda: False)())


def _bar_marks(stream: TextIO, colours: bool) -> tuple[str, str]:
    """The characters for done and to do: told apart by colour where there are colours, else by shape."""
    done, rest = "━", "━" if colours else " "
    try:
        done.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return "=", "."
    return done, rest
