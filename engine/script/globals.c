// Reads what lua_dump writes (ldump.c and lopcodes.h of Lua 5.4), looking for accesses through the _ENV upvalue.
//
// The compiler turns a global into GETTABUP or SETTABUP with a constant key. When the key's constant has an index over
// 255, or is longer than 40 bytes, it emits GETUPVAL r, LOADK r+1, ..., GETTABLE or SETTABLE instead, so a few
// registers are followed. The bytes come from our own lua_dump; they are still checked at every step, since a parser
// that trusts its input is a bug that waits.
#include "globals.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "mem.h"

enum { DEPTH_MAX = 220, REGISTERS = 256, NAME_MAX_BYTES = 256, LINE_IS_ABSOLUTE = -0x80, NO_KEY = -1 };

enum opcode {
  OP_LOADK = 3,
  OP_LOADKX = 4,
  OP_LOADNIL = 8,
  OP_GETUPVAL = 9,
  OP_SETUPVAL = 10,
  OP_GETTABUP = 11,
  OP_GETTABLE = 12,
  OP_SETTABUP = 15,
  OP_SETTABLE = 16,
  OP_SETI = 17,
  OP_SETFIELD = 18,
  OP_SELF = 20,
  OP_JMP = 56,
  OP_CALL = 68,
  OP_FORLOOP = 73,
  OP_TFORCALL = 76,
  OP_VARARG = 80,
  OP_EXTRAARG = 82,
};

enum constant_tag {
  TAG_NIL = 0x00,
  TAG_FALSE = 0x01,
  TAG_TRUE = 0x11,
  TAG_INTEGER = 0x03,
  TAG_FLOAT = 0x13,
  TAG_SHORT = 0x04,
  TAG_LONG = 0x14
};

struct reader {
  struct view rest;
  bool bad;
  globals_each *each;
  void *userdata;
};

struct function {
  struct view code;       // 4 bytes each
  struct view *constants; // data NULL: no string
  size_t constant_count;
  int line;
  bool is_env[REGISTERS]; // upvalues
};

static struct view take(struct reader *in, size_t size)
{
  struct view out = { NULL, 0 };
  if (in->bad || !view_take(&in->rest, size, &out)) {
    in->bad = true;
    return (struct view){ "", 0 };
  }
  return out;
}

static uint8_t take_byte(struct reader *in)
{
  struct view byte = take(in, 1);
  return byte.size == 1 ? (uint8_t)byte.data[0] : 0;
}

// Seven bits a byte, the highest first, the last byte marked.
static size_t take_size(struct reader *in)
{
  size_t value = 0;
  for (int i = 0; i < 10 && !in->bad; i++) {
    uint8_t byte = take_byte(in);
    if (value > (SIZE_MAX >> 7)) break;
    value = value << 7 | (byte & 0x7f);
    if (byte & 0x80) return value;
  }
  in->bad = true;
  return 0;
}

static int take_int(struct reader *in)
{
  size_t value = take_size(in);
  if (value > INT32_MAX) in->bad = true;
  return in->bad ? 0 : (int)value;
}

// A count of things of at least `each_bytes`.
static size_t take_count(struct reader *in, size_t each_bytes)
{
  size_t count = take_size(in);
  if (count > INT32_MAX || count > in->rest.size / each_bytes) in->bad = true;
  return in->bad ? 0 : count;
}

static struct view take_string(struct reader *in)
{
  size_t size = take_size(in);
  return size > 0 ? take(in, size - 1) : (struct view){ NULL, 0 };
}

static void check_header(struct reader *in)
{
  static const char expected[] = LUA_SIGNATURE "\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08";
  const int64_t integer = 0x5678;
  const double number = 370.5;
  struct view start = take(in, sizeof expected - 1);
  struct view integer_bytes = take(in, sizeof integer);
  struct view number_bytes = take(in, sizeof number);
  if (in->bad || memcmp(start.data, expected, start.size) != 0 ||
      memcmp(integer_bytes.data, &integer, sizeof integer) != 0 ||
      memcmp(number_bytes.data, &number, sizeof number) != 0)
    in->bad = true;
}

