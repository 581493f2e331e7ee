// Fingerprints as Alertmanager computes them; an SLO's memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "alertmanager_api.h"
#include "slo.h"

// d240efc3896bf266: read from Alertmanager 0.25 for {alertname="x"}.
static void test_fingerprint(void **state)
{
  (void)state;
  struct pool pool = { 0 };
  struct value labels = value_table(), turned = value_table();
  value_put(&pool, &labels, "alertname", value_text("x"));
  assert_true(labels_fingerprint(&labels) == 0xd240efc3896bf266);
  value_put(&pool, &labels, "severity", value_text("P0"));
  value_put(&pool, &turned, "severity", value_text("P0"));
  value_put(&pool, &turned, "alertname", value_text("x"));
  assert_true(labels_fingerprint(&labels) == labels_fingerprint(&turned));
  pool_fini(&pool);
}

static void test_memory_of_an_slo(void **state)
{
  (void)state;
  size_t bytes = sizeof(struct slo_state) + burn_size() + budget_size();
  printf("an SLO: %zu bytes of arena, %zu beside it\n", bytes, sizeof(struct slo));
  assert_true(bytes + sizeof(struct slo) <= 20000);
}

int main(void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_memory_of_an_slo) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
