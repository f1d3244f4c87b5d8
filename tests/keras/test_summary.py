"""Model.summary: Keras's layout to the character, on networks of real layers in a stand-in for a model."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlite.keras import layers
from gradlite.keras.layers.base import Layer
from gradlite.keras.utils.summary import summary_text

RECORDED = Path(__file__).parents[1] / "recorded"

# Printed by Keras 3.16 for these layers, with COLUMNS=80.
MNIST = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 512)            │       401,920 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dropout (Dropout)               │ (None, 512)            │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 10)             │         5,130 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 407,050 (1.55 MB)
 Trainable params: 407,050 (1.55 MB)
 Non-trainable params: 0 (0.00 B)
"""

NARROW = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━┓
┃                 ┃ Output     ┃ Param ┃
┃ Layer (type)    ┃ Shape      ┃     # ┃
┡━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━┩
│ conv2d (Conv2D) │ (None, 26, │    30 │
│                 │ 26, 3)     │       │
├─────────────────┼────────────┼───────┤
│ a_very_long_na… │ (None, 3)  │     0 │
│ (GlobalAverage… │            │       │
└─────────────────┴────────────┴───────┘
 Total params: 30 (120.00 B)
 Trainable params: 30 (120.00 B)
 Non-trainable params: 0 (0.00 B)
"""

NESTED = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                      ┃ Output Shape             ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ inner (Sequential)                │ (None, 3)                │            15 │
├───────────────────────────────────┼──────────────────────────┼───────────────┤
│    └ dense_1 (Dense)              │ (None, 3)                │            15 │
├───────────────────────────────────┼──────────────────────────┼───────────────┤
│ dense_2 (Dense)                   │ (None, 1)                │             4 │
└───────────────────────────────────┴──────────────────────────┴───────────────┘
 Total params: 59 (236.00 B)
 Trainable params: 19 (76.00 B)
 Non-trainable params: 0 (0.00 B)
 Optimizer params: 40 (160.00 B)
"""


class Sequential(Layer):
    """As much of a model as a summary reads."""

    def __init__(self, parts: list[Layer], input_shape: tuple[int, ...] | None, name: str = "sequential") -> None:
        super().__init__(name=name)
        self.layers = parts
        self.optimizer: Any = None
        self.shapes: list[Any] = [None] * len(parts)
        if input_shape is not None:
            self.ensure_built((None, *input_shape))

    def build(self, input_shape: Any) -> None:
        for i, layer in enumerate(self.layers):
            layer.ensure_built(input_shape)
            input_shape = self.shapes[i] = layer.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.shapes[-1]

    def output_shapes(self) -> list[Any]:
        return self.shapes


class State:
    """An optimizer that holds ``count`` float32 numbers."""

    def __init__(self, count: int, built: bool = True) -> None:
        self.built = built
        self.variables = [np.zeros(count, np.float32)]


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def mnist() -> Sequential:
    parts = [layers.Dense(512, name="dense"), layers.Dropout(0.2, name="dropout"), layers.Dense(10, name="dense_1")]
    return Sequential(parts, (784,))


def widths_of(text: str) -> set[int]:
    """The lengths of the table's lines."""
    return {len(line) for line in text.splitlines() if line[0] in "┏┃┡│├└"}


def test_the_mnist_network_prints_as_in_keras() -> None:
    assert summary_text(mnist()) == MNIST


def test_text_that_does_not_fit_wraps_between_words_and_long_words_are_cut_as_in_keras() -> None:
    long_name = "a_very_long_name_for_a_layer_that_will_not_fit_at_all_in_here"
    parts = [layers.Conv2D(3, 3, name="conv2d"), layers.GlobalAveragePooling2D(name=long_name)]
    assert summary_text(Sequential(parts, (28, 28, 1)), line_length=40) == NARROW


def test_nested_layers_and_optimizer_state_are_shown_as_in_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "84")
    inner = Sequential([layers.Dense(3, name="dense_1")], None, name="inner")
    model = Sequential([inner, layers.Dense(1, name="dense_2")], (4,))
    model.optimizer = State(40)
    assert summary_text(model, expand_nested=True) == NESTED
    assert "└ dense_1" not in summary_text(model)


def test_the_total_counts_the_optimizer_only_once_it_has_its_state() -> None:
    model = mnist()
    model.optimizer = State(1000, built=False)
    assert summary_text(model) == MNIST
    model.optimizer.built = True
    assert "Total params: 408,050 (1.56 MB)" in summary_text(model)


