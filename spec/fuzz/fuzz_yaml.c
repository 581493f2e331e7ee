// Random text as YAML: taken or refused with a line, never deeper, larger or longer than promised.
#include <string.h>

#include "check.h"
#include "yaml.h"

static void check_depth(const struct value *value, int depth)
{
  bool nests = value->type == VALUE_LIST || value->type == VALUE_TABLE;
  CHECK(!nests || depth < VALUE_DEPTH_MAX);
  for (size_t i = 0; value->type == VALUE_LIST && i < value->list.count; i++) {
    check_depth(&value->list.items[i], depth + 1);
  }
  for (size_t i = 0; value->type == VALUE_TABLE && i < value->table.count; i++) {
    CHECK(memchr(value->table.members[i].key.data, '\0', value->table.members[i].key.size) == NULL);
    check_depth(&value->table.members[i].value, depth + 1);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct pool pool = { .limit_bytes = 4 << 20 };
  struct value value;
  struct status status = { 0 };
  int code = yaml_parse(&pool, (struct view){ (const char *)data, size }, "f", &value, &status);
  if (code == 0)
    check_depth(&value, 0);
  else
    CHECK(strncmp(status.text, "f:", 2) == 0 && status.text[2] >= '1' && status.text[2] <= '9');
  pool_fini(&pool);
  return 0;
}
