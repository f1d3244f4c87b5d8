// Barriers, shuffles, votes and warp reductions: what threads of a block or warp do together.
//
// The last lane to arrive executes a warp operation for all lanes, through the pointers the others left: one rendezvous
// instead of one to write and one to read. None of these but __syncwarp orders memory.
#pragma once

#define EMU_STRING_(x) #x
#define EMU_STRING(x) EMU_STRING_(x)
#define EMU_PLACE (__FILE__ ":" EMU_STRING(__LINE__))

#define __syncthreads() emu_syncthreads(EMU_PLACE)
#define __syncthreads_count(...) emu_syncthreads_reduce(EMU_PLACE, emu::Reduction::count, (__VA_ARGS__) != 0)
#define __syncthreads_and(...) emu_syncthreads_reduce(EMU_PLACE, emu::Reduction::all, (__VA_ARGS__) != 0)
#define __syncthreads_or(...) emu_syncthreads_reduce(EMU_PLACE, emu::Reduction::any, (__VA_ARGS__) != 0)
#define __syncwarp(...) emu_syncwarp(emu::mask_or_all(__VA_ARGS__), EMU_PLACE)
#define __threadfence() emu_threadfence()
#define __threadfence_block() ((void)0)
#define __threadfence_system() emu_threadfence()
#define __trap() emu_fail("__trap() at %s", EMU_PLACE)
#define assert(...) ((__VA_ARGS__) ? (void)0 : emu_fail("assertion failed: %s at %s", #__VA_ARGS__, EMU_PLACE))

// mask, value, lane or distance [, width]
#define __shfl_sync(...) emu::shuffle(emu::Shuffle::index, EMU_PLACE, __VA_ARGS__)
#define __shfl_up_sync(...) emu::shuffle(emu::Shuffle::up, EMU_PLACE, __VA_ARGS__)
#define __shfl_down_sync(...) emu::shuffle(emu::Shuffle::down, EMU_PLACE, __VA_ARGS__)
#define __shfl_xor_sync(...) emu::shuffle(emu::Shuffle::exclusive_or, EMU_PLACE, __VA_ARGS__)

// mask, predicate
#define __ballot_sync(...) emu::ballot("__ballot_sync", EMU_PLACE, __VA_ARGS__)
#define __any_sync(...) emu::any("__any_sync", EMU_PLACE, __VA_ARGS__)
#define __all_sync(...) emu::all("__all_sync", EMU_PLACE, __VA_ARGS__)

// mask, value
#define __reduce_add_sync(...) emu::reduce<emu::Add>("__reduce_add_sync", EMU_PLACE, __VA_ARGS__)
#define __reduce_min_sync(...) emu::reduce<emu::Min>("__reduce_min_sync", EMU_PLACE, __VA_ARGS__)
#define __reduce_max_sync(...) emu::reduce<emu::Max>("__reduce_max_sync", EMU_PLACE, __VA_ARGS__)
#define __reduce_and_sync(...) emu::reduce<emu::And>("__reduce_and_sync", EMU_PLACE, __VA_ARGS__)
#define __reduce_or_sync(...) emu::reduce<emu::Or>("__reduce_or_sync", EMU_PLACE, __VA_ARGS__)
#define __reduce_xor_sync(...) emu::reduce<emu::Xor>("__reduce_xor_sync", EMU_PLACE, __VA_ARGS__)

namespace emu {

inline unsigned mask_or_all(unsigned mask = 0xffffffffu) { return mask; }

// ---- shuffles

enum class Shuffle { index, up, down, exclusive_or };

inline const char* shuffle_name(Shuffle kind) {
  switch (kind) {
    case Shuffle::index: return "__shfl_sync";
    case Shuffle::up: return "__shfl_up_sync";
    case Shuffle::down: return "__shfl_down_sync";
    default: return "__shfl_xor_sync";
  }
}

template <class T>
struct ShuffleArgument {
  T value, result;
  Shuffle kind;
  const char* place;
  int operand, width;
};

// The lane that `lane` reads from; a lane outside its segment of `width` lanes reads itself.
inline EMU_UNCHECKED int shuffle_source(Shuffle kind, int lane, int operand, int width) {
  int first = lane & ~(width - 1), end = first + width, source = lane;
  switch (kind) {
    case Shuffle::index: return first | (operand & (width - 1));
    case Shuffle::up: source = lane - operand; break;
    case Shuffle::down: source = lane + operand; break;
    case Shuffle::exclusive_or: return (lane ^ operand) < end ? lane ^ operand : lane;  // lower segments may be read
  }
  return source >= first && source < end ? source : lane;
}

template <class T>
EMU_UNCHECKED void execute_shuffle(void** arguments, unsigned mask) {
  for (int lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    ShuffleArgument<T>& mine = *(ShuffleArgument<T>*)arguments[lane];
    int source = shuffle_source(mine.kind, lane, mine.operand, mine.width);
    if (!(mask >> source & 1))
      emu_fail("%s at %s: lane %d reads lane %d, which does not take part (lanes %08x do)", shuffle_name(mine.kind),
               mine.place, lane, source, mask);
    mine.result = ((ShuffleArgument<T>*)arguments[source])->value;
  }
}

template <class T>
inline T shuffle(Shuffle kind, const char* place, unsigned mask, T value, int operand, int width = 32) {
  ShuffleArgument<T> argument{value, value, kind, place, operand, width};
  emu_warp_operation(mask, shuffle_name(kind), place, &argument, execute_shuffle<T>);
  return argument.result;
}

// ---- votes

struct VoteArgument {
  bool predicate;
  unsigned result;
};

inline EMU_UNCHECKED void execute_vote(void** arguments, unsigned mask) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; lane++)
    if ((mask >> lane & 1) && ((VoteArgument*)arguments[lane])->predicate) votes |= 1u << lane;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) ((VoteArgument*)arguments[lane])->result = votes;
}

inline unsigned ballot(const char* operation, const char* place, unsigned mask, bool predicate) {
  VoteArgument argument{predicate, 0};
  emu_warp_operation(mask, operation, place, &argument, execute_vote);
  return argument.result;
}

inline int any(const char* operation, const char* place, unsigned mask, bool predicate) {
  return ballot(operation, place, mask, predicate) != 0;
}

inline int all(const char* operation, const char* place, unsigned mask, bool predicate) {
  return ballot(operation, place, mask, !predicate) == 0;
}

// ---- reductions over integers (sm_80)

struct Add { template <class T> static T of(T a, T b) { return a + b; } };
struct Min { template <class T> static T of(T a, T b) { return a < b ? a : b; } };
struct Max { template <class T> static T of(T a, T b) { return a > b ? a : b; } };
struct And { template <class T> static T of(T a, T b) { return a & b; } };
struct Or { template <class T> static T of(T a, T b) { return a | b; } };
struct Xor { template <class T> static T of(T a, T b) { return a ^ b; } };

template <class Op, class T>
EMU_UNCHECKED void execute_reduction(void** arguments, unsigned mask) {
  int first = __builtin_ctz(mask);
  T result = *(T*)arguments[first];
  for (int lane = first + 1; lane < 32; lane++)
    if (mask >> lane & 1) result = Op::of(result, *(T*)arguments[lane]);
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) *(T*)arguments[lane] = result;
}

template <class Op, class T>
inline T reduce(const char* operation, const char* place, unsigned mask, T value) {
  static_assert(std::is_integral<T>::value && sizeof(T) == 4, "__reduce_*_sync takes int or unsigned");
  emu_warp_operation(mask, operation, place, &value, execute_reduction<Op, T>);
  return value;
}

}  // namespace emu
