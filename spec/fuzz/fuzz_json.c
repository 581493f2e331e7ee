// json_parse on any text: errors have a sentence, and what was read is written and read back as the same value (but
// that a whole real number, as 9e3, comes back as an integer).
#include "check.h"
#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct value *a, const struct value *b)
{
  double x, y;
  if (value_as_number(a, &x) && value_as_number(b, &y)) return a->type == b->type ? value_equal(a, b) : x == y;
  if (a->type != b->type) return false;
  if (a->type == VALUE_LIST) {
    for (size_t i = 0; i < a->list.count && i < b->list.count; i++)
      if (!same(&a->list.items[i], &b->list.items[i])) return false;
    return a->list.count == b->list.count;
  }
  if (a->type == VALUE_TABLE) {
    for (size_t i = 0; i < a->table.count && i < b->table.count; i++)
      if (!view_equal(a->table.members[i].key, b->table.members[i].key) ||
          !same(&a->table.members[i].value, &b->table.members[i].value))
        return false;
    return a->table.count == b->table.count;
  }
  return value_equal(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct pool pool = { .limit_bytes = 4 << 20 };
  struct value value, back;
  struct status status = { 0 };
  if (json_parse(&pool, (struct view){ (const char *)data, size }, &value, &status) != 0) {
    CHECK(status.code < 0 && status.text[0] != '\0');
  } else {
    struct buf text = { 0 };
    value_to_json(&value, &text);
    CHECK(!text.failed);
    CHECK(json_parse(&pool, buf_view(&text), &back, &status) == 0 || status.code == NINES_ELIMIT);
    CHECK(status.code != 0 || same(&value, &back));
    buf_free(&text);
  }
  pool_fini(&pool);
  return 0;
}