def test_before_it_is_built_shapes_are_unknown_and_only_layers_that_will_have_weights_say_unbuilt() -> None:
    text = summary_text(Sequential([layers.Dense(4, name="dense"), layers.Flatten(name="flatten")], None))
    dense, flatten = (line for line in text.splitlines() if line.startswith("│"))
    assert [cell.strip() for cell in dense.split("│")] == ["", "dense (Dense)", "?", "0 (unbuilt)", ""]
    assert [cell.strip() for cell in flatten.split("│")] == ["", "flatten (Flatten)", "?", "0", ""]


def test_a_frozen_layer_counts_as_non_trainable_and_show_trainable_says_so() -> None:
    model = mnist()
    model.layers[0].trainable = False
    text = summary_text(model, show_trainable=True)
    rows = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    assert [row[4].strip() for row in rows] == ["N", "-", "Y"]
    assert " Trainable params: 5,130 (20.04 KB)\n Non-trainable params: 401,920 (1.53 MB)\n" in text


def test_a_weight_used_twice_is_counted_once() -> None:
    shared = layers.Dense(4, name="shared")
    assert " Total params: 20 (80.00 B)" in summary_text(Sequential([shared, shared], (4,)))


def test_the_line_is_as_long_as_asked_and_else_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mnist()
    for columns, expected in (("60", 56), ("92", 88), ("300", 88)):
        monkeypatch.setenv("COLUMNS", columns)
        assert widths_of(summary_text(model)) == {expected}
    for length in random.sample(range(30, 200), 10):
        assert widths_of(summary_text(model, line_length=length)) == {length}


def test_a_line_longer_than_the_terminal_is_not_cut_off() -> None:
    text = summary_text(mnist(), line_length=150)
    assert widths_of(text) == {150}
    assert "401,920" in text


def test_positions_may_be_fractions_or_characters() -> None:
    model = mnist()
    fractions = summary_text(model, line_length=100, positions=[0.3, 0.6, 1.0])
    assert fractions == summary_text(model, line_length=100, positions=[30, 60, 100])
    assert fractions != summary_text(model, line_length=100)


def test_a_terminal_too_narrow_for_the_columns_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"line_length=12 .* pass a larger line_length"):
        summary_text(mnist(), line_length=12)


@pytest.mark.parametrize(
    ("layer_range", "shown"),
    [
        (("dropout", "dense_1"), ["dropout", "dense_1"]),
        (("dense_1", "dropout"), ["dropout", "dense_1"]),
        (("dense", "dense"), ["dense", "dropout", "dense_1"]),
        (["drop.*", "drop.*"], ["dropout"]),
    ],
)
def test_layer_range_takes_names_or_patterns_in_either_order(layer_range: Any, shown: list[str]) -> None:
    text = summary_text(mnist(), layer_range=layer_range)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("│")] == shown
    assert "Total params: 407,050" in text


@pytest.mark.parametrize("layer_range", [("dense",), ("dense", 2), "ab"])
def test_a_layer_range_that_is_not_two_names_is_an_error(layer_range: Any) -> None:
    with pytest.raises(ValueError, match="the names of two layers"):
        summary_text(mnist(), layer_range=layer_range)


def test_a_layer_range_that_matches_nothing_lists_the_layers_there_are() -> None:
    with pytest.raises(ValueError, match=r"conv.*it has dense, dropout, dense_1"):
        summary_text(mnist(), layer_range=("conv", "dense"))


def test_several_outputs_are_listed() -> None:
    model = mnist()
    model.shapes = [[(None, 2), (None, 3)], {"a": (None, 4)}, (None, None, 5)]
    text = summary_text(model)
    assert "[(None, 2), (None, 3)]" in text
    assert "{a: (None, 4)}" in text
    assert "(None, None, 5)" in text


def test_wide_characters_keep_the_columns_in_line() -> None:
    plain, wide = mnist(), mnist()
    plain.layers[0].name, wide.layers[0].name = "abcdefgh", "全连接层"  # four characters on eight cells
    before, after = (summary_text(model).splitlines() for model in (plain, wide))
    assert after[4] == before[4].replace("abcdefgh", "全连接层")


def test_an_output_without_box_characters_gets_the_table_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    text = summary_text(mnist())
    monkeypatch.undo()
    assert text.isascii()
    assert "| dense (Dense)                   | (None, 512)            |       401,920 |" in text


@pytest.mark.skipif(not (RECORDED / "values.json").exists(), reason="values.json is not recorded")
def test_the_summaries_of_recorded_networks_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECORDED))
    import text_cases

    from gradlite import keras

    texts = json.loads((RECORDED / "values.json").read_text(encoding="utf-8"))["texts"]["summaries"]
    for name, make, options in text_cases.SUMMARIES:
        if name != "two_inputs":  # a functional network, whose fourth column gradlite has not
            assert text_cases.summary_text(keras, make, options) == texts[name], name
