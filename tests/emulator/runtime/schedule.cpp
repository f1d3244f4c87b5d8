// The drawn part of the schedule; see schedule.h.
#include "schedule.h"

#include <utility>

Schedule schedule;

void seed_schedule(int seed) {
  schedule.random = 0x9E3779B97F4A7C15ull ^ ((uint64_t)(seed + 1) * 0xD1B54A32D192ED03ull);
  if (!schedule.random) schedule.random = 1;
  for (int i = 0; i < 20; i++) next_random();  // xorshift needs a while to leave a sparse seed
}

// Called when no thread is ready, or all are: the ready set is kept by priority.
void draw_priorities() {
  for (int i = 0; i < warp_count; i++) schedule.warp_of[i] = (uint8_t)(options.order == 1 ? warp_count - 1 - i : i);
  if (options.order == 2)
    for (int i = warp_count - 1; i > 0; i--) std::swap(schedule.warp_of[i], schedule.warp_of[next_random() % (i + 1)]);
  for (int i = 0; i < warp_count; i++) schedule.priority_of[schedule.warp_of[i]] = (uint8_t)i;
  schedule.ready_warps = 0;
  for (int warp = 0; warp < warp_count; warp++)
    if (warps[warp].ready) schedule.ready_warps |= 1u << schedule.priority_of[warp];
}
