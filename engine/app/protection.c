// What the engine knows about each protection: who declared it, who set it, what was told of it.
//
// The primitives decide by themselves, in whoever asks them. The beat looks at each breaker's generation: the moves
// since the last one become part of the beat's body, and the turn tells them as events, so that the recording holds
// what was decided elsewhere and a replay puts it in force.

#include "protection.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "json.h"
#include "mem.h"
#include "nearest.h"
#include "protection_settings.h"

// --- names

static char *key_of(struct buf *key, int kind, const char *name)
{
  buf_printf(key, "%s/%s", protection_kinds[kind].noun, name);
  return key->data;
}

static int kind_of(const struct protection *protection)
{
  return (int)(protection->kind - protection_kinds);
}

struct protection *protection_find(const nines *engine, int kind, const char *name)
{
  struct buf key = { 0 };
  struct protection *protection = map_get(&engine->protections, view_of(key_of(&key, kind, name)));
  buf_free(&key);
  return protection;
}

const char *protection_nearest(const nines *engine, int kind, const char *name)
{
  struct nearest nearest;
  nearest_init(&nearest, view_of(name));
  for (uint32_t i = 0; i < engine->protection_count; i++)
    if (kind_of(engine->protection_index[i]) == kind) nearest_try(&nearest, engine->protection_index[i]->guard->name);
  return nearest.best;
}

struct protection *protection_at(const nines *engine, uint32_t index)
{
  return index < engine->protection_count ? engine->protection_index[index] : NULL;
}

// --- what persons set, and its end

static void expire(nines *engine, struct engine_timer *timer)
{
  struct protection *protection = (struct protection *)((char *)timer - offsetof(struct protection, timer));
  int64_t left_ns = protection->expires_wall_ns - engine->wall_ns; // the wall clock may have been stepped
  if (left_ns > 0)
    engine_timer_set(engine, timer, engine->now_ns + left_ns);
  else
    protection_lift(engine, protection, "engine");
}

static void describe_setting(const struct protection *protection, struct pool *pool, struct value *out)
{
  value_put(pool, out, "by_person", value_bool(protection->by_person));
  value_put(pool, out, "set", value_number(protection->set));
  value_put(pool, out, "asked", value_number(protection->asked));
  if (protection->expires_wall_ns) value_put(pool, out, "expires_ns", value_integer(protection->expires_wall_ns));
  if (protection->actor) value_put_text(pool, out, "actor", protection->actor);
  if (protection->reason) value_put_text(pool, out, "reason", protection->reason);
  if (protection->changed_wall_ns) value_put(pool, out, "changed_ns", value_integer(protection->changed_wall_ns));
}

static void protection_save(nines *engine, const struct protection *protection)
{
  struct pool pool = { 0 };
  struct buf id = { 0 };
  struct value document = value_table();
  describe_setting(protection, &pool, &document);
  engine_put(engine, "protection", key_of(&id, kind_of(protection), protection->guard->name), &document);
  buf_free(&id);
  pool_fini(&pool);
}

static bool is_breaker(const struct protection *protection)
{
  return kind_of(protection) == PROTECTION_BREAKER;
}

// Takes up what the store holds of it.
static void restore(nines *engine, struct protection *protection, const char *key)
{
  const char *json = map_get(&engine->protections_stored, view_of(key));
  struct pool pool = { 0 };
  struct value document;
  struct status status = { 0 };
  if (!json) return;
  if (json_parse(&pool, view_of(json), &document, &status) == 0) {
    protection->by_person = value_get_bool(&document, "by_person", false);
    protection->set = value_get_number(&document, "set", 0);
    protection->asked = value_get_number(&document, "asked", 0);
    protection->expires_wall_ns = value_get_integer(&document, "expires_ns", 0);
    protection->changed_wall_ns = value_get_integer(&document, "changed_ns", 0);
    struct view actor = value_get_text(&document, "actor"), reason = value_get_text(&document, "reason");
    if (actor.size) protection->actor = mem_must_copy_n(actor.data, actor.size);
    if (reason.size) protection->reason = mem_must_copy_n(reason.data, reason.size);
  } else {
    engine_log(engine, "error", "protection %s in the store cannot be read: %s", key, status.text);
  }
  pool_fini(&pool);
  int state = (int)protection->set;
  if (protection->by_person && is_breaker(protection) && nines_breaker_state((void *)protection->guard) != state)
    nines_breaker_put((void *)protection->guard, state, 0, engine->now_ns);
  // Without the document's word a shedder stays as its host has set it, or as the arena kept it.
  if (kind_of(protection) == PROTECTION_SHEDDER && (protection->by_person || protection->actor))
    nines_shedder_put((void *)protection->guard, protection->by_person ? protection->set : protection->asked);
  if (protection->by_person && protection->expires_wall_ns)
    engine_timer_set(engine, &protection->timer, engine->now_ns + protection->expires_wall_ns - engine->wall_ns);
}

