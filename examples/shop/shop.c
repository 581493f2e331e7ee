// A small real shop, as four processes of one program. See README.md.

#include "shop.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: shop inventory --port PORT [--workers 8]\n"
    "       shop payments  --port PORT --version V [--failing 0.5] [--background] [--pid-file FILE]\n"
    "       shop gateway   --port PORT --project DIR --payments ADDRESS --inventory ADDRESS [--bare] [--report]\n"
    "       shop load      --target ADDRESS [--rate 200]\n"
    "       shop overload  [--seconds 10]     three times too many customers, without and with protections\n"
    "An ADDRESS is 127.0.0.1:PORT. All listen on the loopback only. --background returns when the service listens.\n";

int shop_fail(const char *what, int uv_code)
{
  fprintf(stderr, "shop: %s: %s\n", what, uv_strerror(uv_code));
  return 1;
}

enum {
  PORT = 1,
  PROJECT,
  PAYMENTS,
  INVENTORY,
  VERSION,
  PID_FILE,
  FAILING,
  BACKGROUND,
  TARGET,
  RATE,
  WORKERS,
  SECONDS,
  BARE,
  REPORT
};
static const struct option words[] = { { "port", required_argument, NULL, PORT },
                                       { "project", required_argument, NULL, PROJECT },
                                       { "payments", required_argument, NULL, PAYMENTS },
                                       { "inventory", required_argument, NULL, INVENTORY },
                                       { "version", required_argument, NULL, VERSION },
                                       { "pid-file", required_argument, NULL, PID_FILE },
                                       { "failing", required_argument, NULL, FAILING },
                                       { "background", no_argument, NULL, BACKGROUND },
                                       { "target", required_argument, NULL, TARGET },
                                       { "rate", required_argument, NULL, RATE },
                                       { "workers", required_argument, NULL, WORKERS },
                                       { "seconds", required_argument, NULL, SECONDS },
                                       { "bare", no_argument, NULL, BARE },
                                       { "report", no_argument, NULL, REPORT },
                                       { 0 } };

static bool read_options(int argc, char **argv, struct options *out)
{
  for (int word; (word = getopt_long(argc, argv, "", words, NULL)) != -1;) {
    switch (word) {
    case PORT:
      out->port = atoi(optarg);
      break;
    case PROJECT:
      out->project = optarg;
      break;
    case PAYMENTS:
      out->payments = optarg;
      break;
    case INVENTORY:
      out->inventory = optarg;
      break;
    case VERSION:
      out->version = optarg;
      break;
    case PID_FILE:
      out->pid_file = optarg;
      break;
    case FAILING:
      out->failing = atof(optarg);
      break;
    case BACKGROUND:
      out->background = true;
      break;
    case TARGET:
      out->target = optarg;
      break;
    case RATE:
      out->rate = atoi(optarg);
      break;
    case WORKERS:
      out->workers = atoi(optarg);
      break;
    case SECONDS:
      out->seconds = atoi(optarg);
      break;
    case BARE:
      out->bare = true;
      break;
    case REPORT:
      out->report = true;
      break;
    default:
      return false;
    }
  }
  return optind == argc;
}

int main(int argc, char **argv)
{
  struct options options = { .rate = 200, .seconds = 10 };
  const char *role = argc > 1 ? argv[1] : "";
  bool ok = argc > 1 && read_options(argc - 1, argv + 1, &options);
  bool listens = options.port > 0 && options.port < 65536;
  if (ok && strcmp(role, "inventory") == 0 && listens && !options.version) {
    options.version = "inventory";
    return backend_run(&options);
  }
  if (ok && strcmp(role, "payments") == 0 && listens && options.version) return backend_run(&options);
  if (ok && strcmp(role, "gateway") == 0 && listens && options.project && options.payments && options.inventory)
    return gateway_run(&options);
  if (ok && strcmp(role, "load") == 0 && options.target) return load_run(&options);
  bool overload = strcmp(role, "overload") == 0 || strcmp(role, "--overload") == 0;
  if (ok && overload && options.seconds > 0 && options.seconds <= 600) return overload_run(&options);
  fputs(usage, stderr);
  return 2;
}
