// What a module exports of each kernel: its signature, so that the caller can check arguments, and a trampoline that
// calls it with pointers to its arguments, as cuLaunchKernel does.
#pragma once

namespace emu {

template <class T>
constexpr char kind_of() {
  if (std::is_pointer<T>::value) return 'p';
  if (std::is_same<T, bool>::value) return 'b';
  if (std::is_floating_point<T>::value) return 'f';
  if (std::is_integral<T>::value) return std::is_signed<T>::value ? 'i' : 'u';
  return 's';
}

// "... [with T = const float*]" is how g++ spells the type, typedefs and macros resolved.
template <class T>
const char* pretty_name() {
  return __PRETTY_FUNCTION__;
}

// One parameter a line: kind, size and pretty name.
template <class... Parameters>
const char* signature(void (*)(Parameters...)) {
  static char text[4096];
  char* end = text;
  ((end += snprintf(end, text + sizeof text - end, "%c %zu %s\n", kind_of<Parameters>(), sizeof(Parameters),
                    pretty_name<Parameters>())),
   ...);
  *end = 0;
  return text;
}

template <class... Parameters, size_t... I>
inline void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
  kernel(*(Parameters*)arguments[I]...);
}

template <class... Parameters>
inline void call(void (*kernel)(Parameters...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<Parameters...>{});
}

}  // namespace emu

#define EMU_ENTRY(name, most_threads)                                                                     \
  extern "C" const char* emu_signature_##name() { return emu::signature(name); }                          \
  extern "C" int emu_most_threads_##name() { return (int)(most_threads); }                                \
  extern "C" __attribute__((no_sanitize("all"))) void emu_call_##name(void** arguments) { emu::call(name, arguments); }
