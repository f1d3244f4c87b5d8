"""Emitter: writes a micro-kernel in LLVM's language, a vector at a time.

A micro-kernel is a C function of integers: addresses (of float32 numbers) and counts, strides counted in numbers. Loops
over its registers are Python loops, so what comes out is straight code with explicit vectors; what a compiler makes of
the same loops in source form reaches a fraction of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from gradlite.backends.cpu.native.target import Target

INT = ir.IntType(64)
FLOAT = ir.FloatType()
BYTE = ir.IntType(8)
POINTER = ir.PointerType()


class Emitter:
    """Writes one function into a module.

    Args:
        module: where the function goes.
        target: what it is for.
        name: the function's name.
        parameters: how many integers it takes.

    Attributes:
        arguments: its parameters.
    """

    def __init__(self, module: ir.Module, target: Target, name: str, parameters: int) -> None:
        self.module = module
        self.lanes = target.lanes
        self.vector = ir.VectorType(FLOAT, target.lanes)
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * parameters), name)
        self.arguments: Sequence[Any] = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._has_fma = "fma" in target.features or "neon" in target.features

    # Integers and addresses.

    def integer(self, value: Any) -> Any:
        """A constant; what is one already stays what it is."""
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.add(self.integer(a), self.integer(b))

    def multiply(self, a: Any, b: Any) -> Any:
        return self.builder.mul(self.integer(a), self.integer(b))

    def pointer(self, address: Any) -> Any:
        """What an integer parameter points to."""
        return self.builder.inttoptr(address, POINTER)

    def at(self, pointer: Any, index: Any) -> Any:
        """The address of the float32 number ``index`` behind ``pointer``."""
        return self.builder.gep(pointer, [self.integer(index)], source_etype=FLOAT)

    # Vectors.

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [ir.Constant(FLOAT, value)] * self.lanes)

    def zero(self) -> Any:
        return self.constant(0.0)

    def load(self, pointer: Any) -> Any:
        return self.builder.load(pointer, align=4, typ=self.vector)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, pointer, align=4)

    def prefetch(self, pointer: Any) -> None:
        """Ask for the cache line there; no address is wrong."""
        whole = ir.IntType(32)
        function = self._external("llvm.prefetch.p0", ir.FunctionType(ir.VoidType(), [POINTER, whole, whole, whole]))
        # To be read, kept in all caches but perhaps the first, data.
        self.builder.call(function, [pointer, *(ir.Constant(whole, value) for value in (0, 2, 1))])

    def broadcast(self, pointer: Any) -> Any:
        """The number there in every lane."""
        return self.splat(self.builder.load(pointer, align=4, typ=FLOAT))

    def splat(self, number: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, lanes)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the processor can."""
        name = "llvm.fma" if self._has_fma else "llvm.fmuladd"
        function = self._external(f"{name}.v{self.lanes}f32", ir.FunctionType(self.vector, [self.vector] * 3))
        return self.builder.call(function, [a, b, c])

    def plus(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def minus(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b)

    # The last vector of a row, which may be shorter.

    def mask(self, count: Any) -> Any:
        """The lanes below ``count``."""
        lanes = ir.VectorType(INT, self.lanes)
        undefined = ir.Constant(lanes, ir.Undefined)
        one = self.builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        all_lanes = self.builder.shuffle_vector(one, undefined, zeros)
        return self.builder.icmp_signed("<", ir.Constant(lanes, list(range(self.lanes))), all_lanes)

    def load_masked(self, pointer: Any, mask: Any) -> Any:
        """The lanes of the mask; 0 in the others, whose memory is not touched."""
        return self._load_masked("f32", self.zero(), pointer, mask, 4)

    def store_masked(self, value: Any, pointer: Any, mask: Any) -> None:
        """Write the lanes of the mask; the memory of the others is not touched."""
        self._store_masked("f32", value, pointer, mask, 4)

    # The alignment is an operand, which LLVM from 22 on takes for the attribute that it became there.

    def _load_masked(self, element: str, others: Any, pointer: Any, mask: Any, alignment: int) -> Any:
        kind = ir.FunctionType(others.type, [POINTER, ir.IntType(32), mask.type, others.type])
        function = self._external(f"llvm.masked.load.v{self.lanes}{element}.p0", kind)
        return self.builder.call(function, [pointer, ir.Constant(ir.IntType(32), alignment), mask, others])

    def _store_masked(self, element: str, value: Any, pointer: Any, mask: Any, alignment: int) -> None:
        kind = ir.FunctionType(ir.VoidType(), [value.type, POINTER, ir.IntType(32), mask.type])
        function = self._external(f"llvm.masked.store.v{self.lanes}{element}.p0", kind)
        self.builder.call(function, [value, pointer, ir.Constant(ir.IntType(32), alignment), mask])

    def _external(self, name: str, kind: Any) -> Any:
        return self.module.globals.get(name) or ir.Function(self.module, kind, name)

    # Bytes: one for each lane of a vector.

    def at_byte(self, pointer: Any, index: Any) -> Any:
        """The address of the byte ``index`` behind ``pointer``."""
        return self.builder.gep(pointer, [self.integer(index)], source_etype=BYTE)

    def byte_constant(self, value: int) -> Any:
        return ir.Constant(ir.VectorType(BYTE, self.lanes), [value] * self.lanes)

    def load_bytes(self, pointer: Any, mask: Any = None) -> Any:
        """The bytes there; of the lanes outside a mask, 0."""
        kind = ir.VectorType(BYTE, self.lanes)
        if mask is None:
            return self.builder.load(pointer, align=1, typ=kind)
        return self._load_masked("i8", self.byte_constant(0), pointer, mask, 1)

    def store_bytes(self, value: Any, pointer: Any, mask: Any = None) -> None:
        if mask is None:
            self.builder.store(value, pointer, align=1)
        else:
            self._store_masked("i8", value, pointer, mask, 1)

    # Choices, lane by lane.

    def same_bytes(self, a: Any, b: Any) -> Any:
        return self.builder.icmp_signed("==", a, b)

    def above(self, a: Any, b: Any) -> Any:
        """Whether a is larger than b, or one of them NaN and b is a number."""
        larger = self.builder.fcmp_unordered(">", a, b)
        return self.builder.and_(larger, self.builder.fcmp_ordered("ord", b, b))

    def positive(self, a: Any) -> Any:
        return self.builder.fcmp_ordered(">", a, self.zero())

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return self.builder.select(condition, a, b)

    # Control.

    def loop(self, count: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]) -> list[Any]:
        """``for i in range(count): carried = body(i, carried)``; ``count`` is at least 1."""
        builder = self.builder
        before = builder.block
        head, end = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INT)
        i.add_incoming(self.integer(0), before)
        held = [builder.phi(value.type) for value in carried]
        for phi, value in zip(held, carried):
            phi.add_incoming(value, before)
        new = list(body(i, held))
        following = self.add(i, 1)
        for phi, value in zip([i, *held], [following, *new]):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self.integer(count)), head, end)
        builder.position_at_end(end)
        return new

    def choose(self, value: Any, cases: dict[int, Callable[[], None]]) -> None:
        """Run the code of the case that ``value`` is, and return; none of them: return."""
        builder = self.builder
        blocks = {number: builder.append_basic_block(f"case{number}") for number in cases}
        end = builder.append_basic_block("end")
        switch = builder.switch(value, end)
        for number, block in blocks.items():
            switch.add_case(self.integer(number), block)
            builder.position_at_end(block)
            cases[number]()
            builder.branch(end)
        builder.position_at_end(end)

    def finish(self) -> None:
        self.builder.ret_void()
