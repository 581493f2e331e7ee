// `nines init`: a project to start from. It writes all of its files or, when one is there already, none.

#include "cli_init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "cli_args.h"
#include "mem.h"

static char *path_of(const char *dir, const char *name)
{
  struct buf path = { 0 };
  buf_printf(&path, "%s/%s", dir, name);
  return path.data;
}

static int refuse_existing(const char *dir)
{
  for (const struct init_file *file = init_files; file->name; file++) {
    struct stat about;
    char *path = path_of(dir, file->name);
    bool there = lstat(path, &about) == 0;
    if (there) cli_fail(CLI_NO, "%s is there already; nothing was written. Name another directory", path);
    mem_free(path);
    if (there) return CLI_NO;
  }
  return CLI_OK;
}

static bool make_parents(const char *path)
{
  char *copy = mem_must_copy(path);
  bool made = true;
  for (char *slash = strchr(copy + 1, '/'); slash && made; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    made = mkdir(copy, 0777) == 0 || errno == EEXIST;
    *slash = '/';
  }
  mem_free(copy);
  return made;
}

static int write_file(const char *dir, const struct init_file *file)
{
  char *path = path_of(dir, file->name);
  FILE *out = make_parents(path) ? fopen(path, "wxe") : NULL;
  bool written = out && fputs(file->text, out) >= 0;
  if (out && fclose(out) != 0) written = false;
  if (written && file->executable) {
    mode_t mask = umask(0);
    umask(mask);
    written = chmod(path, 0777 & ~mask) == 0;
  }
  int code = written ? CLI_OK : cli_fail(CLI_NO, "cannot write %s: %s", path, strerror(errno));
  mem_free(path);
  return code;
}

static void print_json(const char *dir)
{
  struct buf json = { 0 };
  buf_text(&json, "{\"dir\":");
  buf_json_text(&json, view_of(dir));
  buf_text(&json, ",\"files\":[");
  for (const struct init_file *file = init_files; file->name; file++) {
    if (file != init_files) buf_byte(&json, ',');
    buf_json_text(&json, view_of(file->name));
  }
  buf_text(&json, "]}");
  puts(json.data);
  buf_free(&json);
}

int cli_init(struct cli *cli)
{
  int code = cli_args(cli, NULL, 0, 1);
  const char *dir = cli->word_count ? cli->words[0] : ".";
  if (code == CLI_OK) code = refuse_existing(dir);
  for (const struct init_file *file = init_files; file->name && code == CLI_OK; file++) code = write_file(dir, file);
  if (code != CLI_OK) return code;
  if (cli->json) {
    print_json(dir);
    return CLI_OK;
  }
  for (const struct init_file *file = init_files; file->name; file++) printf("  %s/%s\n", dir, file->name);
  printf("\nA project to start from. Next:\n");
  if (strcmp(dir, ".") != 0) printf("  cd %s\n", dir);
  puts("  nines check      is everything right?\n"
       "  nines test       run policies/example_spec.lua\n"
       "  nines run        start the engine, then in another terminal:\n"
       "  nines status");
  return CLI_OK;
}
