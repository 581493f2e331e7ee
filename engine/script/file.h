// One policy or library file as the engine knows it: what runs, what was announced, what became of it.
#ifndef NINES_SCRIPT_FILE_H
#define NINES_SCRIPT_FILE_H

#include "script.h"

enum { FILE_NAME_MAX = 200, FILE_BYTES_MAX = 1024 * 1024, FILE_KILLS_MAX = 3 };

enum plan { PLAN_STAY, PLAN_TAKE, PLAN_GO }; // of a reload: keep the version, take the candidate over, be removed

struct file {
  struct script_record record; // first: a script's record leads to its file
  bool library;                // lib/NAME.lua
  char *text;                  // of the version that was taken over; NULL: none was
  size_t size;
  uint64_t hash;
  char *pending; // announced and not taken over (yet)
  size_t pending_size;
  bool gone;  // announced as removed
  bool fresh; // announced since the last reload
  enum plan plan;
  struct script *current;   // NULL: never loaded. A disabled one is stopped.
  struct script *candidate; // during a reload
  bool disabled;
  char *verdict; // during a reload: why it was rejected
  char *error;   // of the last rejection, or NULL
  uint64_t loads, rejections;
  struct sandbox_usage usage; // of a disabled script
};

struct file *file_open(const char *name);
void file_close(struct file *file);
void file_announce(struct file *file, struct view text); // NULL data: removed
void file_forget_pending(struct file *file);
// The version that will run after the reload, or NULL.
struct script *file_next(const struct file *file);
// The candidate is not taken over, or the removal not done; the first reason stays.
void file_reject(struct file *file, const char *why);
void file_accept_text(struct file *file); // what was announced is what runs
bool file_same_text(const struct file *file);
// The library's name ("detection/two_sided") of this file matches.
bool file_is_library(const struct file *file, const char *name);

#endif
