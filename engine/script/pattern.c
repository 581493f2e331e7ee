// Lua patterns with a meter.
//
// The stock matcher backtracks inside one C call: ('.-'):rep(6) over 3000 letters is 3000^6 steps, and no hook fires.
// Refusing patterns by their worst case would refuse "(%w+)=(%w+)" on a page of text, which in truth is linear. So
// the matcher is written again (the manual's section 6.4.1 is the specification, the stock one the oracle of the
// tests), and every step is charged to the turn: ordinary patterns just work, and a bomb ends as any other loop does.
#include "pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "sandbox.h"

enum { CAPTURES_MAX = 32, DEPTH_MAX = 200, BATCH = 1000, STEPS_PER_CHARGE = 2, CAPTURE_OPEN = -1, CAPTURE_PLACE = -2 };

struct match {
  lua_State *L;
  const char *text, *text_end;
  const char *pattern_end;
  uint32_t steps; // not yet charged
  int depth;
  int captures;
  struct {
    const char *start;
    ptrdiff_t length; // or CAPTURE_OPEN, CAPTURE_PLACE
  } capture[CAPTURES_MAX];
};

static const char *match_here(struct match *m, const char *s, const char *p);

static void charge_steps(struct match *m)
{
  uint32_t steps = m->steps;
  m->steps = 0;
  sandbox_charge(m->L, steps / STEPS_PER_CHARGE + 1);
}

static void step(struct match *m)
{
  if (++m->steps >= BATCH) charge_steps(m);
}

// ---- single characters and classes ----

static const char *class_end(struct match *m, const char *p)
{
  if (*p++ == '%') {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (p[-1] != '[') return p;
  if (p < m->pattern_end && *p == '^') p++;
  do { // the first ']' is a letter
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == '%') {
      if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
      p++;
    }
  } while (p == m->pattern_end || *p != ']');
  return p + 1;
}

static bool in_class(int c, int class)
{
  bool is;
  switch (tolower(class)) {
  case 'a':
    is = isalpha(c) != 0;
    break;
  case 'c':
    is = iscntrl(c) != 0;
    break;
  case 'd':
    is = isdigit(c) != 0;
    break;
  case 'g':
    is = isgraph(c) != 0;
    break;
  case 'l':
    is = islower(c) != 0;
    break;
  case 'p':
    is = ispunct(c) != 0;
    break;
  case 's':
    is = isspace(c) != 0;
    break;
  case 'u':
    is = isupper(c) != 0;
    break;
  case 'w':
    is = isalnum(c) != 0;
    break;
  case 'x':
    is = isxdigit(c) != 0;
    break;
  default:
    return class == c;
  }
  return isupper(class) ? !is : is;
}

// `p` at '[', `last` at its ']'.
static bool in_set(struct match *m, int c, const char *p, const char *last)
{
  bool found = true;
  if (p[1] == '^') {
    found = false;
    p++;
  }
  while (++p < last) {
    step(m);
    if (*p == '%') {
      p++;
      if (in_class(c, (unsigned char)*p)) return found;
    } else if (p[1] == '-' && p + 2 < last) {
      p += 2;
      if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p) return found;
    } else if ((unsigned char)*p == c) {
      return found;
    }
  }
  return !found;
}

static bool single(struct match *m, const char *s, const char *p, const char *end)
{
  step(m);
  if (s >= m->text_end) return false;
  int c = (unsigned char)*s;
  switch (*p) {
  case '.':
    return true;
  case '%':
    return in_class(c, (unsigned char)p[1]);
  case '[':
    return in_set(m, c, p, end - 1);
  default:
    return (unsigned char)*p == c;
  }
}

// ---- items ----

static const char *balance(struct match *m, const char *s, const char *p)
{
  if (p >= m->pattern_end - 1) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->text_end || *s != *p) return NULL;
  size_t open = 1;
  while (++s < m->text_end) {
    step(m);
    if (*s == p[1]) {
      if (--open == 0) return s + 1;
    } else if (*s == *p) {
      open++;
    }
  }
  return NULL;
}

