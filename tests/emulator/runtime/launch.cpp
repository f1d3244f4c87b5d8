// A launch: checks its shape, catches faults and endless loops, and runs the blocks one after the other.
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <numeric>

#include "schedule.h"

emu::Position emu_position;
Thread threads[MAX_THREADS];
Warp warps[MAX_WARPS];
int thread_count, warp_count, threads_alive;
Options options;
Statistics statistics;
Range image;

extern sigjmp_buf block_exit;

// ---- faults

static constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM};
static constexpr int SIGNAL_COUNT = sizeof SIGNALS / sizeof SIGNALS[0];
static struct sigaction previous_actions[SIGNAL_COUNT];

static void* faulting_pc(void* context) {
  const mcontext_t& machine = ((ucontext_t*)context)->uc_mcontext;
#if defined(__x86_64__)
  return (void*)(machine.gregs[REG_RIP] + 1);  // source_of expects a return address
#else
  return (void*)(machine.pc + 1);
#endif
}

static void on_signal(int number, siginfo_t* info, void* context) {
  if (!running && number == SIGALRM) {
    out_of_time = true;
    return;
  }
  if (!running) {  // not ours: put the old handlers back and let the instruction fault again
    for (int i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &previous_actions[i], nullptr);
    return;
  }
  char* address = (char*)info->si_addr;
  const char* source = source_of(faulting_pc(context));
  if (number == SIGALRM && options.checked)  // most likely stopped inside a check, so the kernel's line is better
    fail("time-out: still running after %d ms; an endless loop, or a wait for another thread? Its latest access: %s",
         options.timeout_ms, source_of(checked_pc));
  if (number == SIGALRM)
    fail("time-out: still running after %d ms; an endless loop, or a wait for another thread? %s", options.timeout_ms,
         source);
  if (number == SIGFPE) fail("integer division by zero %s", source);
  if (arena.holds(address))
    fail("out of bounds: access at global %p, past an allocation or to freed memory %s", (void*)address, source);
  if (stacks.holds(address)) fail("stack overflow %s", source);
  if (dynamic_window.holds(address)) fail("out of bounds: access past dynamic shared memory %s", source);
  fail("out of bounds: access at %p (signal %d) %s", (void*)address, number, source);
}

static void catch_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // the handler leaves by a jump
  for (int i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &action, &previous_actions[i]);
}

static void release_faults() {
  for (int i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &previous_actions[i], nullptr);
}

// Handlers run on a stack of their own, since the fault may be a fiber's stack overflow.
static stack_t use_signal_stack() {
  static char* memory = (char*)malloc(64 << 10);
  stack_t ours{}, previous{};
  ours.ss_sp = memory;
  ours.ss_size = 64 << 10;
  sigaltstack(&ours, &previous);
  return previous;
}

// ---- the time limit: CPU time of this OS thread, so that a busy machine does not count

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

// A timer signals the thread that created it, so each thread that launches has its own.
struct ThreadTimer {
  timer_t id;
  ThreadTimer() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &id);
  }
  ~ThreadTimer() { timer_delete(id); }
};

// Zero stops it.
static void set_timer(int milliseconds) {
  thread_local ThreadTimer timer;
  itimerspec limit{};
  limit.it_value.tv_sec = milliseconds / 1000;
  limit.it_value.tv_nsec = milliseconds % 1000 * 1000000L;
  timer_settime(timer.id, 0, &limit, nullptr);
}

// ---- the module's image

static int find_image(dl_phdr_info* info, size_t, void* address) {
  Range found{(char*)UINTPTR_MAX, nullptr};
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    char* begin = (char*)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    char* end = begin + info->dlpi_phdr[i].p_memsz;
    if (begin < found.begin) found.begin = begin;
    if (end > found.end) found.end = end;
  }
  if (!found.holds(address)) return 0;
  image = found;
  return 1;
}

// ---- blocks

static void lay_out_threads() {
  uint3 index{0, 0, 0};
  for (int i = 0; i < thread_count; i++) {
    Thread& thread = threads[i];
    thread.index = index;
    thread.linear = (unsigned)i;
    thread.lane = (unsigned)i % 32;
    thread.warp = (unsigned)i / 32;
    thread.status = Status::unstarted;
    thread.fenced = false;
    reset_copies(thread);
    if (++index.x < emu_position.block_dim.x) continue;
    index.x = 0;
    if (++index.y < emu_position.block_dim.y) continue;
    index.y = 0;
    index.z++;
  }
}

