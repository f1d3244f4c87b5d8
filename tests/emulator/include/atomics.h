// Atomic operations. One OS thread runs all emulated threads and never switches inside one of these, so a plain
// read-modify-write is atomic; what is left is to tell the race detector that it was meant to be.
#pragma once

#define EMU_ATOMIC(name, new_value)                                                      \
  template <class T, class U>                                                            \
  EMU_UNCHECKED T name(T* address, U operand) {                                          \
    emu_check_access(address, sizeof(T), emu::Access::atomic, __builtin_return_address(0)); \
    const T old = *address, value = (T)operand;                                          \
    *address = new_value;                                                                \
    return old;                                                                          \
  }

EMU_ATOMIC(atomicAdd, old + value)
EMU_ATOMIC(atomicSub, old - value)
EMU_ATOMIC(atomicMin, value < old ? value : old)
EMU_ATOMIC(atomicMax, value > old ? value : old)
EMU_ATOMIC(atomicExch, value)
EMU_ATOMIC(atomicAnd, old& value)
EMU_ATOMIC(atomicOr, old | value)
EMU_ATOMIC(atomicXor, old ^ value)
EMU_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
EMU_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef EMU_ATOMIC

template <class T, class U, class V>
EMU_UNCHECKED T atomicCAS(T* address, U expected, V desired) {
  emu_check_access(address, sizeof(T), emu::Access::atomic, __builtin_return_address(0));
  const T old = *address;
  if (old == (T)expected) *address = (T)desired;
  return old;
}