static const char *expand_most(struct match *m, const char *s, const char *p, const char *end)
{
  ptrdiff_t count = 0;
  while (single(m, s + count, p, end)) count++;
  for (; count >= 0; count--) {
    const char *rest = match_here(m, s + count, end + 1);
    if (rest != NULL) return rest;
  }
  return NULL;
}

static const char *expand_least(struct match *m, const char *s, const char *p, const char *end)
{
  for (;;) {
    const char *rest = match_here(m, s, end + 1);
    if (rest != NULL) return rest;
    if (!single(m, s, p, end)) return NULL;
    s++;
  }
}

static const char *capture_start(struct match *m, const char *s, const char *p, int what)
{
  if (m->captures >= CAPTURES_MAX) luaL_error(m->L, "too many captures");
  m->capture[m->captures].start = s;
  m->capture[m->captures].length = what;
  m->captures++;
  const char *rest = match_here(m, s, p);
  if (rest == NULL) m->captures--;
  return rest;
}

static const char *capture_close(struct match *m, const char *s, const char *p)
{
  int i = m->captures - 1;
  while (i >= 0 && m->capture[i].length != CAPTURE_OPEN) i--;
  if (i < 0) luaL_error(m->L, "invalid pattern capture");
  m->capture[i].length = s - m->capture[i].start;
  const char *rest = match_here(m, s, p);
  if (rest == NULL) m->capture[i].length = CAPTURE_OPEN;
  return rest;
}

static const char *back_reference(struct match *m, const char *s, int digit)
{
  int i = digit - '1';
  if (i < 0 || i >= m->captures || m->capture[i].length == CAPTURE_OPEN)
    luaL_error(m->L, "invalid capture index %%%d", i + 1);
  size_t length = (size_t)m->capture[i].length; // of a place: larger than any text
  if ((size_t)(m->text_end - s) < length) return NULL;
  m->steps += (uint32_t)(length / 32);
  step(m);
  return memcmp(m->capture[i].start, s, length) == 0 ? s + length : NULL;
}

static bool at_frontier(struct match *m, const char *s, const char *p, const char *end)
{
  int before = s == m->text ? '\0' : (unsigned char)s[-1];
  int after = s == m->text_end ? '\0' : (unsigned char)*s;
  return !in_set(m, before, p, end - 1) && in_set(m, after, p, end - 1);
}

// Is this something else than a single character or set?
static bool is_special(const struct match *m, const char *p)
{
  if (*p == '(' || *p == ')') return true;
  if (*p == '$') return p + 1 == m->pattern_end;
  if (*p != '%' || p + 1 >= m->pattern_end) return false;
  return p[1] == 'b' || p[1] == 'f' || isdigit((unsigned char)p[1]);
}

