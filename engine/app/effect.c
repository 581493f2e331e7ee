// The ledger of one-time effects.
//
// A key holds everything that makes two requests the same, within one episode of one object; the map of keys answers
// the second request with the first outcome, in this life or after a crash. Without an episode (timers, calls by
// people) every request is a new effect.

#include "effect.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "json.h"
#include "mem.h"
#include "path.h"

static const char *const state_names[] = { "started", "done", "failed", "unknown" };

struct effect_wait {
  struct list node;
  uint64_t token;
};

static void effect_save(nines *engine, const struct effect *effect)
{
  struct pool pool = { 0 };
  struct value document = value_table();
  value_put_text(&pool, &document, "key", effect->key);
  value_put_text(&pool, &document, "state", state_names[effect->state]);
  value_put_text(&pool, &document, "kind", effect->kind);
  value_put_text(&pool, &document, "target", effect->target);
  value_put_text(&pool, &document, "asker", effect->asker);
  value_put_text(&pool, &document, "why", effect->why);
  if (effect->outcome) value_put_text(&pool, &document, "outcome", effect->outcome);
  value_put(&pool, &document, "wall_ns", value_integer(effect->wall_ns));
  engine_put(engine, "effect", effect->id, &document);
  pool_fini(&pool);
}

static void effect_free(struct effect *effect)
{
  list_each (node, &effect->waits) {
    list_remove(node);
    mem_free(list_entry(node, struct effect_wait, node));
  }
  mem_free(effect->key);
  mem_free(effect->kind);
  mem_free(effect->target);
  mem_free(effect->asker);
  mem_free(effect->why);
  mem_free(effect->outcome);
  mem_free(effect);
}

// The oldest ended ones make room.
static void forget_ended(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; engine->effects.count >= EFFECTS_MAX && (entry = map_next(&engine->effects, &at));) {
    struct effect *effect = entry->value;
    if (effect->state == EFFECT_STARTED) continue;
    engine_delete(engine, "effect", effect->id);
    map_remove(&engine->effects, view_of(effect->key));
    effect_free(effect);
  }
}

char *effect_key(nines *engine, const struct caller *caller, const char *kind, const char *target,
                 const char *arguments, struct pool *pool)
{
  const struct path *path = strncmp(caller->topic, "critical_path.", 14) == 0 ? path_find(engine, caller->name) : NULL;
  if (!path) return NULL;
  struct buf key = { 0 };
  buf_printf(&key, "critical_path/%s/%u/%s/%s/%s", path->name, path->state->episode, kind, target, arguments);
  char *text = pool_copy(pool, buf_view(&key));
  buf_free(&key);
  return text;
}

struct effect *effect_get(nines *engine, const char *key, const char *kind, const char *target, const char *asker,
                          const char *why, bool *fresh)
{
  struct effect *effect = key ? map_get(&engine->effects, view_of(key)) : NULL;
  *fresh = !effect;
  if (effect) return effect;
  forget_ended(engine);
  effect = mem_must(sizeof *effect);
  list_init(&effect->waits);
  engine_new_id(engine, "e", effect->id);
  effect->key = mem_must_copy(key ? key : effect->id);
  effect->kind = mem_must_copy(kind);
  effect->target = mem_must_copy(target);
  effect->asker = mem_must_copy(asker);
  effect->why = mem_must_copy(why ? why : "");
  effect->wall_ns = engine->wall_ns;
  CHECK(map_put(&engine->effects, view_of(effect->key), effect) == 0);
  effect_save(engine, effect);
  struct pool pool = { 0 };
  struct value details = value_table();
  value_put_text(&pool, &details, "why", effect->why);
  value_put_text(&pool, &details, "key", effect->key);
  engine_audit(engine, asker, kind, target, &details);
  pool_fini(&pool);
  return effect;
}

