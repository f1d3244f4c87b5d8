"""Group: the variables of one dtype that an optimizer updates, their flat buffers, and the launches on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradlite.keras.flat import FlatBuffer
from gradlite.keras.variables import Variable

# A gradient of at least this many elements is used where it is; smaller ones are packed, for one launch on all.
DIRECT = 1 << 18


class Slot(NamedTuple):
    """A kind of state that an optimizer keeps for every variable."""

    name: str
    initial: float = 0.0


class Piece(NamedTuple):
    """A run of parameters, from start to stop in the buffer, and their gradient as a 1-D array."""

    start: int
    stop: int
    gradient: Any


class Group:
    """Variables of one dtype in a `FlatBuffer`, with slot variables laid out alike.

    Args:
        variables: the variables, which get new memory (see `FlatBuffer`).
        slots: the state to keep for each.
        previous: slot variables by (id of the variable, slot name) from before more variables came; their values stay.
    """

    def __init__(
        self, variables: Sequence[Variable], slots: Sequence[Slot], previous: dict[tuple[int, str], Variable]
    ) -> None:
        self.flat = FlatBuffer(variables)
        self.backend = self.flat.backend
        self.states: dict[str, Any] = {}
        self._views: dict[str, list[Any]] = {}
        self.slots: dict[tuple[int, str], Variable] = {}
        for slot in slots:
            self._add_slot(slot, previous)
        self._gradients: Any = None

    @property
    def variables(self) -> list[Variable]:
        """The variables, in the buffer's order."""
        return self.flat.variables

    def _add_slot(self, slot: Slot, previous: dict[tuple[int, str], Variable]) -> None:
        state = self.flat.like()
        views = self.flat.views_of(state)
        if slot.initial:
            self.backend.launch("assign", state, slot.initial)
        for variable, view in zip(self.variables, views):
            held = previous.get((id(variable), slot.name))
            if held is None:
                if slot.name == "average":  # a variable that comes later starts from its value
                    self.backend.launch("assign", view, variable.data)
                name = f"{variable.path.replace('/', '_')}_{slot.name}"
                held = Variable(view, trainable=False, name=name)
            else:
                self.backend.launch("assign", view, held.data)
            held.data = view
            self.slots[id(variable), slot.name] = held
        self.states[slot.name], self._views[slot.name] = state, views

    def check_homes(self) -> bool:
        """Take back variables and slots whose memory was replaced by somebody else; whether there was one."""
        strayed = self.flat.adopt()
        for name, views in self._views.items():
            for variable, view in zip(self.variables, views):
                held = self.slots[id(variable), name]
                if held.data is not view:
                    self.backend.launch("assign", view, held.data)
                    held.data = view
                    strayed = True
        return strayed

    def gather(self, gradients: Sequence[Any], in_place: bool) -> list[Piece]:
        """The gradients (one for each variable, or None) as pieces, with `in_place` in memory that may be changed."""
        direct = [
            not in_place and g is not None and g.size >= DIRECT and g.dtype == self.flat.dtype and g.flags.c_contiguous
            for g in gradients
        ]
        if self._gradients is None and not all(d or g is None for d, g in zip(direct, gradients)):
            self._gradients = self.flat.like()
        packed = [None if d else g for d, g in zip(direct, gradients)]
        if self._gradients is not None:
            self.flat.pack(packed, self._gradients)
        pieces = [
            Piece(start, stop, self._gradients[start:stop])
            for start, stop in self.flat.segments([g is not None for g in packed])
        ]
        for g, is_direct, offset in zip(gradients, direct, self.flat.offsets):
            if is_direct:
                pieces.append(Piece(offset, offset + g.size, g.reshape(-1)))
        return pieces

    def accumulate_gated(self, pieces: Sequence[Piece], steps: int, writer: Any) -> None:
        """``accumulate`` where the device knows whether there is an update: the gradients become what an update would
        take, and ``start_again`` follows it. ``writer`` launches what is to change the state."""
        kept = self.states["gradient_accumulator"]
        for start, stop, gradient in pieces:
            writer.launch("assign_add", kept[start:stop], gradient)
            self.backend.launch("assign", gradient, kept[start:stop])
            self.backend.launch("scale", gradient, factor=1.0 / steps)

    def start_again(self, writer: Any) -> None:
        """Accumulate from zero again."""
        writer.launch("assign", self.states["gradient_accumulator"], 0)

    def accumulate(self, pieces: Sequence[Piece], steps: int, update: bool) -> None:
        """Add the gradients to those kept; for an update, turn them into the mean and start again from zero."""
        kept = self.states["gradient_accumulator"]
        for start, stop, gradient in pieces:
            if update:
                self.backend.launch("assign_add", gradient, kept[start:stop])
                self.backend.launch("scale", gradient, factor=1.0 / steps)
            else:
                self.backend.launch("assign_add", kept[start:stop], gradient)
        if update:
            self.backend.launch("assign", kept, 0)

    def clip_each(self, gradients: Sequence[Any], norm: float) -> None:
        """Limit the norm of every variable's gradient, of those that are not None."""
        for given, variable, offset in zip(gradients, self.variables, self.flat.offsets):
            if given is not None:
                own = self._gradients[offset : offset + variable.size]
                squares = self.backend.launch("square_sum", own)
                self.backend.launch("scale_to_norm", own, squares, norm=norm)

    def decay(
        self, writer: Any, decayed: Callable[[Variable], bool], active: Sequence[bool], rate: Any, strength: float
    ) -> None:
        """Weight decay for the active variables that `decayed` names, launched by `writer`."""
        wanted = [a and decayed(variable) for a, variable in zip(active, self.variables)]
        for start, stop in self.flat.segments(wanted):
            writer.launch("weight_decay", self.flat.data[start:stop], rate, rate=strength)

    def average(self, writer: Any, step: Any, momentum: float) -> None:
        """Move the averages of all variables towards their values."""
        writer.launch("moving_average", self.states["average"], self.flat.data, step, momentum=momentum)

    def overwrite_with_average(self, writer: Any = None) -> None:
        """Give every variable its average as value."""
        (writer or self.backend).launch("assign", self.flat.data, self.states["average"])
        for variable in self.variables:
            variable.bump_version()

    def swap_with_average(self) -> None:
        """Exchange the variables' values and their averages."""
        values = self.backend.copy(self.flat.data)
        self.overwrite_with_average()
        self.backend.launch("assign", self.states["average"], values)
