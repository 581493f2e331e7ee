// `nines test`: the project's busted specs under stock Lua 5.4, with the nines module of this very build.
//
// busted's own first line asks for `lua`, which is another version on many systems; so it is run as lua5.4 BUSTED. The
// specs run in the project's directory.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_args.h"
#include "cli_child.h"
#include "cli_project.h"
#include "mem.h"

enum { PATH_BYTES_MAX = 4096, ARGUMENTS_MAX = 10 };

static bool find_program(const char *name, struct buf *out)
{
  const char *path = getenv("PATH");
  if (!path) path = "/usr/local/bin:/usr/bin:/bin";
  while (*path) {
    size_t size = strcspn(path, ":");
    struct stat about;
    buf_clear(out);
    buf_printf(out, "%.*s/%s", (int)size, path, name);
    if (size && stat(out->data, &about) == 0 && S_ISREG(about.st_mode) && access(out->data, X_OK) == 0) return true;
    path += size + (path[size] == ':');
  }
  return false;
}

// nines.so lies beside the program in a build directory, and below lib/ where both are installed. Elsewhere Lua's own
// search path finds it.
static void module_path(struct buf *out)
{
  static const char *const places[] = { "", "/../lib/lua/5.4", "/../lib64/lua/5.4" };
  char program[PATH_BYTES_MAX];
  ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
  if (size <= 0) return;
  program[size] = '\0';
  *strrchr(program, '/') = '\0';
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    buf_clear(out);
    buf_printf(out, "%s%s/nines.so", program, places[i]);
    bool there = access(out->data, R_OK) == 0;
    buf_clear(out);
    if (!there) continue;
    buf_printf(out, "--cpath=%s%s/?.so", program, places[i]);
    return;
  }
}

static bool has_settings(const char *dir)
{
  struct buf file = { 0 };
  buf_printf(&file, "%s/nines.yaml", dir);
  bool there = access(file.data, F_OK) == 0;
  buf_free(&file);
  return there;
}

// Of a spec: the nearest directory above it with a nines.yaml, else the working directory.
static char *project_of(const char *spec)
{
  char *dir = mem_must_copy(spec), here[PATH_BYTES_MAX];
  for (char *slash; (slash = strrchr(dir, '/'));) {
    *slash = '\0';
    if (dir[0] && has_settings(dir)) return dir;
  }
  mem_free(dir);
  return mem_must_copy(getcwd(here, sizeof here) ? here : ".");
}

static int find_specs(struct cli *cli, struct map *specs, char **dir)
{
  static const char *const below[] = { "policies", "spec" };
  struct stat about;
  if (cli->word_count == 0) cli->words[cli->word_count++] = ".";
  for (int i = 0; i < cli->word_count; i++) {
    const char *word = cli->words[i];
    char absolute[PATH_BYTES_MAX];
    if (stat(word, &about) != 0 || !realpath(word, absolute)) return cli_fail(CLI_NO, "there is no %s", word);
    if (S_ISDIR(about.st_mode) && cli->word_count > 1)
      return cli_wrong(cli, "%s is a directory: name one project, or specs", word);
    if (S_ISDIR(about.st_mode)) {
      *dir = mem_must_copy(absolute);
      for (size_t j = 0; j < sizeof below / sizeof *below; j++) {
        struct buf path = { 0 };
        buf_printf(&path, "%s/%s", absolute, below[j]);
        project_specs(path.data, specs);
        buf_free(&path);
      }
    } else {
      if (!*dir) *dir = project_of(absolute);
      if (!map_get(specs, view_of(absolute)) && map_put(specs, view_of(absolute), mem_must_copy(absolute)) < 0)
        return cli_fail(CLI_INTERNAL, "out of memory");
    }
  }
  return CLI_OK;
}

static int run_specs(const struct cli *cli, const struct map *specs, const char *dir)
{
  struct buf lua = { 0 }, busted = { 0 }, module = { 0 };
  char **argv = mem_must((specs->count + ARGUMENTS_MAX) * sizeof *argv);
  char json[] = "--output=json";
  size_t argc = 0, at = 0;
  int code;
  if (!find_program("lua5.4", &lua) && !find_program("lua54", &lua)) {
    code = cli_fail(CLI_NO, "specs run under Lua 5.4, which is not here; install it (Debian: apt install lua5.4)");
  } else if (!find_program("busted", &busted)) {
    code = cli_fail(CLI_NO, "specs are run by busted, which is not here; install it (Debian: apt install lua-busted; "
                            "elsewhere: luarocks --lua-version 5.4 install busted)");
  } else {
    module_path(&module);
    argv[argc++] = lua.data;
    argv[argc++] = busted.data;
    if (module.size) argv[argc++] = module.data;
    if (cli->json) argv[argc++] = json;
    for (struct map_entry *entry; (entry = map_next(specs, &at));) argv[argc++] = entry->value;
    int status = child_run(argv, dir);
    code = status == 0 ? CLI_OK : CLI_NO;
  }
  mem_free(argv);
  buf_free(&lua);
  buf_free(&busted);
  buf_free(&module);
  return code;
}

int cli_test(struct cli *cli)
{
  struct map specs = { 0 };
  char *dir = NULL;
  int code = cli_args(cli, NULL, 0, CLI_WORDS_MAX);
  if (code == CLI_OK) code = find_specs(cli, &specs, &dir);
  if (code == CLI_OK && specs.count == 0)
    fprintf(stderr, "nines: there are no specs; write policies/NAME_spec.lua (`nines init` shows one)\n");
  else if (code == CLI_OK)
    code = run_specs(cli, &specs, dir);
  project_free(&specs);
  mem_free(dir);
  return code;
}
