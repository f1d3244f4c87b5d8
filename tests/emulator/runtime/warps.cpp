// Warp operations: lanes meet, and the last to arrive executes the operation for all.
#include <cstring>

#include "schedule.h"

static unsigned existing_lanes(int warp) {
  int lanes = thread_count - warp * 32;
  return lanes >= 32 ? 0xffffffffu : (1u << lanes) - 1;
}

void reset_warps() {
  for (int i = 0; i < warp_count; i++) {
    Warp& warp = warps[i];
    warp.count = warp.syncs = 0;
    warp.ready = 0;
    warp.existing = warp.alive = existing_lanes(i);
  }
}

static bool same(const char* a, const char* b) { return a == b || (a && b && strcmp(a, b) == 0); }

// The rendezvous of `mask` in this warp, a new one if these lanes wait for none.
static Rendezvous& find_or_open(Warp& warp, const Thread& me, unsigned mask) {
  for (int i = 0; i < warp.count; i++) {
    Rendezvous& open = warp.rendezvous[i];
    if (!(open.mask & mask)) continue;
    if (open.mask == mask && same(open.operation, me.operation) && same(open.place, me.place)) return open;
    const Thread& other = threads[me.warp * 32 + __builtin_ctz(open.arrived)];
    fail("warp divergence: lane %u is in %s at %s with mask %08x while lane %u waits in %s at %s with mask %08x",
         me.lane, me.operation, place_of(me), mask, other.lane, other.operation, place_of(other), open.mask);
  }
  Rendezvous& opened = warp.rendezvous[warp.count++];
  opened.mask = mask;
  opened.arrived = 0;
  opened.operation = me.operation;
  opened.place = me.place;
  return opened;
}

// The lanes that must meet; lanes that a ragged last warp lacks do not count.
static unsigned lanes_to_meet(const Warp& warp, const Thread& me, unsigned mask) {
  if (!(mask >> me.lane & 1))
    fail("%s at %s: lane %u calls it with a mask, %08x, that leaves it out", me.operation, place_of(me), me.lane, mask);
  mask &= warp.existing;
  if (mask & ~warp.alive)
    fail("warp divergence: %s at %s waits for lanes %08x, of which %08x have exited", me.operation, place_of(me), mask,
         mask & ~warp.alive);
  return mask;
}

void meet(unsigned mask, const char* operation, const char* place, void* pc, void* argument,
          emu::WarpOperation execute) {
  Thread& me = current();
  Warp& warp = warps[me.warp];
  me.operation = operation;
  me.place = place;
  me.pc = pc;
  mask = lanes_to_meet(warp, me, mask);
  Rendezvous& meeting = find_or_open(warp, me, mask);
  meeting.arrived |= 1u << me.lane;
  meeting.arguments[me.lane] = argument;
  if (meeting.arrived != mask) {
    me.status = Status::in_warp_operation;
    me.mask = mask;
    yield();
    return;
  }
  statistics.warp_operations++;
  if (execute)
    execute(meeting.arguments, mask);
  else
    warp.syncs++;  // __syncwarp, the only one that orders memory
  meeting = warp.rendezvous[--warp.count];
  for (unsigned others = mask & ~(1u << me.lane); others; others &= others - 1)
    make_ready(threads[me.warp * 32 + __builtin_ctz(others)]);
  if (options.order == 2) {  // the last to arrive need not be the first to go on
    make_ready(me);
    yield();
  }
}

EMU_API void emu_warp_operation(unsigned mask, const char* operation, const char* place, void* argument,
                                emu::WarpOperation execute) {
  meet(mask, operation, place, nullptr, argument, execute);
}

EMU_API void emu_syncwarp(unsigned mask, const char* place) {
  meet(mask, "__syncwarp", place, nullptr, nullptr, nullptr);
}

void refuse_exit_while_awaited(const Thread& thread) {
  const Warp& warp = warps[thread.warp];
  for (int i = 0; i < warp.count; i++) {
    const Rendezvous& open = warp.rendezvous[i];
    if (!(open.mask >> thread.lane & 1)) continue;
    const Thread& waiting = threads[thread.warp * 32 + __builtin_ctz(open.arrived)];
    fail("warp divergence: lane %u exits while lanes %08x wait for it in %s at %s", thread.lane, open.arrived,
         open.operation, place_of(waiting));
  }
}
