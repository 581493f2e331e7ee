// Names over all files.
//
// Rounds: put the declarations of all next versions into one map, reject what clashes or lacks a name, and start over
// with the versions that remain, until a round rejects nothing. Each round rejects at least one file, so it ends. When
// a name is missing because its file's change would retire it, that file is at fault; otherwise the file that uses it.
#include "resolve.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "map.h"
#include "mem.h"
#include "nearest.h"

enum { KEY_MAX = 2 * SCRIPT_NAME_MAX };

struct key {
  char text[KEY_MAX];
  struct view view;
};

struct owner {
  struct file *file;
  const struct declaration *declaration;
};

static struct view key_of(struct key *key, const struct noun *noun, const char *name)
{
  int size = snprintf(key->text, sizeof key->text, "%s %s", noun->kind, name);
  key->view = (struct view){ key->text, (size_t)size < sizeof key->text ? (size_t)size : sizeof key->text - 1 };
  return key->view;
}

static void report(const struct resolve *resolve, struct file *file, const char *error)
{
  if (resolve->each) resolve->each(resolve->userdata, file->record.file, error);
  file_reject(file, error);
}

static void clash(const struct resolve *resolve, struct owner *first, struct file *file,
                  const struct declaration *declaration)
{
  char error[STATUS_TEXT_MAX];
  bool second_is_new = file->plan == PLAN_TAKE;
  const struct declaration *new_one = second_is_new ? declaration : first->declaration;
  const struct declaration *old_one = second_is_new ? first->declaration : declaration;
  snprintf(error, sizeof error, "%s: %s \"%s\" is declared at %s already; one file owns an object", new_one->where,
           new_one->noun->kind, new_one->name, old_one->where);
  report(resolve, second_is_new ? file : first->file, error);
}

// Adds the declarations of a version; false when one clashed and was rejected.
static bool add_names(const struct resolve *resolve, struct map *map, struct owner *owners, size_t *used,
                      struct file *file, const struct script *script)
{
  struct key key;
  for (uint32_t i = 0; script && i < script->declaration_count; i++) {
    const struct declaration *declaration = &script->declarations[i];
    struct view view = key_of(&key, declaration->noun, declaration->name);
    struct owner *known = map_get(map, view);
    if (known && known->file != file) {
      clash(resolve, known, file, declaration);
      return false;
    }
    struct owner *owner = &owners[(*used)++];
    *owner = (struct owner){ file, declaration };
    CHECK(map_put(map, view, owner) == 0);
  }
  return true;
}

struct names {
  struct map next;    // what will be declared, by owner
  struct map current; // what is
  struct owner *next_owners, *current_owners;
};

static size_t count_names(const struct resolve *resolve, bool current)
{
  size_t count = 1;
  for (size_t i = 0; i < resolve->count; i++) {
    const struct script *script = current ? resolve->files[i]->current : file_next(resolve->files[i]);
    count += script ? script->declaration_count : 0;
  }
  return count;
}

static void names_fini(struct names *names)
{
  map_fini(&names->next);
  map_fini(&names->current);
  mem_free(names->next_owners);
  mem_free(names->current_owners);
}

static bool names_init(struct names *names, const struct resolve *resolve)
{
  size_t next_used = 0, current_used = 0;
  bool fits = true;
  *names = (struct names){ .next_owners = mem_must(count_names(resolve, false) * sizeof(struct owner)),
                           .current_owners = mem_must(count_names(resolve, true) * sizeof(struct owner)) };
  for (size_t i = 0; i < resolve->count && fits; i++) {
    struct file *file = resolve->files[i];
    add_names(resolve, &names->current, names->current_owners, &current_used, file, file->current);
    fits = add_names(resolve, &names->next, names->next_owners, &next_used, file, file_next(file));
  }
  return fits;
}

static void try_name(void *userdata, const char *name)
{
  nearest_try(userdata, name);
}

static const char *nearest_name(const struct resolve *resolve, const struct names *names,
                                const struct reference *reference, struct nearest *nearest)
{
  const struct map_entry *entry;
  nearest_init(nearest, view_of(reference->name));
  for (size_t at = 0; (entry = map_next(&names->next, &at));) {
    const struct owner *owner = entry->value;
    if (owner->declaration->noun == reference->noun) nearest_try(nearest, owner->declaration->name);
  }
  if (reference->noun->names) reference->noun->names(resolve->app, try_name, nearest);
  return nearest->best;
}

static const struct file *rejected_owner(const struct resolve *resolve, const struct reference *reference)
{
  for (size_t i = 0; i < resolve->count; i++) {
    const struct file *file = resolve->files[i];
    const struct script *script = file->verdict ? file->candidate : NULL;
    for (uint32_t j = 0; script && j < script->declaration_count; j++)
      if (script->declarations[j].noun == reference->noun && strcmp(script->declarations[j].name, reference->name) == 0)
        return file;
  }
  return NULL;
}

static void refuse_unknown(const struct resolve *resolve, const struct names *names, struct file *file,
                           const struct reference *reference)
{
  char error[STATUS_TEXT_MAX], hint[2 * SCRIPT_NAME_MAX] = "";
  struct nearest nearest;
  const struct file *owner = rejected_owner(resolve, reference);
  const char *near = nearest_name(resolve, names, reference, &nearest);
  if (owner)
    snprintf(hint, sizeof hint, " (%s declares it, and was rejected)", owner->record.file);
  else if (near)
    snprintf(hint, sizeof hint, " (did you mean \"%s\"?)", near);
  snprintf(error, sizeof error, "%s: unknown %s \"%s\"%s", reference->where, reference->noun->kind, reference->name,
           hint);
  report(resolve, file, error);
}

// True when the name exists; else somebody was rejected for it.
static bool judge(const struct resolve *resolve, const struct names *names, struct file *file,
                  const struct reference *reference, bool is_candidate)
{
  char error[STATUS_TEXT_MAX];
  struct key key;
  struct view view = key_of(&key, reference->noun, reference->name);
  if (map_get(&names->next, view)) return true;
  const struct owner *owner = map_get(&names->current, view);
  if (!owner && reference->noun->find(resolve->app, reference->name)) return true; // not a policy's object
  if (owner && owner->file != file && owner->file->verdict) return true;           // refused in this round: it stays
  if (owner && owner->file != file && owner->file->plan != PLAN_STAY) {
    snprintf(error, sizeof error, "%s: %s \"%s\" cannot go, it is used at %s", owner->file->record.file,
             reference->noun->kind, reference->name, reference->where);
    report(resolve, owner->file, error);
    return false;
  }
  if (!is_candidate) return true; // it runs already, and nobody here took the name away
  refuse_unknown(resolve, names, file, reference);
  return false;
}

static bool judge_all(const struct resolve *resolve, const struct names *names)
{
  bool fits = true;
  for (size_t i = 0; i < resolve->count; i++) {
    struct file *file = resolve->files[i];
    const struct script *script = file_next(file);
    bool is_candidate = file->plan == PLAN_TAKE;
    // Its plan may turn at the first unknown name; the rest is still judged, so that every error is reported.
    for (uint32_t j = 0; script && j < script->reference_count; j++)
      if (!judge(resolve, names, file, &script->references[j], is_candidate)) fits = false;
  }
  return fits;
}

void resolve_names(const struct resolve *resolve)
{
  bool fits;
  do {
    struct names names;
    fits = names_init(&names, resolve) && judge_all(resolve, &names);
    names_fini(&names);
  } while (!fits);
}
