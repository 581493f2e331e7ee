// Options may stand anywhere before "--"; each is given once. A lone "-" is a word.

#include "cli_args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nearest.h"

int cli_fail(int code, const char *format, ...)
{
  va_list arguments;
  fputs("nines: ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  return code;
}

int cli_wrong(const struct cli *cli, const char *format, ...)
{
  va_list arguments;
  fprintf(stderr, "nines %s: ", cli->command->name);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\nusage: nines %s\n`nines help %s` has an example.\n", cli->command->usage, cli->command->name);
  return CLI_USAGE;
}

bool cli_args_help(int argc, char **argv)
{
  for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

static const struct cli_option *find(const struct cli_option *options, const char *name, size_t size)
{
  for (const struct cli_option *option = options; option && option->name; option++)
    if (strlen(option->name) == size && memcmp(option->name, name, size) == 0) return option;
  return NULL;
}

static int unknown(const struct cli *cli, const struct cli_option *common, const struct cli_option *own,
                   const char *argument)
{
  struct nearest nearest;
  nearest_init(&nearest, (struct view){ argument + 2, strcspn(argument + 2, "=") });
  for (const struct cli_option *option = common; option->name; option++) nearest_try(&nearest, option->name);
  for (const struct cli_option *option = own; option && option->name; option++) nearest_try(&nearest, option->name);
  return cli_wrong(cli, "there is no option %s%s%s%s", argument, nearest.best ? " (did you mean --" : "",
                   nearest.best ? nearest.best : "", nearest.best ? "?)" : "");
}

static int take(const struct cli *cli, const struct cli_option *option, const char *inline_value, int *at)
{
  if (option->flag) {
    if (inline_value) return cli_wrong(cli, "--%s takes no value", option->name);
    *option->flag = true;
    return CLI_OK;
  }
  if (*option->text) return cli_wrong(cli, "--%s is given twice", option->name);
  if (!inline_value && *at + 1 >= cli->argc) return cli_wrong(cli, "--%s needs a value", option->name);
  *option->text = inline_value ? inline_value : cli->argv[++*at];
  return CLI_OK;
}

static int take_letter(const struct cli *cli, const struct cli_option *options, const char *argument, int *at)
{
  for (const struct cli_option *option = options; option && option->name; option++)
    if (option->letter && option->letter == argument[1] && !argument[2]) return take(cli, option, NULL, at);
  return cli_wrong(cli, "there is no option %s", argument);
}

int cli_args(struct cli *cli, const struct cli_option *options, int min, int max)
{
  const struct cli_option common[] = { { "json", 0, &cli->json, NULL }, { "engine", 0, NULL, &cli->engine }, { 0 } };
  for (int i = 0; i < cli->argc; i++) {
    char *argument = cli->argv[i];
    int code = CLI_OK;
    if (strcmp(argument, "--") == 0) {
      cli->rest = cli->argv + i + 1;
      break;
    }
    if (strncmp(argument, "--", 2) == 0) {
      size_t size = strcspn(argument + 2, "=");
      const struct cli_option *option = find(options, argument + 2, size);
      if (!option) option = find(common, argument + 2, size);
      code = option ? take(cli, option, argument[2 + size] ? argument + 3 + size : NULL, &i)
                    : unknown(cli, common, options, argument);
    } else if (argument[0] == '-' && argument[1]) {
      code = take_letter(cli, options, argument, &i);
    } else if (cli->word_count >= (max < CLI_WORDS_MAX ? max : CLI_WORDS_MAX)) {
      code = cli_wrong(cli, "\"%s\" is one word too many", argument);
    } else {
      cli->words[cli->word_count++] = argument;
    }
    if (code != CLI_OK) return code;
  }
  if (cli->word_count < min) return cli_wrong(cli, "something is missing");
  return CLI_OK;
}
