// Where the compiler's instrumentation arrives.
//
// The checked profile compiles with -fsanitize=thread,bounds,... but links without the sanitizers' libraries; the
// functions g++ calls at every load and store, and at every undefined operation, are defined here instead.
#include <cstring>

#include "runtime.h"

static char parameters[40 << 10];  // a kernel's arguments (4 KB), then pointers to them
EMU_API char* emu_parameters() { return parameters; }

template <class T>
static bool within(const char* address, const T& object) {
  return address >= (const char*)&object && address < (const char*)(&object + 1);
}

// threadIdx, blockIdx and the kernel's arguments: memory of the runtime that a kernel reads without being told.
static bool is_environment(const char* address) {
  return within(address, threads) || within(address, emu_position) || within(address, parameters);
}

static void check_outside(const char* address, size_t bytes, emu::Access access, void* pc) {
  bool reads = access == emu::Access::read;
  if (reads && (image.holds(address) || is_environment(address))) return;
  if (image.holds(address))
    fail("out of bounds: %s of %zu bytes to the module's constants %s", ACCESS_NAMES[(int)access], bytes,
         source_of(pc));
  fail("out of bounds: %s of %zu bytes at %p, which belongs to no allocation %s", ACCESS_NAMES[(int)access], bytes,
       (const void*)address, source_of(pc));
}

void* checked_pc;

void check_access(const char* address, size_t bytes, emu::Access access, void* pc) {
  if (stacks.holds(address) || !running || !bytes) return;
  checked_pc = pc;
  statistics.accesses++;
  if (static_shared.holds(address) || dynamic_window.holds(address)) {
    check_shared_bounds(address, bytes, access, pc);
    check_races(address, bytes, access, pc);
  } else if (arena.holds(address)) {
    if (!global_bytes_exist(address, bytes))
      fail("out of bounds: %s of %zu bytes at global %p %s", ACCESS_NAMES[(int)access], bytes, (const void*)address,
           source_of(pc));
    if (options.race & 2) check_races(address, bytes, access, pc);
    if (access == emu::Access::atomic) note_atomic(address);
  } else {
    check_outside(address, bytes, access, pc);
  }
}

EMU_API void emu_check_access(const void* address, size_t bytes, emu::Access access, void* pc) {
  if (options.checked) check_access((const char*)address, bytes, access, pc);
}

// ---- -fsanitize=thread

#define HERE __builtin_return_address(0)
#define EMU_HOOK(name, access, bytes) \
  EMU_API void __tsan_##name##bytes(void* p) { check_access((char*)p, bytes, emu::Access::access, HERE); }
#define EMU_HOOKS(bytes)                   \
  EMU_HOOK(read, read, bytes)              \
  EMU_HOOK(write, write, bytes)            \
  EMU_HOOK(volatile_read, read, bytes)     \
  EMU_HOOK(volatile_write, write, bytes)   \
  EMU_HOOK(unaligned_read, read, bytes)    \
  EMU_HOOK(unaligned_write, write, bytes)
EMU_HOOKS(1)
EMU_HOOKS(2)
EMU_HOOKS(4)
EMU_HOOKS(8)
EMU_HOOKS(16)

EMU_API void __tsan_read_range(void* p, size_t bytes) { check_access((char*)p, bytes, emu::Access::read, HERE); }
EMU_API void __tsan_write_range(void* p, size_t bytes) { check_access((char*)p, bytes, emu::Access::write, HERE); }
EMU_API void __tsan_func_entry(void*) {}
EMU_API void __tsan_func_exit() {}
EMU_API void __tsan_init() {}
EMU_API void __tsan_vptr_update(void**, void*) {}

// ---- -fsanitize=bounds,alignment,shift,...: every handler's data begins with the source location

struct SourceLocation {
  const char* file;
  uint32_t line, column;
};

[[noreturn]] static void undefined(const SourceLocation& at, const char* what) {
  const char* slash = strrchr(at.file, '/');
  fail("%s (%s:%u)", what, slash ? slash + 1 : at.file, at.line);
}

EMU_API void __ubsan_handle_out_of_bounds_abort(SourceLocation* at, uintptr_t index) {
  const char* slash = strrchr(at->file, '/');
  fail("out of bounds: index %ld outside its array (%s:%u)", (long)index, slash ? slash + 1 : at->file, at->line);
}
EMU_API void __ubsan_handle_type_mismatch_v1_abort(SourceLocation* at, uintptr_t) {
  undefined(*at, "misaligned access: the address is no multiple of the type's alignment");
}
EMU_API void __ubsan_handle_shift_out_of_bounds_abort(SourceLocation* at, uintptr_t, uintptr_t) {
  undefined(*at, "undefined shift");
}
EMU_API void __ubsan_handle_divrem_overflow_abort(SourceLocation* at, uintptr_t, uintptr_t) {
  undefined(*at, "integer division by zero");
}
EMU_API void __ubsan_handle_add_overflow_abort(SourceLocation* at, uintptr_t, uintptr_t) {
  undefined(*at, "signed integer overflow in +");
}
EMU_API void __ubsan_handle_sub_overflow_abort(SourceLocation* at, uintptr_t, uintptr_t) {
  undefined(*at, "signed integer overflow in -");
}
EMU_API void __ubsan_handle_mul_overflow_abort(SourceLocation* at, uintptr_t, uintptr_t) {
  undefined(*at, "signed integer overflow in *");
}
EMU_API void __ubsan_handle_negate_overflow_abort(SourceLocation* at, uintptr_t) {
  undefined(*at, "signed integer overflow in negation");
}
