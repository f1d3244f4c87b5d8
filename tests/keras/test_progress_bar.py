"""The progress line: Keras's look on a terminal (texts recorded from Keras 3.15), plain and short elsewhere."""

from __future__ import annotations

import io
import re
import time
from types import SimpleNamespace

import pytest

from gradlite.keras.utils import progress_bar
from gradlite.keras.utils.progress_bar import Progbar


class FakeTerminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_bar, "perf_counter", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    terminal = FakeTerminal()
    # Not sys.stdout itself: pytest puts its own there between a fixture and its test.
    monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stdout=terminal))
    return terminal


@pytest.fixture
def log_file(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    log_file = io.StringIO()
    monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stdout=log_file))
    return log_file


def run(bar: Progbar, clock: Clock, steps: int, seconds: float) -> None:
    for step in range(1, steps + 1):
        clock.now += seconds
        bar.update(step, [("loss", 1.0 / step), ("acc", 1e-5)], finalize=step == steps)


def test_three_slow_steps_on_a_terminal_are_drawn_exactly_as_keras_draws_them(
    clock: Clock, terminal: FakeTerminal
) -> None:
    run(Progbar(3), clock, 3, 0.6)
    values = " - acc: 1.0000e-05"
    first = f"1/3 {'━' * 20} 1s 600ms/step - loss: 1.0000{values}"
    assert terminal.getvalue() == (
        f"\r\033[1m1/3\033[0m \033[32m{'━' * 6}\033[0m\033[37m{'━' * 14}\033[0m \033[1m1s\033[0m 600ms/step"
        f" - loss: 1.0000{values}"
        + "\b"
        * len(first)
        + f"\r\033[1m2/3\033[0m \033[32m{'━' * 13}\033[0m\033[37m{'━' * 7}\033[0m \033[1m0s\033[0m 600ms/step"
        f" - loss: 0.7500{values}"
        + "\b"
        * len(first)
        + f"\r\033[1m3/3\033[0m \033[32m{'━' * 20}\033[0m\033[37m\033[0m \033[1m2s\033[0m 600ms/step"
        f" - loss: 0.3333{values}\n"
    )


def test_steps_faster_than_the_interval_are_drawn_first_and_last_only(clock: Clock, terminal: FakeTerminal) -> None:
    run(Progbar(120), clock, 120, 0.0001)
    drawn = terminal.getvalue().split("\r")[1:]
    assert [re.search(r"\d+/120", text).group() for text in drawn] == ["1/120", "120/120"]  # type: ignore[union-attr]
    assert drawn[0].startswith("\033[1m  1/120\033[0m \033[37m━")


def test_a_line_shorter_than_the_one_before_is_padded_so_that_nothing_of_that_remains(
    clock: Clock, terminal: FakeTerminal
) -> None:
    bar = Progbar(2, stateful_metrics=["loss"])
    clock.now += 1
    bar.update(1, {"loss": 123456.0})
    clock.now += 1
    bar.update(2, {"loss": 1.0}, finalize=False)
    assert terminal.getvalue().endswith("loss: 1.0000" + " " * 5)


def test_unknown_length_shows_the_count_and_the_time_spent(clock: Clock, terminal: FakeTerminal) -> None:
    bar = Progbar(None)
    clock.now += 2
    bar.update(1)
    assert terminal.getvalue() == "\r      1/Unknown \033[1m2s\033[0m 2s/step"


def test_an_unknown_length_becomes_known_when_the_epoch_ends(clock: Clock, log_file: io.StringIO) -> None:
    bar = Progbar(None, verbose=2)
    clock.now += 3
    bar.update(3, finalize=True)
    assert log_file.getvalue() == "3/3 - 3s - 1s/step\n"


@pytest.mark.parametrize(("seconds", "text"), [(30, "60s"), (60, "2:00"), (75, "2:30"), (2000, "1:06:40")])
def test_the_time_left_is_in_seconds_minutes_or_hours(
    clock: Clock, terminal: FakeTerminal, seconds: float, text: str
) -> None:
    bar = Progbar(3)
    clock.now += seconds
    bar.update(1)
    assert f"\033[1m{text}\033[0m" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2s/step"), (0.035, "35ms/step"), (0.000172, "172us/step"), (0.0, "0s/step"), (0.001, "1ms/step")],
)
def test_the_time_per_step_has_the_unit_that_fits(
    clock: Clock, log_file: io.StringIO, seconds: float, text: str
) -> None:
    bar = Progbar(4, verbose=2)
    clock.now = 0.0
    bar._start = 0.0
    clock.now = 4 * seconds
    bar.update(4)
    assert log_file.getvalue().endswith(f"- {text}\n")


