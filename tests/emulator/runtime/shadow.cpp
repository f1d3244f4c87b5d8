// The race detector: who last wrote and read each word of shared and global memory, and when.
//
// Two accesses to the same bytes, one of them a write, race unless they are ordered: by being in one thread, by a
// barrier between them (an epoch later in the same block), by a __syncwarp within a warp, or between blocks by a fence
// and an atomic (fences.cpp). Shuffles, votes and mma order nothing. Two atomics never race.
//
// A word keeps one write and one read, so a race may be missed (two writers of different bytes of a word, many readers)
// but none is invented, as far as the order above goes. Shared memory is also known to be uninitialised, or the target of a copy in flight.
#include <sys/mman.h>

#include <cstring>

#include "runtime.h"

uint32_t epoch = 1, block_epoch, launch_epoch;
const char* const ACCESS_NAMES[3] = {"read", "write", "atomic"};

enum Flags : uint8_t {
  SEVERAL_LANES = 1,  // of one warp have read it in read_epoch
  SEVERAL_WARPS = 2,
  ATOMIC_WRITE = 4,
  IN_FLIGHT = 8,  // a cp.async has been issued to it and not been waited for
};

struct Cell {
  uint32_t write_epoch, read_epoch;
  uint32_t other_block_read_epoch;  // of an earlier block's read that read_epoch has replaced
  uint16_t writer, reader;
  uint16_t write_syncs, read_syncs;  // the warp's count of __syncwarp at the time
  uint32_t write_pc, read_pc;        // from the start of the module's image
  uint8_t written, read, initialised;  // bytes of the word, as masks
  uint8_t flags;
};
static_assert(sizeof(Cell) == 32, "an access should touch one cache line of shadow");

static Cell *static_cells, *dynamic_cells, *arena_cells;

static Cell* map_cells(const Range& range) {
  size_t bytes = (range.end - range.begin) / 4 * sizeof(Cell);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : (Cell*)memory;
}

bool map_shadow() {
  static_cells = map_cells(static_shared);
  dynamic_cells = map_cells(dynamic_window);
  arena_cells = map_cells(arena);
  return static_cells && dynamic_cells && arena_cells;
}

static Cell& cell_of(const char* address) {
  if (static_shared.holds(address)) return static_cells[(address - static_shared.begin) / 4];
  if (dynamic_window.holds(address)) return dynamic_cells[(address - dynamic_window.begin) / 4];
  return arena_cells[(address - arena.begin) / 4];
}

// Gives the pages of a large freed allocation's cells back; what small ones leave is older than any later launch.
void forget_shadow(const char* address, size_t bytes) {
  if (bytes < (64 << 10)) return;
  uintptr_t begin = ((uintptr_t)&cell_of(address) + 4095) / 4096 * 4096;
  uintptr_t end = (uintptr_t)&cell_of(address + bytes - 4) / 4096 * 4096;
  if (end > begin) madvise((void*)begin, end - begin, MADV_DONTNEED);
}

// One access to (part of) one word.
struct Touch {
  const char* address;
  uint8_t mask;  // bytes of the word
  emu::Access access;
  void* pc;
  bool shared;
};

enum class Earlier { write, read, none };

[[noreturn]] static void report(const char* what, const Touch& touch, const Cell& cell, Earlier earlier) {
  char address[200];
  describe_address(touch.address, address, sizeof address);
  const char* name = ACCESS_NAMES[(int)touch.access];
  if (earlier == Earlier::none) fail("%s: %s at %s %s", what, name, address, source_of(touch.pc));
  if (earlier == Earlier::write)
    fail("%s: %s at %s %s; write by thread %u %s", what, name, address, source_of(touch.pc), cell.writer,
         source_of(image.begin + cell.write_pc));
  bool several = cell.flags & (SEVERAL_LANES | SEVERAL_WARPS);
  fail("%s: %s at %s %s; read by thread %u%s %s", what, name, address, source_of(touch.pc), cell.reader,
       several ? " and others" : "", source_of(image.begin + cell.read_pc));
}

// Drops what an earlier block did to shared memory, or an earlier launch to global memory.
static void expire(Cell& cell, bool shared) {
  uint32_t oldest = shared ? block_epoch : launch_epoch;
  if (cell.write_epoch < oldest) {
    cell.written = 0;
    cell.flags &= ~(ATOMIC_WRITE | IN_FLIGHT);
    if (shared) cell.initialised = 0;
  }
  if (cell.read_epoch < oldest && cell.other_block_read_epoch < oldest) {
    cell.read = 0;
    cell.flags &= ~(SEVERAL_LANES | SEVERAL_WARPS);
  }
}

static bool after_write(const Cell& cell, const Touch& touch, const Thread& me, uint16_t syncs) {
  if (touch.access == emu::Access::atomic && (cell.flags & ATOMIC_WRITE)) return true;
  if (cell.write_epoch < block_epoch) return ordered_by_fence(cell.write_epoch, cell.writer);
  if (cell.write_epoch < epoch || cell.writer == me.linear) return true;
  return cell.writer / 32u == me.warp && cell.write_syncs != syncs;
}

