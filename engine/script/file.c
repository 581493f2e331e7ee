// Files: texts and verdicts. A rejected text stays announced, because it may be fine once other files change; it is
// tried again at each reload and complained about when it is new or fails in a new way.
#include "file.h"

#include <string.h>

#include "hash.h"
#include "mem.h"

static const char library_prefix[] = "lib/";

struct file *file_open(const char *name)
{
  struct file *file = mem_must(sizeof *file);
  file->record.file = mem_must_copy(name);
  file->library = strncmp(name, library_prefix, sizeof library_prefix - 1) == 0;
  return file;
}

void file_close(struct file *file)
{
  script_close(file->candidate);
  script_close(file->current);
  file_forget_pending(file);
  mem_free(file->text);
  mem_free(file->verdict);
  mem_free(file->error);
  buf_free(&file->record.kept);
  mem_free(file->record.file);
  mem_free(file);
}

void file_forget_pending(struct file *file)
{
  mem_free(file->pending);
  file->pending = NULL;
  file->pending_size = 0;
  file->gone = false;
}

void file_announce(struct file *file, struct view text)
{
  file_forget_pending(file);
  file->fresh = true;
  if (text.data) {
    file->pending = mem_must_copy_n(text.data, text.size);
    file->pending_size = text.size;
    // A broken edit was undone: what runs is what is wanted.
    if (file->current && file->text && text.size == file->size && memcmp(text.data, file->text, text.size) == 0) {
      mem_free(file->error);
      file->error = NULL;
    }
  } else {
    file->gone = true;
  }
}

struct script *file_next(const struct file *file)
{
  if (file->plan == PLAN_TAKE) return file->candidate;
  return file->plan == PLAN_STAY ? file->current : NULL;
}

void file_reject(struct file *file, const char *why)
{
  file->plan = PLAN_STAY;
  if (!file->verdict) file->verdict = mem_must_copy(why);
}

static uint64_t hash_of(const char *text, size_t size)
{
  return hash_add(HASH_START, text, size);
}

void file_accept_text(struct file *file)
{
  if (!file->pending) return;
  mem_free(file->text);
  file->text = file->pending;
  file->size = file->pending_size;
  file->hash = hash_of(file->text, file->size);
  file->pending = NULL;
  file->pending_size = 0;
}

bool file_same_text(const struct file *file)
{
  return file->text && file->pending && file->size == file->pending_size &&
         memcmp(file->text, file->pending, file->size) == 0;
}

bool file_is_library(const struct file *file, const char *name)
{
  size_t prefix = sizeof library_prefix - 1, size = strlen(name);
  return file->library && strncmp(file->record.file + prefix, name, size) == 0 &&
         strcmp(file->record.file + prefix + size, ".lua") == 0;
}
