// The verdict of a spec is kept for the hash of the policy's text and the spec's, so that one edit runs it once.

#include "spec_gate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "duration.h"
#include "hash.h"
#include "mem.h"

enum verdict { RUNNING, PASSED, FAILED };

struct spec_run {
  struct live *live;
  char *name;
  uint64_t hash;
  enum verdict verdict;
};

// The executable of this process, if it is `nines`: it knows how to run specs.
static bool own_program(char out[static 4096])
{
  ssize_t size = readlink("/proc/self/exe", out, 4095);
  if (size <= 0) return false;
  out[size] = '\0';
  const char *slash = strrchr(out, '/');
  return strcmp(slash ? slash + 1 : out, "nines") == 0;
}

static void reject(struct spec_run *run, const char *why)
{
  struct buf body = { 0 };
  buf_text(&body, "{\"actor\":\"engine\",\"file\":");
  buf_json_text(&body, view_of(run->name));
  buf_text(&body, ",\"reason\":");
  buf_json_text(&body, view_of(why));
  buf_byte(&body, '}');
  live_log(run->live, "error", "%s is not taken over, its spec fails: %s", run->name, why);
  live_input(run->live,
             (struct input){ .kind = INPUT_CALL, .name = view_of("policy.reject"), .body = buf_view(&body) });
  buf_free(&body);
}

static void on_spec(void *userdata, const char *id, const struct command_result *result)
{
  struct spec_run *run = userdata;
  struct live *live = run->live;
  char how[200];
  bool passed = result->end == COMMAND_EXITED && result->status == 0;
  run->verdict = passed ? PASSED : FAILED;
  if (!passed) {
    struct buf why = { 0 };
    size_t tail = result->output.size < 400 ? result->output.size : 400;
    buf_printf(&why, "it %s: %.*s", command_describe(result, how, sizeof how), (int)tail,
               result->output.data ? result->output.data + result->output.size - tail : "");
    reject(run, why.data);
    buf_free(&why);
  }
  command_forget(live->commander, id);
  live_reload(live); // takes the policy over, or looks at an edit that came while this one ran
}

static bool start(struct spec_run *run, const char *spec)
{
  char program[4096], id[64];
  struct status status = { 0 };
  if (!own_program(program)) return false;
  snprintf(id, sizeof id, "spec-%016llx", (unsigned long long)run->hash);
  const char *argv[] = { program, "test", spec, NULL };
  struct command command = { .id = id, .argv = argv, .dir = run->live->dir, .timeout_ns = 30 * NS_PER_S };
  if (command_start(run->live->commander, &command, on_spec, run, &status) == 0) return true;
  live_log(run->live, "warn", "the spec of %s cannot be run (%s); the policy is loaded without", run->name,
           status.text);
  return false;
}

bool spec_gate_holds(struct live *live, const char *name, const char *file, const char *text)
{
  struct buf spec = { 0 };
  struct status status = { 0 };
  size_t size;
  buf_printf(&spec, "%.*s_spec.lua", (int)(strlen(file) - strlen(".lua")), file);
  char *spec_text = live_read_file(spec.data, 1 << 20, &size, &status);
  bool holds = false;
  if (spec_text) {
    uint64_t hash = hash_add(hash_add(HASH_START, text, strlen(text)), spec_text, size);
    struct spec_run *run = map_get(&live->specs, view_of(name));
    if (run && run->hash != hash && run->verdict == RUNNING) {
      holds = true; // the running one first; its end looks at the sources again
    } else if (!run || run->hash != hash) {
      if (!run) {
        run = mem_must(sizeof *run);
        run->live = live;
        run->name = mem_must_copy(name);
        CHECK(map_put(&live->specs, view_of(name), run) == 0);
      }
      run->hash = hash;
      run->verdict = RUNNING;
      holds = start(run, spec.data);
      if (!holds) run->verdict = PASSED;
    } else {
      holds = run->verdict != PASSED;
    }
  }
  mem_free(spec_text);
  buf_free(&spec);
  return holds;
}

void spec_gate_close(struct live *live)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&live->specs, &at));) {
    struct spec_run *run = entry->value;
    mem_free(run->name);
    mem_free(run);
  }
  map_fini(&live->specs);
}