static uint32_t generation_of(const struct protection *protection)
{
  const struct breaker *breaker = protection->guard->shared;
  return circuit_word_generation(circuit_load(breaker_circuit(breaker)));
}

static struct protection *meet(nines *engine, int kind, struct guard *guard)
{
  struct protection *protection = mem_must(sizeof *protection);
  *protection = (struct protection){ .guard = guard, .kind = &protection_kinds[kind], .timer.fn = expire };
  if (is_breaker(protection)) protection->told_generation = generation_of(protection);
  engine->protection_index =
      mem_must_resize(engine->protection_index, (engine->protection_count + 1) * sizeof *engine->protection_index);
  engine->protection_index[engine->protection_count++] = protection;
  struct buf key = { 0 };
  key_of(&key, kind, guard->name);
  CHECK(map_put(&engine->protections, buf_view(&key), protection) == 0);
  restore(engine, protection, key.data);
  buf_free(&key);
  return protection;
}

void protections_meet(nines *engine)
{
  for (; engine->guards_met < engine->guards.count; engine->guards_met++) {
    struct guard *guard = engine->guards.guards[engine->guards_met];
    for (int kind = 0; kind < PROTECTION_KINDS; kind++)
      if (guard->kind == protection_kinds[kind].guard) meet(engine, kind, guard);
  }
}

// --- declarations

int protection_declare(nines *engine, int kind, const char *script, const char *name,
                       struct protection_settings *settings, struct pool *pool, struct status *status)
{
  struct guard *guard = NULL;
  int code = guards_declare(&engine->guards, protection_kinds[kind].guard, name, &settings->breaker, &guard, status);
  if (code < 0) return code;
  protections_meet(engine);
  struct protection *protection = protection_find(engine, kind, name);
  pool_fini(&protection->pool);
  protection->pool = *pool; // taken over, with the texts of `ignore`
  *pool = (struct pool){ 0 };
  protection->ignore = settings->ignore;
  protection->observe = settings->mode == 1;
  if (kind == PROTECTION_BREAKER) protection->initial_state = settings->breaker.initial_state;
  mem_free(protection->declared_by);
  protection->declared_by = mem_must_copy(script);
  guard->declared = true;
  return 0;
}

void protection_retire(nines *engine, int kind, const char *name)
{
  struct protection *protection = protection_find(engine, kind, name);
  if (!protection) return;
  mem_free(protection->declared_by);
  protection->declared_by = NULL;
  protection->guard->declared = false;
}

// --- by hand and by policy

static bool is_person(const char *actor)
{
  return strncmp(actor, "person:", 7) == 0;
}

static void note(nines *engine, struct protection *protection, const char *action, const char *actor,
                 const char *reason)
{
  mem_free(protection->actor);
  mem_free(protection->reason);
  protection->actor = mem_must_copy(actor);
  protection->reason = mem_must_copy(reason ? reason : "");
  protection->changed_wall_ns = engine->wall_ns;
  struct pool pool = { 0 };
  struct buf action_name = { 0 };
  struct value details = value_table();
  describe_setting(protection, &pool, &details);
  buf_printf(&action_name, "%s.%s", protection->kind->noun, action);
  engine_audit(engine, actor, action_name.data, protection->guard->name, &details);
  if (!is_breaker(protection)) engine_publish(engine, "shedder.changed", protection->guard->name, &details);
  buf_free(&action_name);
  pool_fini(&pool);
  protection_save(engine, protection);
}

// A person's hold begins (or, for "closed" and lift, ends).
static void hold(nines *engine, struct protection *protection, bool held, double value, int64_t hold_ns)
{
  protection->by_person = held;
  protection->set = value;
  protection->expires_wall_ns = held && hold_ns > 0 ? engine->wall_ns + hold_ns : 0;
  if (protection->expires_wall_ns)
    engine_timer_set(engine, &protection->timer, engine->now_ns + hold_ns);
  else
    engine_timer_stop(engine, &protection->timer);
}

static bool put_shedder(nines *engine, struct protection *protection, double percent, int64_t hold_ns,
                        const char *actor, const char *reason)
{
  if (is_person(actor)) {
    hold(engine, protection, true, percent, hold_ns);
  } else {
    if (protection->asked == percent) return false;
    protection->asked = percent;
    if (protection->by_person) {
      protection_save(engine, protection);
      return false;
    }
    protection->set = percent;
  }
  nines_shedder_put((void *)protection->guard, percent);
  note(engine, protection, "set", actor, reason);
  return true;
}