static bool after_reads(const Cell& cell, const Thread& me, uint16_t syncs) {
  bool in_other_block = cell.read_epoch < block_epoch && cell.read_epoch >= launch_epoch;
  if (in_other_block && !ordered_by_fence(cell.read_epoch, cell.reader)) return false;
  if (cell.other_block_read_epoch >= launch_epoch && !ordered_by_fence(cell.other_block_read_epoch, cell.reader))
    return false;
  if (cell.read_epoch != epoch) return true;
  if ((cell.flags & SEVERAL_WARPS) || cell.reader / 32u != me.warp) return false;
  if (cell.read_syncs != syncs) return true;
  return !(cell.flags & SEVERAL_LANES) && cell.reader == me.linear;
}

static void check_order(const Cell& cell, const Touch& touch, const Thread& me, uint16_t syncs) {
  if ((cell.written & touch.mask) && !after_write(cell, touch, me, syncs))
    report(cell.write_epoch < block_epoch ? "race between blocks" : "race", touch, cell, Earlier::write);
  if (touch.access != emu::Access::read && (cell.read & touch.mask) && !after_reads(cell, me, syncs))
    report(cell.read_epoch < block_epoch ? "race between blocks" : "race", touch, cell, Earlier::read);
}

static void record_write(Cell& cell, const Touch& touch, const Thread& me, uint16_t syncs) {
  cell.write_epoch = epoch;
  cell.writer = (uint16_t)me.linear;
  cell.write_syncs = syncs;
  cell.write_pc = (uint32_t)((char*)touch.pc - image.begin);
  cell.written = touch.mask;
  cell.initialised |= touch.mask;
  cell.flags &= ~(ATOMIC_WRITE | IN_FLIGHT);
  if (touch.access == emu::Access::atomic) cell.flags |= ATOMIC_WRITE;
}

// Of the bytes that several have read, only those that all of them read are kept, and a read of other bytes replaces the
// record: neighbours that work on halves or bytes of one word must not be taken for each other.
static void record_read(Cell& cell, const Touch& touch, const Thread& me, uint16_t syncs) {
  bool overlaps = cell.read & touch.mask, this_epoch = cell.read_epoch == epoch;
  bool in_other_block = !touch.shared && cell.read_epoch >= launch_epoch && cell.read_epoch < block_epoch;
  if (!overlaps) cell.other_block_read_epoch = 0;
  if (overlaps && in_other_block) cell.other_block_read_epoch = cell.read_epoch;
  if (!overlaps || !this_epoch)
    cell.flags &= ~(SEVERAL_LANES | SEVERAL_WARPS);
  else if (cell.reader / 32u != me.warp)
    cell.flags |= SEVERAL_WARPS;
  else if (cell.read_syncs != syncs)
    cell.flags &= ~SEVERAL_LANES;  // the earlier readers are ordered before whoever writes after this one
  else if (cell.reader != me.linear)
    cell.flags |= SEVERAL_LANES;
  bool several = overlaps && (this_epoch || cell.other_block_read_epoch >= launch_epoch);
  cell.read = several ? cell.read & touch.mask : touch.mask;
  cell.read_epoch = epoch;
  cell.reader = (uint16_t)me.linear;
  cell.read_syncs = syncs;
  cell.read_pc = (uint32_t)((char*)touch.pc - image.begin);
}

static void touch_word(Cell& cell, const Touch& touch) {
  const Thread& me = current();
  uint16_t syncs = warps[me.warp].syncs;
  expire(cell, touch.shared);
  if (touch.shared && (cell.flags & IN_FLIGHT))
    report("copy in flight: shared memory touched before cp.async has been waited for", touch, cell, Earlier::write);
  if (touch.shared && touch.access != emu::Access::write && (cell.initialised & touch.mask) != touch.mask)
    report("uninitialised shared memory", touch, cell, Earlier::none);
  if (options.race & (touch.shared ? 1 : 2)) check_order(cell, touch, me, syncs);
  if (touch.access == emu::Access::read)
    record_read(cell, touch, me, syncs);
  else
    record_write(cell, touch, me, syncs);
}

void check_races(const char* address, size_t bytes, emu::Access access, void* pc) {
  bool shared = !arena.holds(address);
  Cell* cell = &cell_of(address);
  while (bytes) {
    size_t first = (uintptr_t)address % 4, count = bytes < 4 - first ? bytes : 4 - first;
    touch_word(*cell++, Touch{address, (uint8_t)(((1u << count) - 1) << first), access, pc, shared});
    address += count;
    bytes -= count;
  }
}

void mark_in_flight(const char* address, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 4) (&cell_of(address))[i / 4].flags |= IN_FLIGHT;
}

// A copy lands as a write of the thread that waited for it.
void mark_landed(const char* address, size_t bytes, const Thread& thread) {
  for (size_t i = 0; i < bytes; i += 4) {
    Cell& cell = (&cell_of(address))[i / 4];
    cell.flags &= ~IN_FLIGHT;
    cell.write_epoch = epoch;
    cell.writer = (uint16_t)thread.linear;
    cell.write_syncs = warps[thread.warp].syncs;
  }
}
