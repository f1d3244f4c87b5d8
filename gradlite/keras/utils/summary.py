"""The table that ``Model.summary`` prints, in Keras's layout."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gradlite.keras.layers.base import Layer

Row = list[str]

# What stands for the lines of the table where the output cannot show them.
_PLAIN = str.maketrans(
    {**dict.fromkeys("┏┳┓┡╇┩├┼┤└┴┘", "+"), **dict.fromkeys("┃│", "|"), "━": "=", "─": "-", "…": "~"},
)


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> str:
    """The layers of a model, the shapes of what they make and the number of their weights, as a table.

    Args:
        model: its ``name``, ``layers``, ``trainable_weights``, ``non_trainable_weights`` and ``optimizer`` are read,
            and ``output_shapes()``: for every layer the shape of its output, a list of shapes, or None if not known.
        line_length: characters of a line; by default what fits the terminal, at most 88 (100 with ``show_trainable``).
        positions: where the columns end, as fractions of the line (or in characters); by default .45, .80 and 1.
        expand_nested: list the layers of models within the model too.
        show_trainable: a fourth column says Y (yes), N (no) or - (no weights).
        layer_range: two regular expressions; the rows from the first layer whose name one matches to the last that
            the other matches.

    Returns:
        the lines, each with its line break. The last three (four once the optimizer has its state) are the totals.

    Raises:
        ValueError: no room for the columns, or no layer that ``layer_range`` matches.

    >>> from types import SimpleNamespace as Model
    >>> nothing = {"layers": [], "trainable_weights": [], "non_trainable_weights": []}
    >>> print(summary_text(Model(name="empty", output_shapes=list, **nothing), line_length=50), end="")
    Model: "empty"
    ┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
    ┃ Layer (type)        ┃ Output Shape   ┃ Param # ┃
    ┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
    └─────────────────────┴────────────────┴─────────┘
     Total params: 0 (0.00 B)
     Trainable params: 0 (0.00 B)
     Non-trainable params: 0 (0.00 B)
    """
    header, alignments = ["Layer (type)", "Output Shape", "Param #"], ["left", "left", "right"]
    longest, ends = 88, list(positions or (0.45, 0.80, 1.0))
    if show_trainable:
        header, alignments = [*header, "Trainable"], [*alignments, "center"]
        longest, ends = longest + 12, [*(0.9 * end for end in ends), ends[-1]]
    line_length = line_length or min(longest, shutil.get_terminal_size().columns - 4)
    widths = _column_widths(ends, line_length)
    rows = _rows(model, _selected(model.layers, layer_range), expand_nested, show_trainable)
    lines = [f'Model: "{model.name}"', *_table(header, rows, widths, alignments), *_totals(model)]
    return _printable("\n".join(lines) + "\n")


# The contents.


def _selected(layers: Sequence[Any], layer_range: Sequence[str] | None) -> range:
    """The positions of the layers that are shown."""
    if layer_range is None:
        return range(len(layers))
    if isinstance(layer_range, str) or len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(f"layer_range needs the names of two layers. Received: layer_range={layer_range!r}.")
    found = [[i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in layer_range]
    if not all(found):
        names = ", ".join(layer.name for layer in layers)
        raise ValueError(
            f"layer_range names no layer of this model. Received: layer_range={tuple(layer_range)}; it has {names}."
        )
    first, last = found if found[0][0] <= found[1][-1] else (found[1], found[0])
    return range(first[0], last[-1] + 1)


def _rows(model: Any, shown: range, expand_nested: bool, show_trainable: bool, level: int = 0) -> list[Row]:
    """A row for each layer; ``level`` counts the models around it."""
    shapes = model.output_shapes() if hasattr(model, "output_shapes") else []
    indent = "   " * level + "└ " if level else ""
    rows: list[Row] = []
    for i in shown:
        layer = model.layers[i]
        shape = _shape_text(shapes[i]) if i < len(shapes) else "?"
        row = [f"{indent}{layer.name} ({type(layer).__name__})", shape, _parameters(layer)]
        if show_trainable:
            row.append("-" if not layer.weights else "Y" if layer.trainable else "N")
        rows.append(row)
        inner = getattr(layer, "layers", ())
        if expand_nested and inner:
            rows += _rows(layer, range(len(inner)), expand_nested, show_trainable, level + 1)
    return rows


def _shape_text(shape: Any) -> str:
    """``(None, 10)``, or such shapes in a list or dict for a layer of several outputs."""
    if shape is None:
        return "?"
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {_shape_text(value)}" for key, value in shape.items()) + "}"
    if all(n is None or isinstance(n, int) for n in shape):
        return "(" + ", ".join(str(n) for n in shape) + ")"
    return "[" + ", ".join(_shape_text(part) for part in shape) + "]"


def _parameters(layer: Any) -> str:
    if layer.built:
        return f"{layer.count_params():,}"
    # Where no layer has a build of its own there will never be weights: nothing is missing from the zero.
    waiting = any(type(inner).build is not Layer.build and not inner.built for inner in layer.flatten_layers())
    return "0 (unbuilt)" if waiting else "0"


def _totals(model: Any) -> list[str]:
    trainable, fixed = _unique(model.trainable_weights), _unique(model.non_trainable_weights)
    optimizer = getattr(model, "optimizer", None)
    state = _unique(optimizer.variables) if optimizer is not None and optimizer.built else []
    totals = [("Total", trainable + fixed + state), ("Trainable", trainable), ("Non-trainable", fixed)]
    if state:
        totals.append(("Optimizer", state))
    return [
        f" {name} params: {sum(w.size for w in weights):,} ({_memory_text(sum(w.nbytes for w in weights))})"
        for name, weights in totals
    ]


def _unique(weights: Sequence[Any]) -> list[Any]:
    return list({id(weight): weight for weight in weights}.values())


def _memory_text(size: float) -> str:
    """Bytes as ``16.07 MB``, where a KB is 1024 bytes."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