static void take_constants(struct reader *in, struct function *function)
{
  size_t count = take_count(in, 1);
  if (count == 0) return;
  function->constants = mem_zalloc(count * sizeof *function->constants);
  if (function->constants == NULL) {
    in->bad = true;
    return;
  }
  function->constant_count = count;
  for (size_t i = 0; i < count && !in->bad; i++) {
    switch (take_byte(in)) {
    case TAG_NIL:
    case TAG_FALSE:
    case TAG_TRUE:
      break;
    case TAG_INTEGER:
    case TAG_FLOAT:
      take(in, 8);
      break;
    case TAG_SHORT:
    case TAG_LONG:
      function->constants[i] = take_string(in);
      break;
    default:
      in->bad = true;
    }
  }
}

static void take_upvalues(struct reader *in, struct function *function, const struct function *parent)
{
  size_t count = take_count(in, 3);
  if (count > REGISTERS) in->bad = true;
  for (size_t i = 0; i < count && !in->bad; i++) {
    struct view entry = take(in, 3);
    bool in_stack = entry.size == 3 && entry.data[0] != 0;
    uint8_t index = entry.size == 3 ? (uint8_t)entry.data[1] : 0;
    function->is_env[i] = parent == NULL ? i == 0 : !in_stack && parent->is_env[index];
  }
}

// ---- the code ----

struct lines {
  struct view deltas;     // a signed byte an instruction
  struct reader absolute; // pairs of instruction and line
  size_t absolute_left;
  int line;
};

static int line_of_next(struct lines *lines, size_t pc)
{
  if (pc >= lines->deltas.size) return lines->line;
  int delta = (signed char)lines->deltas.data[pc];
  if (delta != LINE_IS_ABSOLUTE) {
    lines->line += delta;
  } else if (lines->absolute_left > 0) {
    lines->absolute_left--;
    take_int(&lines->absolute);
    lines->line = take_int(&lines->absolute);
  }
  return lines->line;
}

struct scan {
  struct reader *in;
  const struct function *function;
  int line;
  bool holds_env[REGISTERS + 1];
  int key[REGISTERS + 1]; // index of the constant in this register, or NO_KEY
};

static void report(struct scan *scan, size_t constant, bool is_write)
{
  if (constant >= scan->function->constant_count) {
    scan->in->bad = true;
    return;
  }
  struct view key = scan->function->constants[constant];
  if (key.data == NULL) return;
  char name[NAME_MAX_BYTES];
  snprintf(name, sizeof name, "%.*s", (int)(key.size < sizeof name ? key.size : sizeof name - 1), key.data);
  scan->in->each(scan->in->userdata, &(struct globals_use){ name, scan->line, is_write });
}

static void forget(struct scan *scan, unsigned from, unsigned to)
{
  for (unsigned i = from; i <= to && i < REGISTERS; i++) {
    scan->holds_env[i] = false;
    scan->key[i] = NO_KEY;
  }
}

// Are these the compiler's temporaries for a global? They are used once.
static void use_registers(struct scan *scan, unsigned table, unsigned key, bool is_write)
{
  if (!scan->holds_env[table] || key != table + 1 || scan->key[key] == NO_KEY) return;
  report(scan, (size_t)scan->key[key], is_write);
  forget(scan, table, key);
}

// Registers that an instruction overwrites. To forget too much is harmless: the temporaries of one global lie below
// everything that is computed before they are used.
static void overwrite(struct scan *scan, unsigned op, unsigned a, unsigned b)
{
  switch (op) {
  case OP_SETUPVAL:
  case OP_SETTABUP:
  case OP_SETTABLE:
  case OP_SETI:
  case OP_SETFIELD:
  case OP_JMP: // no register in their first operand
  case OP_EXTRAARG:
    return;
  case OP_LOADNIL:
    forget(scan, a, a + b);
    return;
  case OP_SELF:
    forget(scan, a, a + 1);
    return;
  case OP_CALL:
  case OP_FORLOOP:
  case OP_TFORCALL:
  case OP_VARARG:
    forget(scan, a, REGISTERS - 1);
    return;
  default:
    forget(scan, a, a);
  }
}

static uint32_t instruction_at(const struct function *function, size_t pc)
{
  uint32_t instruction = 0;
  if (pc < function->code.size / 4) memcpy(&instruction, function->code.data + 4 * pc, 4);
  return instruction;
}

