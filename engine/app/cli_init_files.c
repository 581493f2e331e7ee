// The starter project, as `nines init` writes it.

#include "cli_init.h"

#include <stddef.h>

// clang-format off
const struct init_file init_files[] = {
  { "nines.yaml", false,
    "# nines.yaml: what this project is. `nines check` finds mistakes, `nines run` runs it; while it runs, changes to this\n"
    "# file and to the policies are taken up by themselves, unless they are wrong.\n"
    "\n"
    "listen: 127.0.0.1:9999        # HTTP: the API and /metrics, for this machine only\n"
    "statsd: 127.0.0.1:8125        # StatsD and DogStatsD over UDP\n"
    "data: ./nines-data            # journal, recording, and the socket by which `nines status` finds the engine\n"
    "mode: act                     # act, or observe: record what would have been done, do nothing\n"
    "policies: [policies]          # *.lua\n"
    "\n"
    "services:\n"
    "  example-service:\n"
    "    tier: critical\n"
    "    deploy:                   # what the scripts are given is told in deploy.sh\n"
    "      command: [\"./deploy.sh\"]\n"
    "      current: [\"./current-version.sh\"]\n"
    "      timeout: 5m\n"
    "\n"
    "notify:                       # who is told, and how\n"
    "  local: { command: [\"./notify.sh\"] }\n"
    "  # am:   { alertmanager: { url: \"http://localhost:9093\" } }\n"
    "  # hook: { webhook: { url: \"https://example.com/hook\", secret: \"${HOOK_SECRET}\" } }\n"
    "\n"
    "routes:                       # first match wins\n"
    "  - { to: [local] }\n"
    "  # - { severity: P0, to: [am, hook] }\n"
  },
  { "policies/example.lua", false,
    "--- Checkout: notice within seconds, undo the last deploy, page only when that did not help.\n"
    "local checkout = critical_path \"checkout\" {\n"
    "  service = \"example-service\", success_rate = 99.9, window = \"5m\",\n"
    "  severity = \"P0\", runbook = \"runbooks/checkout.md\",\n"
    "}\n"
    "\n"
    "checkout:on(\"breached\", function(breach)\n"
    "  local deploy = checkout.service:deployed_within(\"15m\")\n"
    "  if deploy and deploy:rollback(breach.summary) and checkout:recovers_within(\"2m\") then return end\n"
    "  page { about = checkout, title = breach.summary }\n"
    "end)\n"
  },
  { "policies/example_spec.lua", false,
    "-- Run by `nines test`: the real engine in virtual time, hours in milliseconds.\n"
    "local nines = require \"nines\"\n"
    "\n"
    "describe(\"checkout\", function()\n"
    "  local function world_of_users()\n"
    "    local world = nines.world { policies = { \"policies/example.lua\" }, seed = 1 }\n"
    "    world:traffic(\"checkout\", { rps = 100, success = 99.98, latency = \"80ms\" })\n"
    "    world:advance(\"10m\")\n"
    "    return world\n"
    "  end\n"
    "\n"
    "  it(\"leaves healthy traffic alone\", function()\n"
    "    local world = world_of_users()\n"
    "    world:advance(\"1h\")\n"
    "    assert.same({}, world.pages)\n"
    "  end)\n"
    "\n"
    "  it(\"rolls back a bad deploy, and pages nobody\", function()\n"
    "    local world = world_of_users()\n"
    "    world:deploy(\"example-service\", \"v2\", { success = 90 }) -- this version fails one request in ten\n"
    "    assert.is_true(world:advance_until(\"1m\", function()\n"
    "      return world:service(\"example-service\").version ~= \"v2\"\n"
    "    end))\n"
    "    world:advance(\"10m\")\n"
    "    assert.same({}, world.pages)\n"
    "  end)\n"
    "end)\n"
  },
  { ".luacheckrc", false,
    "-- For luacheck and editors: the words of policies. Unknown names are underlined while typing.\n"
    "std = \"lua54\"\n"
    "max_line_length = 160\n"
    "read_globals = {\n"
    "  \"breaker\", \"limiter\", \"bulkhead\", \"adaptive_limit\", \"shedder\", \"retry\", \"timeout\", \"fallback\",\n"
    "  \"critical_path\", \"service\", \"flag\", \"page\", \"notify\", \"exec\", \"http\", \"log\",\n"
    "  \"on\", \"every\", \"at\", \"after\", \"sleep\", \"wait_for\", \"all\", \"spawn\", \"now\", \"each\", \"keep\", \"use\",\n"
    "  \"seconds\", \"minutes\", \"hours\", \"days\",\n"
    "}\n"
    "files[\"**/*_spec.lua\"] = { std = \"lua54+busted\" }\n"
  },
  { "runbooks/README.md", false,
    "# Runbooks\n"
    "\n"
    "One file for each critical path, named in its policy (`runbook = \"runbooks/checkout.md\"`). The link travels with every page, so write for\n"
    "somebody who was asleep a minute ago:\n"
    "\n"
    "1. What the users notice.\n"
    "2. Where to look first: dashboards, logs, `nines explain checkout`.\n"
    "3. What to do, as commands to copy: `nines rollback example-service`, `nines flag off NAME`.\n"
    "4. Whom to call when that does not help.\n"
  },
  { "deploy.sh", true,
    "#!/bin/sh\n"
    "# Called by the engine for `nines deploy` and for rollbacks, in this directory, with\n"
    "#   NINES_SERVICE  the service          NINES_TO      the version to run from now on\n"
    "#   NINES_FROM     what ran before      NINES_REASON  why, when it is a rollback\n"
    "# Exit 0 when the version runs. Replace the last lines by your own: helm upgrade, kubectl set image, rsync ...\n"
    "set -eu\n"
    "echo \"deploying $NINES_SERVICE: ${NINES_FROM:-nothing} -> $NINES_TO\"\n"
    "echo \"$NINES_TO\" > \".version-$NINES_SERVICE\"\n"
  },
  { "current-version.sh", true,
    "#!/bin/sh\n"
    "# Prints the version that really runs. The engine asks after a crash in the middle of a deploy, when nobody else knows.\n"
    "set -eu\n"
    "cat \".version-${NINES_SERVICE:-example-service}\" 2>/dev/null || echo v1\n"
  },
  { "notify.sh", true,
    "#!/bin/sh\n"
    "# Gets each page and notification as JSON on standard input. Exit 0: delivered; anything else: it is tried again.\n"
    "set -eu\n"
    "cat >> notifications.log\n"
    "echo >> notifications.log\n"
  },
  { NULL, false, NULL },
};
// clang-format on
