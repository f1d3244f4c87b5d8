// The runtime's state, and what its parts offer each other.
//
// Vocabulary: a launch runs its blocks one after the other; a block's threads are fibers, that is stacks of their own
// in one OS thread; a thread runs until it waits (at a barrier or in a warp operation) or exits, and then the scheduler
// picks the next. Nothing here allocates memory while a launch runs, since a fault or the time limit may leave a launch
// at any instruction.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../include/interface.h"

#define EMU_API extern "C" __attribute__((visibility("default")))

constexpr int MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / 32;

enum class Status : uint8_t { unstarted, ready, at_barrier, in_warp_operation, exited };

struct Thread : emu::ThreadPosition {
  void* stack_pointer;  // saved while another thread runs
  char* stack;          // top of the stack it runs on
  Status status;
  const char* place;      // "file:line" of the barrier or warp operation it is at; null where only the pc is known
  void* pc;               // return address of that call
  const char* operation;  // name of that warp operation
  unsigned mask;          // lanes that warp operation waits for
  bool fenced;            // has called __threadfence in this block
  int copies, groups;     // cp.async copies and committed groups not yet waited for
};

// Lanes that have arrived at one warp operation. A warp may have several, of disjoint lanes.
struct Rendezvous {
  unsigned mask, arrived;
  const char* operation;
  const char* place;
  void* arguments[32];
};

struct Warp {
  Rendezvous rendezvous[32];
  int count;
  uint16_t syncs;  // __syncwarp calls completed in this block
  unsigned existing, alive, ready;
};

struct Options {  // as settings.py lays them out
  int order;              // 0 ascending, 1 descending, 2 random
  int seed;
  int copies;             // cp.async lands 0 as late as allowed, 1 at once, 2 either by chance
  int race;               // 1 shared memory, 2 global memory, 3 both
  int timeout_ms;         // of CPU time
  int round_toward_zero;  // how tensor cores accumulate
  int checked;            // the module calls the access hooks
};

struct Statistics {  // as settings.py reads them
  unsigned long long launches, blocks, switches, barriers, warp_operations, accesses;
};

extern Thread threads[MAX_THREADS];
extern Warp warps[MAX_WARPS];
extern int thread_count, warp_count, threads_alive;
extern Options options;
extern Statistics statistics;

// Logical time: it advances at every launch, block and barrier. Accesses of one epoch are unordered between threads.
extern uint32_t epoch, block_epoch, launch_epoch;

inline Thread& current() { return *static_cast<Thread*>(emu_position.thread); }

// errors.cpp ------------------------------------------------------------------
extern volatile bool running;  // inside a block
extern volatile bool failed;
extern volatile bool out_of_time;  // the time limit passed between two blocks
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
void set_error(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void leave_block();  // jumps back to run_block

// Text for a code address, which Python turns into source lines; from a small ring of buffers.
const char* source_of(void* pc);
const char* place_of(const Thread& thread);

// fibers.cpp ------------------------------------------------------------------
bool map_stacks();
void prepare_stacks();                                      // all free, at the start of a block
void start_block(void (*entry)(void**), void** arguments);  // runs the threads; returns only through leave_block
void yield();                                               // the current thread has set its status: run another

// barriers.cpp ----------------------------------------------------------------
void reset_barrier();
int threads_at_barrier();
const char* barrier_place();

// warps.cpp -------------------------------------------------------------------
void reset_warps();
void refuse_exit_while_awaited(const Thread& thread);

// The rendezvous behind every warp operation; `place` or `pc` says where the call is.
void meet(unsigned mask, const char* operation, const char* place, void* pc, void* argument,
          emu::WarpOperation execute);

// copies.cpp ------------------------------------------------------------------
void reset_copies(Thread& thread);

// arena.cpp, shared.cpp: memory -----------------------------------------------
struct Range {
  char *begin, *end;
  bool holds(const void* address) const { return address >= begin && address < end; }
};
extern Range stacks;          // of all fibers
extern Range static_shared;   // where `__shared__` variables are placed
extern Range dynamic_window;  // where dynamic shared memory may lie, guards included
extern Range dynamic_shared;  // where it lies in this launch
extern Range arena;           // global memory, with the gaps between allocations
extern Range image;           // the module being run: its constants, but no shared memory

bool map_arena(size_t bytes);  // false where the address space cannot be had
bool map_shared();
bool global_bytes_exist(const char* address, size_t bytes);
void place_dynamic_shared(size_t bytes, size_t limit);  // and forgets the static variables
void poison_shared();
void check_shared_bounds(const char* address, size_t bytes, emu::Access access, void* pc);
void describe_address(const char* address, char* text, size_t bytes);  // "shared array 'tile' + 0x40"

// shadow.cpp ------------------------------------------------------------------
bool map_shadow();
void check_races(const char* address, size_t bytes, emu::Access access, void* pc);
void mark_in_flight(const char* address, size_t bytes);
void mark_landed(const char* address, size_t bytes, const Thread& thread);
void forget_shadow(const char* address, size_t bytes);
extern const char* const ACCESS_NAMES[3];

// fences.cpp ------------------------------------------------------------------
void reset_fences();
void begin_block_of_fences();
void note_atomic(const void* address);
bool ordered_by_fence(uint32_t earlier_epoch, unsigned earlier_thread);

// hooks.cpp -------------------------------------------------------------------
extern void* checked_pc;  // return address of the latest check
void check_access(const char* address, size_t bytes, emu::Access access, void* pc);