static void scan_instruction(struct scan *scan, size_t pc)
{
  uint32_t instruction = instruction_at(scan->function, pc);
  unsigned op = instruction & 0x7f, a = instruction >> 7 & 0xff, b = instruction >> 16 & 0xff, c = instruction >> 24;
  if (op == OP_GETTABUP && scan->function->is_env[b]) report(scan, c, false);
  if (op == OP_SETTABUP && scan->function->is_env[a]) report(scan, b, true);
  if (op == OP_GETTABLE) use_registers(scan, b, c, false);
  if (op == OP_SETTABLE) use_registers(scan, a, b, true);
  overwrite(scan, op, a, b);
  if (op == OP_GETUPVAL) scan->holds_env[a] = scan->function->is_env[b];
  if (op == OP_LOADK) scan->key[a] = (int)(instruction >> 15);
  if (op == OP_LOADKX) scan->key[a] = (int)(instruction_at(scan->function, pc + 1) >> 7);
}

static void scan_code(struct reader *in, const struct function *function, struct lines *lines)
{
  struct scan scan = { .in = in, .function = function };
  forget(&scan, 0, REGISTERS - 1);
  scan.key[REGISTERS] = NO_KEY;
  size_t count = function->code.size / 4;
  for (size_t pc = 0; pc < count && !in->bad; pc++) {
    scan.line = line_of_next(lines, pc);
    scan_instruction(&scan, pc);
  }
}

// ---- functions ----

static void take_lines(struct reader *in, const struct function *function, struct lines *lines)
{
  lines->line = function->line;
  lines->deltas = take(in, take_count(in, 1));
  lines->absolute_left = take_count(in, 2);
  lines->absolute = *in;
  for (size_t i = 0; i < lines->absolute_left && !in->bad; i++) {
    take_int(in);
    take_int(in);
  }
}

static void skip_names(struct reader *in)
{
  size_t locals = take_count(in, 3);
  for (size_t i = 0; i < locals && !in->bad; i++) {
    take_string(in);
    take_int(in);
    take_int(in);
  }
  size_t upvalues = take_count(in, 1);
  for (size_t i = 0; i < upvalues && !in->bad; i++) take_string(in);
}

static void take_function(struct reader *in, const struct function *parent, int depth)
{
  if (depth > DEPTH_MAX) in->bad = true;
  if (in->bad) return;
  struct function function = { 0 };
  take_string(in); // source
  function.line = take_int(in);
  take_int(in); // last line
  take(in, 3);  // parameters, vararg, stack
  function.code = take(in, 4 * take_count(in, 4));
  take_constants(in, &function);
  take_upvalues(in, &function, parent);
  size_t inner = take_count(in, 1);
  for (size_t i = 0; i < inner && !in->bad; i++) take_function(in, &function, depth + 1);
  struct lines lines;
  take_lines(in, &function, &lines);
  skip_names(in);
  if (!in->bad) scan_code(in, &function, &lines);
  mem_free(function.constants);
}

int globals_check(const void *dumped, size_t size, globals_each *each, void *userdata, struct status *status)
{
  struct reader in = { .rest = { dumped, size }, .each = each, .userdata = userdata };
  check_header(&in);
  take_byte(&in); // upvalues of the main function
  take_function(&in, NULL, 0);
  if (in.rest.size != 0) in.bad = true;
  if (in.bad) return status_set(status, NINES_ECORRUPT, "not a chunk of Lua 5.4 as this build dumps them");
  return 0;
}

static int write_chunk(lua_State *L, const void *data, size_t size, void *userdata)
{
  (void)L;
  struct buf *buf = userdata;
  buf_add(buf, data, size);
  return buf->failed;
}

int globals_check_function(lua_State *L, globals_each *each, void *userdata, struct status *status)
{
  struct buf dumped = { 0 };
  int code;
  if (lua_dump(L, write_chunk, &dumped, 0) != 0) {
    code = status_set(status, NINES_ENOMEM, "out of memory while checking the globals of a file");
  } else {
    code = globals_check(dumped.data, dumped.size, each, userdata, status);
  }
  buf_free(&dumped);
  return code;
}