# The drawing.


def _column_widths(ends: Sequence[float], line_length: int) -> list[int]:
    """Characters of text in each column.

    The positions speak of the text alone. What the frame and a space on either side of a text need beyond the line
    is taken from the columns in equal parts.
    """
    scale = line_length if ends[-1] <= 1 else 1
    stops = [0, *(int(end * scale) for end in ends)]
    widths = [stop - start for start, stop in pairwise(stops)]
    roomy = min(widths) >= 4
    excess = sum(widths) + 3 * len(widths) + 1 - line_length
    for i in range(len(widths)):
        share = round(max(excess, 0) / (len(widths) - i))
        widths[i] -= share
        excess -= share
    if not roomy or min(widths) < 1:
        raise ValueError(
            f"No room for the columns of the summary. Received: line_length={line_length} with columns that end at "
            f"{[round(end, 3) for end in ends]}; widen the terminal or pass a larger line_length."
        )
    return widths


def _table(header: Row, rows: list[Row], widths: list[int], alignments: list[str]) -> list[str]:
    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * (width + 2) for width in widths) + right

    lines = [rule("┏", "━", "┳", "┓"), *_row_lines(header, widths, alignments, "┃", at_bottom=True)]
    lines.append(rule("┡", "━", "╇", "┩"))
    for i, row in enumerate(rows):
        if i:
            lines.append(rule("├", "─", "┼", "┤"))
        lines += _row_lines(row, widths, alignments, "│")
    return [*lines, rule("└", "─", "┴", "┘")]


def _row_lines(row: Row, widths: list[int], alignments: list[str], bar: str, at_bottom: bool = False) -> list[str]:
    """The lines of a row, as many as its tallest cell has."""
    cells = [_wrapped(text, width) for text, width in zip(row, widths)]
    height = max(len(cell) for cell in cells)
    columns = []
    for cell, width, alignment in zip(cells, widths, alignments):
        empty = [""] * (height - len(cell))
        lines = empty + cell if at_bottom else cell + empty
        columns.append([_aligned(line, width, alignment) for line in lines])
    return [f"{bar} " + f" {bar} ".join(line) + f" {bar}" for line in zip(*columns)]


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines, broken between words; a word that is too long for a line is cut off."""
    lines = [""]
    for word in re.findall(r"\s*\S+\s*", text):
        if lines[-1] and _cells(lines[-1]) + _cells(word.rstrip()) > width:
            lines.append(word)
        else:
            lines[-1] += word
    return [_cut(line.rstrip(), width) for line in lines]


def _cut(line: str, width: int) -> str:
    if _cells(line) <= width:
        return line
    while _cells(line) > width - 1:
        line = line[:-1]
    return line + "…"


def _aligned(line: str, width: int, alignment: str) -> str:
    # Not str.ljust and its like: they count characters, where a terminal counts cells.
    room = width - _cells(line)
    left = {"left": 0, "center": room // 2, "right": room}[alignment]
    return " " * left + line + " " * (room - left)


def _cells(text: str) -> int:
    """How many columns of a terminal the text takes: Chinese characters take two, combining accents none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _printable(text: str) -> str:
    """The text, with its lines drawn in ASCII where ``sys.stdout`` has an encoding that lacks them."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text
