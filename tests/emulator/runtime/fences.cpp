// Order between blocks: 'write, __threadfence, atomic' in one block before 'atomic on the same word' in a later one.
//
// That is how the last block to finish adds up what the others left. Blocks run one after the other here, so an atomic
// of this block follows those of all earlier ones; what has to be checked is that the code asked for the order: the
// earlier block fenced between its writes and its atomic, and this block's accesses follow its own atomic, in the
// same thread or behind a barrier. That the fence comes after the write is not checked.
#include "runtime.h"

struct AtomicAccess {
  const void* address;
  uint32_t block, epoch;  // first epoch of its block; its own
  unsigned thread;
};

static constexpr int MOST = 1 << 16;
static AtomicAccess releases[MOST];  // by earlier blocks of this launch, and by this one
static AtomicAccess acquires[1024];  // by this block
static int release_count, acquire_count;

void reset_fences() { release_count = acquire_count = 0; }
void begin_block_of_fences() { acquire_count = 0; }

void note_atomic(const void* address) {
  const Thread& me = current();
  AtomicAccess access{address, block_epoch, epoch, me.linear};
  if (me.fenced && release_count < MOST) releases[release_count++] = access;
  if (acquire_count < 1024) acquires[acquire_count++] = access;
}

static bool acquired(const void* address) {
  for (int i = 0; i < acquire_count; i++) {
    const AtomicAccess& mine = acquires[i];
    if (mine.address == address && (mine.thread == current().linear || mine.epoch < epoch)) return true;
  }
  return false;
}

// Whether what thread `earlier_thread` of an earlier block did in `earlier_epoch` happened before the current access.
bool ordered_by_fence(uint32_t earlier_epoch, unsigned earlier_thread) {
  for (int i = release_count - 1; i >= 0; i--) {
    const AtomicAccess& release = releases[i];
    bool same_block = release.block <= earlier_epoch && earlier_epoch <= release.epoch && release.block < block_epoch;
    bool before = earlier_epoch < release.epoch || earlier_thread == release.thread;
    if (same_block && before && acquired(release.address)) return true;
  }
  return false;
}

EMU_API void emu_threadfence() { current().fenced = true; }