// Steps over %b, %f or a back reference. NULL: no match.
static const char *match_percent(struct match *m, const char *s, const char **p)
{
  const char *from = *p + 2;
  if ((*p)[1] == 'b') {
    const char *rest = balance(m, s, from);
    *p += 4;
    return rest;
  }
  if ((*p)[1] == 'f') {
    if (from >= m->pattern_end || *from != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
    *p = class_end(m, from);
    return at_frontier(m, s, from, *p) ? s : NULL;
  }
  *p = from;
  return back_reference(m, s, (unsigned char)from[-1]);
}

// Whatever ends in recursion returns; the rest goes round.
static const char *match_items(struct match *m, const char *s, const char *p)
{
  while (s != NULL && p < m->pattern_end) {
    step(m);
    if (is_special(m, p)) {
      if (*p == '(') {
        bool place = p + 1 < m->pattern_end && p[1] == ')';
        return capture_start(m, s, p + (place ? 2 : 1), place ? CAPTURE_PLACE : CAPTURE_OPEN);
      }
      if (*p == ')') return capture_close(m, s, p + 1);
      if (*p == '$') return s == m->text_end ? s : NULL;
      s = match_percent(m, s, &p);
      continue;
    }
    const char *end = class_end(m, p);
    char suffix = '\0';
    if (end < m->pattern_end) suffix = *end;
    if (suffix == '*') return expand_most(m, s, p, end);
    if (suffix == '-') return expand_least(m, s, p, end);
    bool is = single(m, s, p, end);
    if (suffix == '+') return is ? expand_most(m, s + 1, p, end) : NULL;
    if (suffix == '?') {
      const char *rest = is ? match_here(m, s + 1, end + 1) : NULL;
      if (rest != NULL) return rest;
      p = end + 1;
    } else {
      s = is ? s + 1 : NULL;
      p = end;
    }
  }
  return s;
}

static const char *match_here(struct match *m, const char *s, const char *p)
{
  if (++m->depth > DEPTH_MAX) luaL_error(m->L, "pattern too complex");
  const char *end = match_items(m, s, p);
  m->depth--;
  return end;
}

static const char *match_at(struct match *m, const char *s, const char *p)
{
  m->depth = 0;
  m->captures = 0;
  return match_here(m, s, p);
}

// ---- results ----

static void push_capture(struct match *m, int i, const char *start, const char *end)
{
  if (i >= m->captures) {
    if (i != 0) luaL_error(m->L, "invalid capture index %%%d", i + 1);
    lua_pushlstring(m->L, start, (size_t)(end - start));
    return;
  }
  ptrdiff_t length = m->capture[i].length;
  if (length == CAPTURE_OPEN) luaL_error(m->L, "unfinished capture");
  if (length == CAPTURE_PLACE) {
    lua_pushinteger(m->L, m->capture[i].start - m->text + 1);
  } else {
    lua_pushlstring(m->L, m->capture[i].start, (size_t)length);
  }
}

// All captures, or the whole match when there are none and `start` is given.
static int push_captures(struct match *m, const char *start, const char *end)
{
  int count = m->captures == 0 && start != NULL ? 1 : m->captures;
  luaL_checkstack(m->L, count, "too many captures");
  for (int i = 0; i < count; i++) push_capture(m, i, start, end);
  return count;
}

static void match_init(struct match *m, lua_State *L, const char *text, size_t text_size, const char *pattern,
                       size_t pattern_size)
{
  m->L = L;
  m->text = text;
  m->text_end = text + text_size;
  m->pattern_end = pattern + pattern_size;
  m->steps = 0;
}

// Offset of the optional argument `init`; past the end when it is.
static size_t start_offset(lua_State *L, int argument, size_t size)
{
  lua_Integer init = luaL_optinteger(L, argument, 1);
  if (init > 0) return (lua_Unsigned)init - 1 > size ? size + 1 : (size_t)init - 1;
  if (init == 0 || init < -(lua_Integer)size) return 0;
  return size - (size_t)-init;
}

static bool is_plain(const char *pattern, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    if (pattern[i] != '\0' && strchr("^$*+?.([%-", pattern[i]) != NULL) return false;
  }
  return true;
}

static int find_plain(lua_State *L, const char *text, size_t text_size, const char *pattern, size_t pattern_size,
                      size_t from)
{
  sandbox_charge(L, (text_size - from + pattern_size) / 16 + 1);
  const char *found = memmem(text + from, text_size - from, pattern, pattern_size);
  if (found == NULL) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, found - text + 1);
  lua_pushinteger(L, found - text + (lua_Integer)pattern_size);
  return 2;
}

static int find_or_match(lua_State *L, bool find)
{
  size_t text_size, pattern_size;
  const char *text = luaL_checklstring(L, 1, &text_size);
  const char *pattern = luaL_checklstring(L, 2, &pattern_size);
  size_t from = start_offset(L, 3, text_size);
  if (from > text_size) {
    lua_pushnil(L);
    return 1;
  }
  if (find && (lua_toboolean(L, 4) || is_plain(pattern, pattern_size)))
    return find_plain(L, text, text_size, pattern, pattern_size, from);
  bool anchored = pattern_size > 0 && *pattern == '^';
  struct match m;
  match_init(&m, L, text, text_size, pattern, pattern_size);
  const char *s = text + from;
  do {
    step(&m);
    const char *end = match_at(&m, s, pattern + anchored);
    if (end == NULL) continue;
    charge_steps(&m);
    if (!find) return push_captures(&m, s, end);
    lua_pushinteger(L, s - text + 1);
    lua_pushinteger(L, end - text);
    return push_captures(&m, NULL, NULL) + 2;
  } while (s++ < m.text_end && !anchored);
  charge_steps(&m);
  lua_pushnil(L);
  return 1;
}