def test_the_first_step_does_not_count_for_the_time_per_step(clock: Clock, log_file: io.StringIO) -> None:
    bar = Progbar(3)
    for seconds in (10.0, 0.5, 0.5):
        clock.now += seconds
        bar.update(bar._seen + 1)
    assert log_file.getvalue() == f"3/3 {'━' * 20} 11s 500ms/step\n"


def test_time_after_the_last_step_counts_for_the_epoch_but_not_for_a_step(clock: Clock, log_file: io.StringIO) -> None:
    bar = Progbar(2)
    for _ in range(2):
        clock.now += 1
        bar.update(bar._seen + 1, finalize=False)
    clock.now += 5  # validation
    bar.update(2, {"loss": 0.25}, finalize=True)
    assert log_file.getvalue() == f"2/2 {'━' * 20} 7s 1s/step - loss: 0.2500\n"


def test_a_long_epoch_in_a_log_file_takes_a_line_every_half_minute_and_no_control_characters(
    clock: Clock, log_file: io.StringIO
) -> None:
    run(Progbar(1000), clock, 1000, 0.1)
    lines = log_file.getvalue().splitlines()
    assert len(lines) == 4  # 100 seconds: at 30, 60 and 90, and the end
    assert not set(log_file.getvalue()) & {"\b", "\r", "\033"}
    assert lines[-1].startswith(f"1000/1000 {'━' * 20} 100s 100ms/step")


def test_verbose_two_prints_one_line_and_verbose_zero_nothing(clock: Clock, log_file: io.StringIO) -> None:
    run(Progbar(32, verbose=2), clock, 32, 0.057)
    assert re.fullmatch(r"32/32 - 2s - 57ms/step - loss: 0.0312 - acc: 1.0000e-05\n", log_file.getvalue())
    run(Progbar(32, verbose=0), clock, 32, 0.057)
    assert log_file.getvalue().count("\n") == 1


def test_values_are_averaged_over_steps_unless_they_are_stateful(clock: Clock, terminal: FakeTerminal) -> None:
    bar = Progbar(10, stateful_metrics=["accuracy"])
    for current, value in [(1, 1.0), (4, 3.0)]:
        clock.now += 1
        bar.update(current, [("loss", value), ("accuracy", value)])
    assert terminal.getvalue().endswith(" - loss: 2.5000 - accuracy: 3.0000")  # (1 * 1 + 3 * 3) / 4


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (0.001, "1.0000e-03"), (0, "0.0000e+00"), (-2.0, "-2.0000"), (float("nan"), "nan"),
     ("warm", "warm"), (None, "None")],
)  # fmt: skip
def test_numbers_are_written_as_keras_writes_them(
    clock: Clock, log_file: io.StringIO, value: object, text: str
) -> None:
    Progbar(1, verbose=2).update(1, {"v": value})
    assert log_file.getvalue().endswith(f" - v: {text}\n")


def test_values_given_as_a_function_are_computed_only_when_they_are_drawn(clock: Clock, terminal: FakeTerminal) -> None:
    calls = []

    def values() -> dict[str, float]:
        calls.append(clock.now)
        return {"loss": 1.0}

    bar = Progbar(1000)
    for step in range(1, 1000):
        clock.now += 0.001
        bar.update(step, values)
    assert 15 <= len(calls) <= 21  # one second, every 0.05 s at most


def test_an_output_that_cannot_encode_the_bar_gets_ascii(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stdout=stream))
    bar = Progbar(2)
    clock.now += 40
    bar.update(1)
    stream.seek(0)
    assert stream.read().startswith("1/2 ==========.......... 40s")


def test_an_update_that_draws_nothing_takes_microseconds_at_most(terminal: FakeTerminal) -> None:
    bar = Progbar(10**9)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for step in range(2000):
            bar.update(step, dict)
        best = min(best, (time.perf_counter() - start) / 2000)
    assert best < 5e-6  # half a microsecond on a quiet machine


def test_add_moves_on_by_as_many_steps(clock: Clock, log_file: io.StringIO) -> None:
    bar = Progbar(5, verbose=2)
    bar.add(2)
    bar.add(3)
    assert log_file.getvalue() == "5/5 - 0s - 0s/step\n"