// Is it in this state already, for at least as long? An opening whose time is over stays in the word until somebody
// asks, and refuses nobody.
static bool stays(const nines *engine, nines_breaker *breaker, int state, int64_t hold_ns)
{
  nines_breaker_reading now;
  nines_breaker_read(breaker, engine->now_ns, &now);
  if (now.state != state) return false;
  return state != NINES_BREAKER_OPEN || (now.until_ns > engine->now_ns && now.until_ns >= engine->now_ns + hold_ns);
}

static bool put_breaker(nines *engine, struct protection *protection, int state, int64_t hold_ns, const char *actor,
                        const char *reason)
{
  nines_breaker *breaker = (void *)protection->guard;
  if (is_person(actor)) {
    if (state == NINES_BREAKER_OPEN) state = NINES_BREAKER_FORCED_OPEN;
    hold(engine, protection, state != NINES_BREAKER_CLOSED, state, hold_ns);
  } else if (protection->by_person || stays(engine, breaker, state, hold_ns)) {
    return false;
  }
  nines_breaker_put(breaker, state, hold_ns, engine->now_ns);
  note(engine, protection, "set", actor, reason);
  return true;
}

bool protection_put(nines *engine, struct protection *protection, double value, int64_t hold_ns, const char *actor,
                    const char *reason)
{
  if ((engine->observe || protection->observe) && !is_person(actor)) {
    engine_observed(engine, is_breaker(protection) ? "breaker set" : "shed", protection->guard->name, reason);
    return false;
  }
  return is_breaker(protection) ? put_breaker(engine, protection, (int)value, hold_ns, actor, reason)
                                : put_shedder(engine, protection, value, hold_ns, actor, reason);
}

void protection_lift(nines *engine, struct protection *protection, const char *actor)
{
  if (!protection->by_person) return;
  double left = is_breaker(protection) ? protection->initial_state : protection->asked;
  hold(engine, protection, false, left, 0);
  if (is_breaker(protection))
    nines_breaker_put((void *)protection->guard, protection->initial_state, 0, engine->now_ns);
  else
    nines_shedder_put((void *)protection->guard, left);
  note(engine, protection, "lifted", actor, is_person(actor) ? "lifted" : "its time is over");
}

void protection_reset(nines *engine, struct protection *protection, const char *actor, const char *reason)
{
  if (protection->by_person && !is_person(actor)) return;
  if ((engine->observe || protection->observe) && !is_person(actor)) {
    engine_observed(engine, "breaker reset", protection->guard->name, reason);
    return;
  }
  hold(engine, protection, false, NINES_BREAKER_CLOSED, 0);
  nines_breaker_reset((void *)protection->guard, engine->now_ns);
  note(engine, protection, "reset", actor, reason);
}

void protection_describe(const nines *engine, const struct protection *protection, struct pool *pool, struct value *out)
{
  value_put_text(pool, out, "noun", protection->kind->noun);
  value_put_text(pool, out, "name", protection->guard->name);
  protection->kind->describe(protection->guard, engine->now_ns, pool, out);
  if (protection->declared_by) value_put_text(pool, out, "declared_by", protection->declared_by);
  if (!protection->actor) return;
  describe_setting(protection, pool, out);
  if (is_breaker(protection)) value_put_text(pool, out, "set", circuit_state_text((int)protection->set));
}

// --- the beat

// noun's number is not written: only breakers move. name, from, to, cause, would, at, until, calls, failed, slow
static void write_move(struct buf *out, const struct protection *protection, const struct circuit_move *move)
{
  buf_varint(out, strlen(protection->guard->name));
  buf_text(out, protection->guard->name);
  buf_varint(out, (uint64_t)move->from);
  buf_varint(out, (uint64_t)move->to);
  buf_varint(out, (uint64_t)move->cause);
  buf_varint(out, (uint64_t)(move->at_ns > 0 ? move->at_ns : 0));
  buf_varint(out, (uint64_t)(move->until_ns > 0 ? move->until_ns : 0));
  buf_varint(out, move->seen.total);
  buf_varint(out, move->seen.bad);
  buf_varint(out, move->seen.slow);
}

