// The text of each script's `keep` table, in memory and in the store, in the same txn as the effects of its turn.

#include "kept.h"

#include "check.h"
#include "json.h"
#include "mem.h"

static void remember(nines *engine, const char *script, struct view json)
{
  char *copy = mem_must_copy_n(json.data, json.size);
  mem_free(map_get(&engine->keeps, view_of(script)));
  CHECK(map_put(&engine->keeps, view_of(script), copy) == 0);
}

void keep_changed(void *app, const char *script, struct view json)
{
  nines *engine = app;
  remember(engine, script, json);
  txn_put(&engine->txn, engine->wall_ns, "keep", script, json);
}

struct value keep_stored(void *app, const char *script, struct pool *pool)
{
  nines *engine = app;
  struct value value;
  struct status status = { 0 };
  const char *json = map_get(&engine->keeps, view_of(script));
  if (!json) return value_nil();
  if (json_parse(pool, view_of(json), &value, &status) == 0) return value;
  engine_log(engine, "error", "what %s kept cannot be read (%s); it starts with its defaults", script, status.text);
  return value_nil();
}

static void load_keep(void *userdata, const char *id, struct view json)
{
  remember(userdata, id, json);
}

void keeps_load(nines *engine)
{
  engine->door.documents(engine->door.self, "keep", load_keep, engine);
}

void keeps_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->keeps, &at));)
    txn_put(&engine->txn, engine->wall_ns, "keep", entry->key, view_of(entry->value));
}

void keeps_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->keeps, &at));) mem_free(entry->value);
  map_fini(&engine->keeps);
}
