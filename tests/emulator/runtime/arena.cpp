// Global memory: a large reserved range in which every allocation ends at an inaccessible page.
//
// An allocation is filled with 0xFF (NaN as a float), and a freed one becomes inaccessible. Space is given out in
// ascending order and reused only when the end is reached, so a use after free faults. Up to 15 bytes between the end
// of an allocation and its guard page, and those before it, hold a pattern that is compared later; the access hooks
// check to the byte.
#include <sys/mman.h>

#include <cstring>
#include <iterator>
#include <map>

#include "runtime.h"

static constexpr size_t PAGE = 4096, GRAIN = 16;
static constexpr unsigned char SLACK = 0xA5, FRESH = 0xFF;

Range arena;
static uint8_t* valid_bytes;  // of each 16: how many, from the front, belong to an allocation
static size_t next_offset = PAGE;

struct Block {
  size_t pages_begin, pages_bytes;  // accessible pages
  size_t bytes;                     // asked for
};
static std::map<size_t, Block> blocks;  // live ones, by pages_begin

static void* reserve(size_t bytes, int protection) {
  void* memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

bool map_arena(size_t bytes) {
  arena.begin = (char*)reserve(bytes, PROT_NONE);
  arena.end = arena.begin + bytes;
  valid_bytes = (uint8_t*)reserve(bytes / GRAIN, PROT_READ | PROT_WRITE);
  return arena.begin && valid_bytes;
}

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
static char* data_of(const Block& b) {
  return arena.begin + b.pages_begin + b.pages_bytes - round_up(b.bytes ? b.bytes : 1, GRAIN);
}

// Start of a free stretch of `bytes` at or after `from`; 0 where there is none.
static size_t free_stretch(size_t from, size_t bytes) {
  auto after = blocks.lower_bound(from);
  if (after != blocks.begin()) {
    const Block& before = std::prev(after)->second;
    size_t end = before.pages_begin + before.pages_bytes + PAGE;
    if (end > from) from = end;
  }
  for (; after != blocks.end(); ++after) {
    if (after->first >= from + bytes) return from;
    from = after->first + after->second.pages_bytes + PAGE;
  }
  return from + bytes <= (size_t)(arena.end - arena.begin) ? from : 0;
}

static void set_valid(const Block& block, bool valid) {
  size_t first = (data_of(block) - arena.begin) / GRAIN, whole = block.bytes / GRAIN, rest = block.bytes % GRAIN;
  memset(valid_bytes + first, valid ? (int)GRAIN : 0, whole);
  if (rest) valid_bytes[first + whole] = valid ? (uint8_t)rest : 0;
}

static void fill_slack(const Block& block) {
  char *first = arena.begin + block.pages_begin, *data = data_of(block);
  memset(first, SLACK, data - first);
  memset(data + block.bytes, SLACK, first + block.pages_bytes - (data + block.bytes));
}

EMU_API void* emu_allocate(size_t bytes) {
  size_t pages = round_up(bytes ? bytes : 1, PAGE);
  size_t begin = free_stretch(next_offset, pages + PAGE);
  if (!begin) begin = free_stretch(PAGE, pages + PAGE);
  if (!begin || mprotect(arena.begin + begin, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
  next_offset = begin + pages + PAGE;
  Block block{begin, pages, bytes};
  blocks[begin] = block;
  fill_slack(block);
  memset(data_of(block), FRESH, bytes);
  set_valid(block, true);
  return data_of(block);
}

// The live allocation whose pages hold `address`.
static const Block* block_at(const void* address) {
  if (!arena.holds(address)) return nullptr;
  size_t offset = (const char*)address - arena.begin;
  auto after = blocks.upper_bound(offset);
  if (after == blocks.begin()) return nullptr;
  const Block& block = std::prev(after)->second;
  return offset < block.pages_begin + block.pages_bytes ? &block : nullptr;
}

static bool all_slack(const char* begin, const char* end) {
  if (begin == end) return true;
  return (unsigned char)*begin == SLACK && memcmp(begin, begin + 1, end - begin - 1) == 0;  // each equals the next
}

static bool slack_intact(const Block& block) {
  const char *first = arena.begin + block.pages_begin, *data = data_of(block);
  return all_slack(first, data) && all_slack(data + block.bytes, first + block.pages_bytes);
}

// Whether the bytes round the allocation that holds `address` are as they were; true where there is none. Repairs them,
// so that a mistake is reported once.
EMU_API int emu_check_slack(const void* address) {
  const Block* block = block_at(address);
  if (!block || slack_intact(*block)) return 1;
  fill_slack(*block);
  return 0;
}

// Frees the allocation; returns 0 where the bytes round it were overwritten.
EMU_API int emu_free(void* address) {
  const Block* found = block_at(address);
  if (!found) return 1;
  Block block = *found;
  bool intact = slack_intact(block);
  set_valid(block, false);
  forget_shadow(data_of(block), block.bytes);
  madvise(arena.begin + block.pages_begin, block.pages_bytes, MADV_DONTNEED);
  mprotect(arena.begin + block.pages_begin, block.pages_bytes, PROT_NONE);
  blocks.erase(block.pages_begin);
  return intact;
}

EMU_API int emu_is_alive(const void* address) {
  const Block* block = block_at(address);
  if (!block) return 0;
  const char* data = data_of(*block);
  return address >= data && address < data + (block->bytes ? block->bytes : 1);
}

bool global_bytes_exist(const char* address, size_t bytes) {
  if (!arena.holds(address) || !arena.holds(address + bytes - 1)) return false;
  size_t begin = address - arena.begin, end = begin + bytes;
  for (size_t grain = begin / GRAIN; grain <= (end - 1) / GRAIN; grain++) {
    size_t needed = end - grain * GRAIN;
    if (valid_bytes[grain] < (needed < GRAIN ? needed : GRAIN)) return false;
  }
  return true;
}
