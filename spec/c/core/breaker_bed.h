// A breaker with its stripes for tests: two writers of their own, a third, and the shared one.
#ifndef NINES_SPEC_CORE_BREAKER_BED_H
#define NINES_SPEC_CORE_BREAKER_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "breaker.h"

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)

enum { FIRST = 0, OTHER = WRITER_FIRST, THIRD = WRITER_FIRST + 1 };
static struct breaker breaker;
static struct breaker_stripe stripe[WRITERS_MAX];
static _Atomic(struct breaker_stripe *) stripes[WRITERS_MAX];
static const struct breaker_view view = { &breaker, stripes };
static uint64_t random_state = 88172645463325252;

static inline void begin_with(nines_breaker_config config, int64_t now_ns)
{
  struct status status;
  memset((void *)&breaker, 0, sizeof breaker);
  memset((void *)stripe, 0, sizeof stripe);
  for (int i = 0; i < WRITERS_MAX; i++) atomic_store(&stripes[i], NULL);
  atomic_store(&stripes[FIRST], &stripe[FIRST]);
  atomic_store(&stripes[OTHER], &stripe[OTHER]);
  atomic_store(&stripes[THIRD], &stripe[THIRD]);
  atomic_store(&stripes[WRITER_SHARED], &stripe[WRITER_SHARED]);
  config.size = sizeof config;
  assert_int_equal(breaker_set(&breaker, &config, true, now_ns, &status), 0);
}

static inline void change(nines_breaker_config config)
{
  struct status status;
  config.size = sizeof config;
  assert_int_equal(breaker_set(&breaker, &config, false, 0, &status), 0);
}

static inline nines_breaker_reading read_at(int64_t now_ns)
{
  nines_breaker_reading reading;
  breaker_read(&view, now_ns, &reading);
  return reading;
}

static inline int state_at(int64_t now_ns)
{
  return read_at(now_ns).state;
}

static inline nines_permit ask(uint32_t writer, int64_t now_ns)
{
  return breaker_ask(&view, writer, now_ns, &random_state);
}

static inline void done(uint32_t writer, nines_permit permit, int outcome, int64_t now_ns)
{
  breaker_done(&view, writer, permit, outcome, now_ns, &random_state);
}

static inline void calls(uint32_t writer, int count, int outcome, int64_t now_ns)
{
  for (int i = 0; i < count; i++) {
    nines_permit permit = ask(writer, now_ns);
    if (permit.token) done(writer, permit, outcome, now_ns);
  }
}

static inline void fold(int64_t now_ns)
{
  breaker_fold(&view, now_ns, &random_state);
}

#endif