static void run_block(void (*entry)(void**), void** arguments) {
  block_epoch = ++epoch;
  statistics.blocks++;
  threads_alive = thread_count;
  reset_barrier();
  reset_warps();
  prepare_stacks();
  lay_out_threads();
  for (int i = 0; i < thread_count; i++) warps[i / 32].ready |= 1u << i % 32;
  draw_priorities();
  poison_shared();
  begin_block_of_fences();
  if (sigsetjmp(block_exit, 0) == 0) {
    running = true;
    start_block(entry, arguments);
  }
  running = false;
  emu_position.thread = nullptr;
}

static uint3 unravel(size_t block) {
  const uint3& grid = emu_position.grid_dim;
  return uint3{(unsigned)(block % grid.x), (unsigned)(block / grid.x % grid.y), (unsigned)(block / grid.x / grid.y)};
}

// Ascending, descending, or a random start and a random step that shares no factor with the number of blocks.
static void run_grid(void (*entry)(void**), void** arguments) {
  const uint3& grid = emu_position.grid_dim;
  size_t blocks = (size_t)grid.x * grid.y * grid.z, first = 0, step = 1;
  if (options.order == 1) {
    first = blocks - 1;
    step = blocks - 1;  // minus one, modulo blocks
  } else if (options.order == 2) {
    first = next_random() % blocks;
    step = 1 + next_random() % blocks;
    while (std::gcd(step, blocks) != 1) step++;
  }
  for (size_t i = 0, block = first; i < blocks && !failed; i++, block = (block + step) % blocks) {
    if (out_of_time) {
      set_error("time-out: still running after %d ms, with %zu of %zu blocks done", options.timeout_ms, i, blocks);
      return;
    }
    emu_position.block_index = unravel(block);
    run_block(entry, arguments);
  }
}

static bool shape_is_possible(const unsigned* grid, const unsigned* block) {
  unsigned long long count = (unsigned long long)block[0] * block[1] * block[2];
  if (count > MAX_THREADS)
    set_error("too many threads: a block of %u x %u x %u has %llu; %d are possible", block[0], block[1], block[2],
              count, MAX_THREADS);
  else if (count == 0 || block[2] > 64)
    set_error("impossible block of %u x %u x %u threads: each must be at least 1, the third at most 64", block[0],
              block[1], block[2]);
  else if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535)
    set_error("impossible grid of %u x %u x %u blocks: each must be at least 1, the second and third at most 65535",
              grid[0], grid[1], grid[2]);
  return !failed;
}

// Returns 0, or 1 and leaves the message in emu_error(). `limit` is on static and dynamic shared memory together.
EMU_API int emu_launch(void (*entry)(void**), void** arguments, const unsigned* grid, const unsigned* block,
                       size_t dynamic_bytes, size_t limit, const Options* with) {
  options = *with;
  failed = out_of_time = false;
  checked_pc = nullptr;
  if (!shape_is_possible(grid, block)) return 1;
  if (dynamic_bytes > limit) {
    set_error("too much shared memory: %zu dynamic bytes are more than the %zu allowed for this launch", dynamic_bytes,
              limit);
    return 1;
  }
  emu_position.grid_dim = uint3{grid[0], grid[1], grid[2]};
  emu_position.block_dim = uint3{block[0], block[1], block[2]};
  thread_count = (int)(block[0] * block[1] * block[2]);
  warp_count = (thread_count + 31) / 32;
  statistics.launches++;
  launch_epoch = ++epoch;
  if (!image.holds((char*)entry)) dl_iterate_phdr(find_image, (void*)entry);
  seed_schedule(options.seed);
  place_dynamic_shared(dynamic_bytes, limit);
  reset_fences();

  stack_t previous_stack = use_signal_stack();
  catch_faults();
  set_timer(options.timeout_ms);
  run_grid(entry, arguments);
  set_timer(0);
  release_faults();
  sigaltstack(&previous_stack, nullptr);
  return failed;
}

EMU_API void emu_statistics(Statistics* to) { *to = statistics; }

// Reserves the address space; 0 where that is refused (a limit on virtual memory, say).
EMU_API int emu_start(size_t arena_bytes) {
  return map_stacks() && map_arena(arena_bytes) && map_shared() && map_shadow();
}
