// Shared memory: one copy, since blocks run one after the other, poisoned with 0xFF (NaN) before each block.
//
// Static variables are placed when a launch first reaches their declaration, with gaps, so that an overrun never lands
// in the next one. Dynamic memory ends at an inaccessible page, to 128 bytes.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>

#include "runtime.h"

static constexpr size_t STATIC_WINDOW = 64 << 10, STATIC_MOST = 48 << 10;
static constexpr size_t DYNAMIC_WINDOW = 256 << 10, GUARD = 4096, GAP = 64, DYNAMIC_ALIGNMENT = 128;

struct Placed {
  unsigned offset, bytes;
  const char* name;
};
static Placed placed[64];
static int placed_count;
static size_t placed_end, static_bytes, bytes_allowed;
static unsigned launch_number;

Range static_shared, dynamic_window, dynamic_shared;

static char* map_guarded(size_t bytes) {
  void* memory =
      mmap(nullptr, bytes + 2 * GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  char* first = (char*)memory;
  mprotect(first, GUARD, PROT_NONE);
  mprotect(first + GUARD + bytes, GUARD, PROT_NONE);
  return first + GUARD;
}

bool map_shared() {
  static_shared.begin = map_guarded(STATIC_WINDOW);
  static_shared.end = static_shared.begin + STATIC_WINDOW;
  char* dynamic = map_guarded(DYNAMIC_WINDOW);
  dynamic_window = Range{dynamic - GUARD, dynamic + DYNAMIC_WINDOW + GUARD};
  return static_shared.begin && dynamic;
}

void place_dynamic_shared(size_t bytes, size_t limit) {
  launch_number++;
  placed_count = 0;
  placed_end = static_bytes = 0;
  bytes_allowed = limit;
  char* end = dynamic_window.end - GUARD;
  dynamic_shared.begin = (char*)((uintptr_t)(end - bytes) / DYNAMIC_ALIGNMENT * DYNAMIC_ALIGNMENT);
  dynamic_shared.end = dynamic_shared.begin + bytes;
  emu_position.dynamic_shared = dynamic_shared.begin;
}

void poison_shared() {
  memset(static_shared.begin, 0xFF, placed_end);
  memset(dynamic_shared.begin, 0xFF, dynamic_window.end - GUARD - dynamic_shared.begin);
}

static void place(emu::SharedVariable& variable, size_t bytes, size_t alignment, const char* name) {
  size_t dynamic_bytes = dynamic_shared.end - dynamic_shared.begin;
  if (alignment < 16) alignment = 16;
  size_t offset = (placed_end + alignment - 1) / alignment * alignment;
  static_bytes += bytes;
  if (static_bytes > STATIC_MOST)
    fail("too much shared memory: '%s' brings the static variables to %zu bytes; %zu are possible", name, static_bytes,
         STATIC_MOST);
  if (static_bytes + dynamic_bytes > bytes_allowed)
    fail("too much shared memory: %zu static and %zu dynamic bytes are more than the %zu allowed for this launch",
         static_bytes, dynamic_bytes, bytes_allowed);
  if (placed_count == 64 || offset + bytes > STATIC_WINDOW) fail("too many shared variables");
  placed[placed_count++] = Placed{(unsigned)offset, (unsigned)bytes, name};
  placed_end = offset + bytes + GAP;
  variable = emu::SharedVariable{launch_number, (unsigned)offset};
  memset(static_shared.begin + offset, 0xFF, bytes);
}

EMU_API void* emu_shared_variable(emu::SharedVariable* variable, size_t bytes, size_t alignment, const char* name) {
  if (variable->launch != launch_number) place(*variable, bytes, alignment, name);
  return static_shared.begin + variable->offset;
}

// The last variable that begins at or before `address`.
static const Placed* variable_at(const char* address) {
  size_t offset = address - static_shared.begin;
  for (int i = placed_count - 1; i >= 0; i--)
    if (placed[i].offset <= offset) return &placed[i];
  return nullptr;
}

void check_shared_bounds(const char* address, size_t bytes, emu::Access access, void* pc) {
  if (dynamic_window.holds(address)) {
    if (address >= dynamic_shared.begin && address + bytes <= dynamic_shared.end) return;
    fail("out of bounds: %s of %zu bytes at dynamic shared memory %+ld, which has %ld bytes %s",
         ACCESS_NAMES[(int)access], bytes, (long)(address - dynamic_shared.begin),
         (long)(dynamic_shared.end - dynamic_shared.begin), source_of(pc));
  }
  const Placed* variable = variable_at(address);
  if (!variable) fail("out of bounds: %s before all shared arrays %s", ACCESS_NAMES[(int)access], source_of(pc));
  size_t within = address - static_shared.begin - variable->offset;
  if (within + bytes > variable->bytes)
    fail("out of bounds: %s of %zu bytes at shared array '%s' + %zu, which has %u bytes %s", ACCESS_NAMES[(int)access],
         bytes, variable->name, within, variable->bytes, source_of(pc));
}

void describe_address(const char* address, char* text, size_t bytes) {
  if (arena.holds(address)) {
    snprintf(text, bytes, "global %p", (const void*)address);
  } else if (dynamic_window.holds(address)) {
    snprintf(text, bytes, "dynamic shared memory + %ld", (long)(address - dynamic_shared.begin));
  } else {
    const Placed* variable = variable_at(address);
    snprintf(text, bytes, "shared array '%s' + %ld", variable ? variable->name : "?",
             (long)(address - static_shared.begin) - (variable ? (long)variable->offset : 0));
  }
}
