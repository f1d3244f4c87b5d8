// How a launch ends early: a message, and a jump out of the fibers.
//
// A code address appears in a message as "@@file+0xoffset@@"; Python turns it into source lines with addr2line.
#include <dlfcn.h>

#include <csetjmp>
#include <cstdarg>
#include <cstdio>

#include "runtime.h"

volatile bool running, failed, out_of_time;
sigjmp_buf block_exit;  // set in launch.cpp
static char error_text[4096];

EMU_API const char* emu_error() { return error_text; }

static void write_error(const char* format, va_list arguments) {
  char message[2048];
  vsnprintf(message, sizeof message, format, arguments);
  failed = true;
  const Thread* me = static_cast<Thread*>(emu_position.thread);
  if (me) {
    const uint3 &b = emu_position.block_index, &t = me->index;
    snprintf(error_text, sizeof error_text, "%s [block (%u, %u, %u), thread (%u, %u, %u)]", message, b.x, b.y, b.z, t.x,
             t.y, t.z);
  } else {
    snprintf(error_text, sizeof error_text, "%s", message);
  }
}

void set_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_error(format, arguments);
  va_end(arguments);
}

void leave_block() {
  running = false;
  siglongjmp(block_exit, 1);
}

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_error(format, arguments);
  va_end(arguments);
  leave_block();
}

EMU_API void emu_fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_error(format, arguments);
  va_end(arguments);
  leave_block();
}

const char* source_of(void* pc) {
  static char ring[4][512];  // a message names at most a few addresses
  static int next;
  char* text = ring[next++ & 3];
  Dl_info info;
  if (pc && dladdr(pc, &info))  // minus one: a return address belongs to the line after the call
    snprintf(text, sizeof ring[0], "@@%s+0x%lx@@", info.dli_fname, (long)((char*)pc - (char*)info.dli_fbase) - 1);
  else
    snprintf(text, sizeof ring[0], "(at an unknown line)");
  return text;
}

const char* place_of(const Thread& thread) { return thread.place ? thread.place : source_of(thread.pc); }