int pattern_find(lua_State *L)
{
  return find_or_match(L, true);
}

int pattern_match(lua_State *L)
{
  return find_or_match(L, false);
}

// ---- gmatch: a closure over text, pattern, offset of the next try, end of the last match (or -1) ----

static int next_match(lua_State *L)
{
  size_t text_size, pattern_size;
  const char *text = lua_tolstring(L, lua_upvalueindex(1), &text_size);
  const char *pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_size);
  size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
  struct match m;
  match_init(&m, L, text, text_size, pattern, pattern_size);
  for (; from <= text_size; from++) {
    step(&m);
    const char *end = match_at(&m, text + from, pattern);
    if (end == NULL || end - text == last) continue;
    charge_steps(&m);
    lua_pushinteger(L, end - text);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return push_captures(&m, text + from, end);
  }
  charge_steps(&m);
  return 0;
}

int pattern_gmatch(lua_State *L)
{
  size_t text_size;
  luaL_checklstring(L, 1, &text_size);
  luaL_checkstring(L, 2);
  size_t from = start_offset(L, 3, text_size);
  lua_settop(L, 2);
  lua_pushinteger(L, (lua_Integer)from);
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

// ---- gsub ----

static void add_template(struct match *m, luaL_Buffer *out, const char *start, const char *end)
{
  size_t size;
  const char *template = lua_tolstring(m->L, 3, &size);
  const char *stop = template + size;
  for (const char *p = template; p < stop; p++) {
    step(m);
    const char *percent = memchr(p, '%', (size_t)(stop - p));
    if (percent == NULL) percent = stop;
    luaL_addlstring(out, p, (size_t)(percent - p));
    if (percent == stop) return;
    p = percent + 1;
    if (p < stop && *p == '%') {
      luaL_addchar(out, '%');
    } else if (p < stop && *p == '0') {
      luaL_addlstring(out, start, (size_t)(end - start));
    } else if (p < stop && isdigit((unsigned char)*p)) {
      push_capture(m, *p - '1', start, end);
      luaL_tolstring(m->L, -1, NULL);
      lua_remove(m->L, -2);
      luaL_addvalue(out);
    } else {
      luaL_error(m->L, "invalid use of '%%' in replacement string");
    }
  }
}

// Adds what replaces [start, end). False: it stays as it was.
static bool add_replacement(struct match *m, luaL_Buffer *out, const char *start, const char *end, int type)
{
  lua_State *L = m->L;
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(m, start, end), 1);
  } else if (type == LUA_TTABLE) {
    push_capture(m, 0, start, end);
    lua_gettable(L, 3);
  } else {
    add_template(m, out, start, end);
    return true;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(out, start, (size_t)(end - start));
    return false;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(out);
  return true;
}

int pattern_gsub(lua_State *L)
{
  size_t text_size, pattern_size;
  const char *text = luaL_checklstring(L, 1, &text_size);
  const char *pattern = luaL_checklstring(L, 2, &pattern_size);
  int type = lua_type(L, 3);
  luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  lua_Integer limit = luaL_optinteger(L, 4, (lua_Integer)text_size + 1);
  lua_settop(L, 4);
  if (text_size >= LUAL_BUFFERSIZE) sandbox_room(L, 3 * text_size);
  bool anchored = pattern_size > 0 && *pattern == '^';
  struct match m;
  match_init(&m, L, text, text_size, pattern, pattern_size);
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  const char *s = text, *last = NULL;
  lua_Integer count = 0;
  bool changed = false;
  while (count < limit) {
    step(&m);
    const char *end = match_at(&m, s, pattern + anchored);
    if (end != NULL && end != last) {
      count++;
      changed |= add_replacement(&m, &out, s, end, type);
      s = last = end;
    } else if (s < m.text_end) {
      luaL_addchar(&out, *s++);
    } else {
      break;
    }
    if (anchored) break;
  }
  charge_steps(&m);
  if (changed) {
    luaL_addlstring(&out, s, (size_t)(m.text_end - s));
    luaL_pushresult(&out);
  } else {
    lua_pushvalue(L, 1);
  }
  lua_pushinteger(L, count);
  return 2;
}