static void collect_breaker(struct protection *protection, char tag, struct buf *out)
{
  uint32_t generation = generation_of(protection);
  uint32_t steps = (generation - protection->told_generation) & CIRCUIT_GENERATION_MASK;
  if (steps == 0) return;
  const struct breaker *breaker = protection->guard->shared;
  if (steps > CIRCUIT_LOG) steps = CIRCUIT_LOG; // those before are no longer known
  for (; steps-- > 0;) {
    struct circuit_move move;
    if (!circuit_move_of(breaker_circuit(breaker), (generation - steps) & CIRCUIT_GENERATION_MASK, &move)) continue;
    buf_byte(out, tag);
    write_move(out, protection, &move);
  }
  protection->told_generation = generation;
}

void protections_collect(nines *engine, int64_t now_ns, char tag, struct buf *out)
{
  nines_arena_fold(&engine->guards, now_ns);
  protections_meet(engine);
  for (uint32_t i = 0; i < engine->protection_count; i++)
    if (is_breaker(engine->protection_index[i])) collect_breaker(engine->protection_index[i], tag, out);
}

static const char *topic_of(int state)
{
  switch (state) {
  case NINES_BREAKER_OPEN:
  case NINES_BREAKER_FORCED_OPEN:
    return "breaker.opened";
  case NINES_BREAKER_HALF_OPEN:
    return "breaker.half_open";
  default:
    return "breaker.closed";
  }
}

static void tell_move(nines *engine, const struct protection *protection, const uint64_t field[8])
{
  struct pool pool = { 0 };
  struct value payload = value_table();
  value_put_text(&pool, &payload, "state", circuit_state_text((int)field[1]));
  value_put_text(&pool, &payload, "from", circuit_state_text((int)field[0]));
  value_put_text(&pool, &payload, "cause", circuit_cause_text((uint32_t)field[2]));
  int64_t to_wall_ns = engine->wall_ns - engine->now_ns;
  value_put(&pool, &payload, "at_ns", value_integer((int64_t)field[3] + to_wall_ns));
  if (field[4]) value_put(&pool, &payload, "until_ns", value_integer((int64_t)field[4] + to_wall_ns));
  value_put(&pool, &payload, "calls", value_integer((int64_t)field[5]));
  value_put(&pool, &payload, "failed", value_integer((int64_t)field[6]));
  value_put(&pool, &payload, "slow", value_integer((int64_t)field[7]));
  engine_publish(engine, topic_of((int)field[1]), protection->guard->name, &payload);
  pool_fini(&pool);
}

bool protections_fold(nines *engine, struct view *in)
{
  uint64_t size, field[8];
  struct view name;
  if (!view_varint(in, &size) || size > GUARD_NAME_MAX || !view_take(in, (size_t)size, &name)) return false;
  for (int i = 0; i < 8; i++)
    if (!view_varint(in, &field[i]) || field[i] > INT64_MAX) return false;
  if (field[0] > NINES_BREAKER_METRICS_ONLY || field[1] > NINES_BREAKER_METRICS_ONLY) return false;
  char text[GUARD_NAME_MAX + 1];
  memcpy(text, name.data, name.size);
  text[name.size] = '\0';
  struct protection *protection = protection_find(engine, PROTECTION_BREAKER, text);
  if (!protection) return true; // a what-if replay whose policies do not declare it
  nines_breaker *breaker = (void *)protection->guard;
  if (engine->replay && nines_breaker_state(breaker) != (int)field[1]) {
    int64_t left_ns = (int64_t)field[4] - engine->now_ns;
    nines_breaker_put(breaker, (int)field[1], left_ns > 0 ? left_ns : 1, engine->now_ns);
  }
  tell_move(engine, protection, field);
  return true;
}

// --- the store

static void load(void *userdata, const char *id, struct view json)
{
  nines *engine = userdata;
  char *copy = mem_must_copy_n(json.data, json.size);
  mem_free(map_get(&engine->protections_stored, view_of(id)));
  CHECK(map_put(&engine->protections_stored, view_of(id), copy) == 0);
}

void protections_load(nines *engine)
{
  engine->door.documents(engine->door.self, "protection", load, engine);
}

void protections_save(nines *engine)
{
  for (uint32_t i = 0; i < engine->protection_count; i++)
    if (engine->protection_index[i]->actor) protection_save(engine, engine->protection_index[i]);
}

void protections_close(nines *engine)
{
  for (uint32_t i = 0; i < engine->protection_count; i++) {
    struct protection *protection = engine->protection_index[i];
    pool_fini(&protection->pool);
    mem_free(protection->declared_by);
    mem_free(protection->actor);
    mem_free(protection->reason);
    mem_free(protection);
  }
  mem_free(engine->protection_index);
  map_fini(&engine->protections);
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&engine->protections_stored, &at));) mem_free(entry->value);
  map_fini(&engine->protections_stored);
}
