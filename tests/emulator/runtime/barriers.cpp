// __syncthreads and its reducing forms. All threads of the block must reach the same one: same line, none exited.
#include <cstring>

#include "schedule.h"

static int arrived;
static const Thread* first;  // to arrive
static int count, all, any;  // of the predicates so far
static int results[3];       // of the last barrier, by Reduction

static void clear() {
  arrived = count = any = 0;
  all = 1;
}

void reset_barrier() { clear(); }
int threads_at_barrier() { return arrived; }
const char* barrier_place() { return first ? first->place : "?"; }

static void release() {
  results[(int)emu::Reduction::count] = count;
  results[(int)emu::Reduction::all] = all;
  results[(int)emu::Reduction::any] = any;
  clear();
  epoch++;
  statistics.barriers++;
  for (int i = 0; i < thread_count; i++) make_ready(threads[i]);
  if (options.order == 2) draw_priorities();
}

static void wait_for_all(const char* place, int predicate) {
  Thread& me = current();
  if (threads_alive != thread_count)
    fail("barrier divergence: __syncthreads at %s reached after %d of %d threads exited", place,
         thread_count - threads_alive, thread_count);
  if (!arrived)
    first = &me;
  else if (first->place != place && strcmp(first->place, place) != 0)
    fail("barrier divergence: thread %u waits at __syncthreads at %s while this one reaches __syncthreads at %s",
         first->linear, first->place, place);
  count += predicate;
  all &= predicate;
  any |= predicate;
  arrived++;
  me.status = Status::at_barrier;
  me.place = place;
  if (arrived == thread_count) release();
  yield();
}

EMU_API void emu_syncthreads(const char* place) { wait_for_all(place, 0); }

EMU_API int emu_syncthreads_reduce(const char* place, emu::Reduction reduction, int predicate) {
  wait_for_all(place, predicate);
  return results[(int)reduction];
}