static void wake(nines *engine, const struct effect *effect, uint64_t token)
{
  struct value results[3];
  struct pool pool = { 0 };
  struct status status = { 0 };
  const char *outcome = effect->outcome ? effect->outcome : "";
  if (effect->state == EFFECT_DONE && json_parse(&pool, view_of(outcome), &results[0], &status) == 0 &&
      results[0].type == VALUE_TABLE) { // of a command or a request: as its first asker got it
    scripts_wake(engine->scripts, token, results, 1);
    pool_fini(&pool);
    return;
  }
  pool_fini(&pool);
  if (effect->state == EFFECT_DONE) {
    results[0] = value_bool(true);
    results[1] = value_text(effect->outcome ? effect->outcome : "");
    scripts_wake(engine->scripts, token, results, 2);
    return;
  }
  results[0] = value_nil();
  results[1] = value_text(effect->outcome ? effect->outcome : "failed");
  results[2] = value_text(effect->state == EFFECT_UNKNOWN ? "unknown" : "failed");
  scripts_wake(engine->scripts, token, results, 3);
}

void effect_end(nines *engine, struct effect *effect, enum effect_state state, const char *outcome)
{
  CHECK(effect->state == EFFECT_STARTED);
  effect->state = state;
  effect->outcome = mem_must_copy(outcome ? outcome : "");
  effect_save(engine, effect);
  struct pool pool = { 0 };
  struct value details = value_table();
  value_put_text(&pool, &details, "state", state_names[state]);
  value_put_text(&pool, &details, "outcome", effect->outcome);
  char action[80];
  snprintf(action, sizeof action, "%s.%s", effect->kind, state_names[state]);
  engine_audit(engine, effect->asker, action, effect->target, &details);
  pool_fini(&pool);
  list_each (node, &effect->waits) {
    struct effect_wait *wait = list_entry(node, struct effect_wait, node);
    list_remove(node);
    wake(engine, effect, wait->token);
    mem_free(wait);
  }
}

void effect_wait(nines *engine, struct effect *effect, uint64_t token)
{
  if (effect->state != EFFECT_STARTED) {
    wake(engine, effect, token);
    return;
  }
  struct effect_wait *wait = mem_must(sizeof *wait);
  wait->token = token;
  list_append(&effect->waits, &wait->node);
}

void effect_unwait(nines *engine, uint64_t token)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->effects, &at));)
    list_each (node, &((struct effect *)entry->value)->waits) {
      struct effect_wait *wait = list_entry(node, struct effect_wait, node);
      if (wait->token != token) continue;
      list_remove(node);
      mem_free(wait);
      return;
    }
}

static char *copy_text(const struct value *document, const char *key)
{
  struct view text = value_get_text(document, key);
  return mem_must_copy_n(text.data ? text.data : "", text.size);
}

static void load_effect(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  if (json_parse(&pool, json, &document, &status) < 0) {
    engine_log(engine, "error", "effect %s in the store cannot be read: %s", id, status.text);
    pool_fini(&pool);
    return;
  }
  struct effect *effect = mem_must(sizeof *effect);
  list_init(&effect->waits);
  snprintf(effect->id, sizeof effect->id, "%s", id);
  effect->key = copy_text(&document, "key");
  effect->kind = copy_text(&document, "kind");
  effect->target = copy_text(&document, "target");
  effect->asker = copy_text(&document, "asker");
  effect->why = copy_text(&document, "why");
  if (value_get(&document, "outcome")) effect->outcome = copy_text(&document, "outcome");
  effect->wall_ns = value_get_integer(&document, "wall_ns", 0);
  effect->state = EFFECT_UNKNOWN;
  for (int i = EFFECT_STARTED; i <= EFFECT_UNKNOWN; i++)
    if (view_is(value_get_text(&document, "state"), state_names[i])) effect->state = (enum effect_state)i;
  CHECK(map_put(&engine->effects, view_of(effect->key), effect) == 0);
  pool_fini(&pool);
}

void effects_load(nines *engine)
{
  engine->door.documents(engine->door.self, "effect", load_effect, engine);
}

void effects_each_open(nines *engine, const char *kind, void (*each)(nines *engine, struct effect *effect))
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->effects, &at));) {
    struct effect *effect = entry->value;
    if (effect->state == EFFECT_STARTED && strcmp(effect->kind, kind) == 0) each(engine, effect);
  }
}

void effects_save(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->effects, &at));) effect_save(engine, entry->value);
}

void effects_close(nines *engine)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->effects, &at));) effect_free(entry->value);
  map_fini(&engine->effects);
}
