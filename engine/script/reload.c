// Taking over what was announced.
//
// A reload is done in steps that can stop before anything is touched: build a candidate of each changed file, settle
// the names, and only then commit: old lives end, declarations are applied noun by noun, what nobody declares any more
// is retired, new lives start. Libraries are texts; a changed one makes candidates of the files that use it.
#include <string.h>

#include "check.h"
#include "mem.h"
#include "resolve.h"
#include "scripts_private.h"

// Reload: candidates

// A library is looked at alone first, so that its own mistakes are its own.
static void check_library(struct scripts *scripts, struct file *file)
{
  struct sandbox sandbox;
  struct status status;
  int rc =
      sandbox_open(&sandbox, &scripts->config.limits, &scripts->scheduler.budget, 0, file->record.file, NULL, &status);
  if (rc == 0) {
    rc = sandbox_compile(&sandbox, file->pending, file->pending_size, file->record.file, &status);
    sandbox_close(&sandbox);
  }
  if (rc != 0)
    file_reject(file, status.text);
  else
    file->plan = PLAN_TAKE;
}

static bool uses_changed_library(const struct scripts *scripts, const struct script *script)
{
  for (uint32_t i = 0; i < script->library_count; i++)
    for (size_t j = 0; j < scripts->count; j++)
      if (scripts->files[j]->plan != PLAN_STAY && file_is_library(scripts->files[j], script->libraries[i])) return true;
  return false;
}

static void build(struct scripts *scripts, struct file *file, bool checking)
{
  struct status status;
  struct view text =
      file->pending ? (struct view){ file->pending, file->pending_size } : (struct view){ file->text, file->size };
  if (script_open(&file->candidate, &scripts->scheduler, &file->record, text, checking, &status) == 0)
    file->plan = PLAN_TAKE;
  else
    file_reject(file, status.text);
}

static void plan_libraries(struct scripts *scripts)
{
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    file->plan = PLAN_STAY;
    if (file->gone) {
      file->plan = PLAN_GO;
    } else if (file_same_text(file)) {
      file_forget_pending(file);
      file->fresh = false;
    } else if (file->library && file->pending) {
      check_library(scripts, file);
    }
  }
}

static void plan(struct scripts *scripts, bool checking)
{
  CHECK(!scripts->scheduler.running);
  plan_libraries(scripts);
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    if (file->library || file->gone) continue;
    bool rebuild = file->current && !file->disabled && uses_changed_library(scripts, file->current);
    if (file->pending || rebuild) build(scripts, file, checking);
  }
}

static void settle(struct scripts *scripts, void (*each)(void *userdata, const char *file, const char *error),
                   void *userdata)
{
  for (size_t i = 0; each && i < scripts->count; i++)
    if (scripts->files[i]->verdict) each(userdata, scripts->files[i]->record.file, scripts->files[i]->verdict);
  const struct resolve resolve = { .files = scripts->files,
                                   .count = scripts->count,
                                   .app = scripts->config.hooks.app,
                                   .each = each,
                                   .userdata = userdata };
  resolve_names(&resolve);
}

// Reload: commit

static bool is_declared(const struct scripts *scripts, const struct noun *noun, const char *name)
{
  for (size_t i = 0; i < scripts->count; i++) {
    const struct script *script = scripts->files[i]->current;
    for (uint32_t j = 0; script && j < script->declaration_count; j++)
      if (script->declarations[j].noun == noun && strcmp(script->declarations[j].name, name) == 0) return true;
  }
  return false;
}

// The new lives are in place; `old` has ended and still knows its names.
static void retire(struct scripts *scripts, const struct script *old)
{
  for (uint32_t i = 0; i < old->declaration_count; i++) {
    const struct declaration *declaration = &old->declarations[i];
    if (declaration->noun->retire && !is_declared(scripts, declaration->noun, declaration->name))
      declaration->noun->retire(scripts->config.hooks.app, declaration->name);
  }
}

static void swap(struct file *file, struct script **old)
{
  *old = file->current;
  if (*old) script_stop(*old);
  file->current = file->candidate; // NULL when it goes
  file->candidate = NULL;
  if (!file->current) return;
  file_accept_text(file);
  mem_free(file->error);
  file->error = NULL;
  file->disabled = false;
  file->record.kills = 0;
  file->loads++;
}

// Objects of one noun may name each other: those that came too early are applied once more.
static void apply_all(struct scripts *scripts)
{
  for (const struct noun *const *noun = scripts->config.nouns; noun && *noun; noun++)
    for (int again = 0; again < 2; again++)
      for (size_t i = 0; i < scripts->count; i++)
        if (scripts->files[i]->plan == PLAN_TAKE && scripts->files[i]->current)
          scripts_apply(scripts, scripts->files[i], *noun, again);
}

static void commit(struct scripts *scripts)
{
  struct script **old = mem_must((scripts->count + 1) * sizeof(struct script *));
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    if (file->library && file->plan == PLAN_TAKE)
      file_accept_text(file);
    else if (!file->library && file->plan != PLAN_STAY)
      swap(file, &old[i]);
  }
  apply_all(scripts);
  for (size_t i = 0; i < scripts->count; i++) {
    if (!old[i]) continue;
    retire(scripts, old[i]);
    script_close(old[i]);
  }
  mem_free(old);
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    if (file->plan == PLAN_TAKE && file->current) script_start(file->current);
  }
  for (size_t i = 0; i < scripts->count; i++)
    if (scripts->files[i]->plan == PLAN_TAKE) scripts_say(scripts, scripts->files[i], "policy.loaded", NULL);
}

static int tell_rejected(struct scripts *scripts, struct status *status)
{
  int rejected = 0;
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    if (!file->verdict) continue;
    if (rejected++ == 0) status_set(status, NINES_ESCRIPT, "%s", file->verdict);
    if (!file->fresh && file->error && strcmp(file->error, file->verdict) == 0) continue; // known
    file->rejections++;
    mem_free(file->error);
    file->error = mem_must_copy(file->verdict);
    scripts_say(scripts, file, "policy.rejected", file->error);
  }
  return rejected;
}

// Ends a reload or a check: candidates that were not taken go, files that left are forgotten.
static void tidy(struct scripts *scripts, bool committed)
{
  size_t kept = 0;
  for (size_t i = 0; i < scripts->count; i++) {
    struct file *file = scripts->files[i];
    script_close(file->candidate);
    file->candidate = NULL;
    if (committed && file->plan == PLAN_GO) {
      file_close(file);
      continue;
    }
    if (committed) file->fresh = false;
    file->plan = PLAN_STAY;
    mem_free(file->verdict);
    file->verdict = NULL;
    scripts->files[kept++] = file;
  }
  scripts->count = kept;
}

int scripts_reload(struct scripts *scripts, struct status *status)
{
  plan(scripts, false);
  settle(scripts, NULL, NULL);
  commit(scripts);
  int rejected = tell_rejected(scripts, status);
  tidy(scripts, true);
  return rejected;
}

int scripts_check(struct scripts *scripts, void (*each)(void *userdata, const char *file, const char *error),
                  void *userdata)
{
  int rejected = 0;
  plan(scripts, true);
  settle(scripts, each, userdata);
  for (size_t i = 0; i < scripts->count; i++) rejected += scripts->files[i]->verdict != NULL;
  tidy(scripts, false);
  return rejected;
}
