// Which thread runs next.
//
// A warp runs as far as it gets before any other moves, which is the largest skew between warps that the barriers
// allow; a fair round robin hides most races. Orders 0 and 1 take warps and lanes ascending and descending, order 2 at
// random, with new priorities of the warps at every barrier.
#pragma once

#include "runtime.h"

struct Schedule {
  uint32_t ready_warps;            // bit p: the warp of priority p has ready lanes
  uint8_t warp_of[MAX_WARPS];      // by priority
  uint8_t priority_of[MAX_WARPS];  // by warp
  uint64_t random;                 // state of an xorshift generator
};
extern Schedule schedule;

void seed_schedule(int seed);
void draw_priorities();

inline uint32_t next_random() {
  uint64_t& x = schedule.random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return (uint32_t)(x >> 16);
}

inline void make_ready(Thread& thread) {
  if (thread.status != Status::unstarted) thread.status = Status::ready;
  warps[thread.warp].ready |= 1u << thread.lane;
  schedule.ready_warps |= 1u << schedule.priority_of[thread.warp];
}

inline int random_bit_of(uint32_t bits) {
  for (unsigned skip = next_random() % __builtin_popcount(bits); skip; skip--) bits &= bits - 1;
  return __builtin_ctz(bits);
}

// Takes the next thread out of the ready set; null where there is none.
inline Thread* take_ready() {
  if (!schedule.ready_warps) return nullptr;
  int priority = __builtin_ctz(schedule.ready_warps), warp = schedule.warp_of[priority];
  uint32_t lanes = warps[warp].ready;
  int lane = options.order == 0   ? __builtin_ctz(lanes)
             : options.order == 1 ? 31 - __builtin_clz(lanes)
                                  : random_bit_of(lanes);
  warps[warp].ready = lanes & ~(1u << lane);
  if (!warps[warp].ready) schedule.ready_warps &= ~(1u << priority);
  return &threads[warp * 32 + lane];
}
