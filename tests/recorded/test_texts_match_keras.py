"""Summaries, progress bars and automatic names read as Keras's do."""

from __future__ import annotations

from typing import Any

import pytest
import text_cases
from recorded_values import facts
from text_cases import ProgressCase

from gradlite import keras

CLOCK = "gradlite.keras.utils.progress_bar.perf_counter"


@pytest.mark.parametrize(("name", "make", "options"), text_cases.SUMMARIES, ids=[s[0] for s in text_cases.SUMMARIES])
def test_summary_is_that_of_keras(name: str, make: Any, options: dict[str, Any]) -> None:
    assert text_cases.summary_text(keras, make, options) == facts()["texts"]["summaries"][name]


@pytest.mark.parametrize("case", text_cases.PROGRESS, ids=lambda case: case.name)
def test_progress_bar_on_a_terminal_is_that_of_keras(case: ProgressCase) -> None:
    assert text_cases.progress_text(keras, CLOCK, case) == facts()["texts"]["progress"][case.name]


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("epochs", [1, 2])
def test_fit_evaluate_and_predict_print_what_keras_prints(verbose: int, epochs: int) -> None:
    keras.utils.clear_session()
    assert text_cases.fit_text(keras, verbose, epochs) == facts()["texts"]["fit"][f"verbose{verbose}_epochs{epochs}"]


def test_automatic_names_are_those_of_keras() -> None:
    assert text_cases.automatic_names(keras) == facts()["texts"]["automatic_names"]
