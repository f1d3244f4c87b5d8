// Threads as fibers: their stacks, and switching between them.
//
// A thread that exits starts the next unstarted one on its own stack, by a loop and not a switch: a kernel without
// barriers runs on one stack and never switches at all.
#include <sys/mman.h>

#include <cstring>

#include "schedule.h"

extern "C" void emu_switch(void** save, void* to);

static constexpr size_t STACK_BYTES = 128 << 10, GUARD_BYTES = 4096;
Range stacks;
static char* free_stacks[MAX_THREADS];
static int free_count;

static void (*kernel_entry)(void**);
static void** kernel_arguments;

// A page below each stack is inaccessible, so an overflow faults instead of running into the neighbour.
bool map_stacks() {
  const size_t bytes = STACK_BYTES * MAX_THREADS;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  stacks = Range{(char*)memory, (char*)memory + bytes};
  for (int i = 0; i < MAX_THREADS; i++) mprotect(stacks.begin + i * STACK_BYTES, GUARD_BYTES, PROT_NONE);
  return true;
}

void prepare_stacks() {
  free_count = 0;
  for (int i = MAX_THREADS; i >= 1; i--) free_stacks[free_count++] = stacks.begin + i * STACK_BYTES - 64;
}

[[noreturn]] static void report_deadlock() {
  int at_barrier = threads_at_barrier(), in_warp = 0, exited = 0;
  const Thread* waiting = nullptr;
  for (int i = 0; i < thread_count; i++) {
    if (threads[i].status == Status::exited) exited++;
    if (threads[i].status != Status::in_warp_operation) continue;
    in_warp++;
    if (!waiting) waiting = &threads[i];
  }
  emu_position.thread = nullptr;  // it is no single thread's fault
  if (waiting && at_barrier)
    fail("deadlock: thread %u waits in %s at %s for lanes %08x, and %d threads at __syncthreads at %s (%d exited)",
         waiting->linear, waiting->operation, place_of(*waiting), waiting->mask, at_barrier, barrier_place(), exited);
  if (waiting)
    fail("deadlock: %d threads wait in warp operations, thread %u in %s at %s for lanes %08x (%d exited)", in_warp,
         waiting->linear, waiting->operation, place_of(*waiting), waiting->mask, exited);
  fail("deadlock: %d threads wait at __syncthreads at %s (%d exited)", at_barrier, barrier_place(), exited);
}

// Ends the current thread and returns the next one.
static Thread* exit_thread() {
  Thread& me = current();
  if (me.copies) fail("thread exits with %d cp.async copies it never waited for", me.copies);
  if (threads_at_barrier())
    fail("barrier divergence: thread exits while %d threads wait at __syncthreads at %s", threads_at_barrier(),
         barrier_place());
  me.status = Status::exited;
  threads_alive--;
  warps[me.warp].alive &= ~(1u << me.lane);
  refuse_exit_while_awaited(me);
  Thread* next = take_ready();
  if (!next) {
    if (threads_alive) report_deadlock();
    leave_block();
  }
  return next;
}

static void resume(Thread& next, void** save);

[[noreturn]] static void run_threads() {
  for (;;) {
    kernel_entry(kernel_arguments);
    Thread& me = current();
    Thread* next = exit_thread();
    if (next->status != Status::unstarted) {
      free_stacks[free_count++] = me.stack;
      void* never_resumed;
      resume(*next, &never_resumed);
    }
    next->stack = me.stack;
    next->status = Status::ready;
    emu_position.thread = next;
  }
}

// A stack on which emu_switch 'returns' into run_threads.
static void* fresh_stack_pointer(char* top) {
#if defined(__x86_64__)
  void** slot = (void**)top;
  *--slot = nullptr;  // the return address run_threads never uses; keeps its frame 16-byte aligned
  *--slot = (void*)run_threads;
  return slot - 6;
#else
  char* frame = top - 160;
  memset(frame, 0, 160);
  ((void**)frame)[11] = (void*)run_threads;  // x30
  return frame;
#endif
}

static void resume(Thread& next, void** save) {
  emu_position.thread = &next;
  statistics.switches++;
  if (next.status == Status::unstarted) {
    next.stack = free_stacks[--free_count];  // as many stacks as threads: there is one
    next.status = Status::ready;
    next.stack_pointer = fresh_stack_pointer(next.stack);
  }
  emu_switch(save, next.stack_pointer);
}

void yield() {
  Thread& me = current();
  Thread* next = take_ready();
  if (!next) report_deadlock();
  if (next != &me) resume(*next, &me.stack_pointer);
}

void start_block(void (*entry)(void**), void** arguments) {
  kernel_entry = entry;
  kernel_arguments = arguments;
  static void* host_stack_pointer;  // never resumed: a block ends by leave_block
  resume(*take_ready(), &host_stack_pointer);
}
