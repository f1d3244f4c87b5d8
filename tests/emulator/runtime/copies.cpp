// cp.async: copies from global to shared memory that land some time before the thread has waited for them.
//
// 'Late' delivers a copy only when it is waited for and poisons its destination until then; 'early' delivers at once.
// A kernel must be right under both: late finds reads that do not wait, early finds writes over data still being read.
#include <cstring>

#include "schedule.h"

struct Copy {
  char* destination;
  const char* source;
  int bytes, source_bytes;
  bool landed;
};

static constexpr int MAX_COPIES = 512, MAX_GROUPS = 64;
static Copy pending[MAX_THREADS][MAX_COPIES];
static int group_end[MAX_THREADS][MAX_GROUPS];  // group g holds the copies below group_end[g] that no earlier one holds

void reset_copies(Thread& thread) { thread.copies = thread.groups = 0; }

static void deliver(Copy& copy) {
  memcpy(copy.destination, copy.source, copy.source_bytes);
  memset(copy.destination + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  copy.landed = true;
}

// Makes the oldest `count` copies visible to the thread that issued them; to others a barrier must do so.
static void land(Thread& me, int count) {
  Copy* copies = pending[me.linear];
  for (int i = 0; i < count; i++) {
    if (!copies[i].landed) deliver(copies[i]);
    if (options.checked) mark_landed(copies[i].destination, copies[i].bytes, me);
  }
  me.copies -= count;
  memmove(copies, copies + count, me.copies * sizeof(Copy));
}

static void check_copy(const char* destination, const char* source, int bytes, int source_bytes, void* pc) {
  if (bytes != 4 && bytes != 8 && bytes != 16)
    fail("cp.async of %d bytes; 4, 8 and 16 are possible %s", bytes, source_of(pc));
  if (source_bytes < 0 || source_bytes > bytes)
    fail("cp.async takes %d of %d bytes from the source %s", source_bytes, bytes, source_of(pc));
  if ((uintptr_t)destination % bytes) fail("misaligned cp.async: destination not on %d bytes %s", bytes, source_of(pc));
  if (source_bytes && (uintptr_t)source % bytes)
    fail("misaligned cp.async: source %p not on %d bytes %s", (const void*)source, bytes, source_of(pc));
  if (!static_shared.holds(destination) && !dynamic_window.holds(destination))
    fail("cp.async: destination %p is not shared memory %s", (const void*)destination, source_of(pc));
  check_shared_bounds(destination, bytes, emu::Access::write, pc);
  // Checked here in every profile: a fault when the copy lands would point at the wait, not at the copy.
  if (source_bytes && !global_bytes_exist(source, source_bytes))
    fail("out of bounds: cp.async reads %d bytes at global %p %s", source_bytes, (const void*)source, source_of(pc));
}

EMU_API void emu_cp_async(void* shared, const void* global, int bytes, int source_bytes) {
  Thread& me = current();
  void* pc = __builtin_return_address(0);
  char* destination = (char*)shared;
  check_copy(destination, (const char*)global, bytes, source_bytes, pc);
  if (options.checked) {
    check_access(destination, bytes, emu::Access::write, pc);
    if (source_bytes) check_access((const char*)global, source_bytes, emu::Access::read, pc);
  }
  if (me.copies == MAX_COPIES) fail("more than %d cp.async copies in flight %s", MAX_COPIES, source_of(pc));
  Copy& copy = pending[me.linear][me.copies++];
  copy = Copy{destination, (const char*)global, bytes, source_bytes, false};
  if (options.copies == 1 || (options.copies == 2 && (next_random() & 1)))
    deliver(copy);
  else
    memset(destination, 0xFF, bytes);  // what was there may be overwritten at any time
  if (options.checked) mark_in_flight(destination, bytes);
}

EMU_API void emu_cp_commit() {
  Thread& me = current();
  if (me.groups == MAX_GROUPS) fail("more than %d cp.async groups committed and not waited for", MAX_GROUPS);
  group_end[me.linear][me.groups++] = me.copies;
}

EMU_API void emu_cp_wait(int groups_left) {
  Thread& me = current();
  int* ends = group_end[me.linear];
  if (groups_left < 0) {  // cp.async.wait_all
    land(me, me.copies);
    me.groups = 0;
    return;
  }
  int complete = me.groups - groups_left;
  if (complete <= 0) return;
  int landed = ends[complete - 1];
  land(me, landed);
  me.groups -= complete;
  for (int i = 0; i < me.groups; i++) ends[i] = ends[i + complete] - landed;
}
