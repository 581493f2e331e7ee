// One tracked function: which path, since when, who waits.

#include "track.h"

#include "mem.h"

struct track {
  struct list node;
  struct path *path;
  uint64_t task, token;
  int64_t started_ns;
};

int track_call(nines *engine, struct path *path, struct call *call)
{
  if (call->argument_count < 1 || call->arguments[0].type != VALUE_FUNCTION)
    return status_set(&call->status, NINES_EINVAL, "takes a function: path:track(function() ... end)");
  uint64_t task = scripts_start(engine->scripts, call->arguments[0].integer, call->arguments + 1,
                                call->argument_count - 1, &call->status);
  if (!task) return call_fail(call, "limit", "%s", call->status.text);
  struct track *track = mem_must(sizeof *track);
  *track = (struct track){ .path = path, .task = task, .started_ns = engine->now_ns };
  track->token = call->wait_token = scripts_token(engine->scripts);
  list_append(&engine->tracks, &track->node);
  return CALL_WAIT;
}

static bool went_well(enum task_end end, const struct value *results, uint32_t count)
{
  if (end != TASK_DONE) return false;
  bool nothing = count > 1 && (results[0].type == VALUE_NIL || (results[0].type == VALUE_BOOL && !results[0].boolean));
  return !nothing || results[1].type == VALUE_NIL;
}

void track_end(nines *engine, uint64_t task, enum task_end end, const struct value *results, uint32_t count,
               const char *why)
{
  list_each (node, &engine->tracks) {
    struct track *track = list_entry(node, struct track, node);
    if (track->task != task) continue;
    list_remove(node);
    if (end != TASK_CANCELLED && !engine->replay) // there the recorded beats hold it
      nines_path_record(track->path->recorded, went_well(end, results, count), engine->now_ns - track->started_ns);
    struct value failed[3] = { value_nil(), value_text(why), value_text(end == TASK_KILLED ? "killed" : "failed") };
    if (track->token && end == TASK_DONE) scripts_wake(engine->scripts, track->token, results, count);
    if (track->token && end != TASK_DONE) scripts_wake(engine->scripts, track->token, failed, 3);
    mem_free(track);
    return;
  }
}

void track_cancel(nines *engine, uint64_t token)
{
  list_each (node, &engine->tracks) {
    struct track *track = list_entry(node, struct track, node);
    if (track->token != token) continue;
    track->token = 0;
    scripts_stop(engine->scripts, track->task); // ends in track_end, which frees it
    return;
  }
}

void tracks_close(nines *engine)
{
  if (!engine->tracks.next) return;
  list_each (node, &engine->tracks) mem_free(list_entry(node, struct track, node));
}
