-- What an evaluation of an alert costs: 10,000 alerts over 1,000 paths at one evaluation a second, threshold and multi-window
-- burn, beside the same world without alerts.
local nines = require "nines"

local PATHS, EACH, SECONDS = 1000, 10, 120

local function world_with(alert)
  local world = nines.world { seed = 1, beat = "1s" }
  for file = 1, PATHS / 50 do
    local text = {}
    for i = 1, 50 do
      local path = ("p%d_%d"):format(file, i)
      text[#text + 1] = ("critical_path %q { success_rate = 99.9 }"):format(path)
      for k = 1, alert and EACH or 0 do
        text[#text + 1] = ("alert %q { on = critical_path %q, when = %q }"):format(path .. " " .. k, path, alert)
      end
    end
    assert(world:load { name = ("f%02d.lua"):format(file), text = table.concat(text, "\n") })
  end
  for file = 1, PATHS / 50 do
    for i = 1, 50 do world:traffic(("p%d_%d"):format(file, i), { rps = 1, success = 100 }) end
  end
  world:advance("10s")
  for file = 1, PATHS / 50 do
    for i = 1, 50 do world:traffic(("p%d_%d"):format(file, i), { rps = 0 }) end
  end
  return world
end

local function seconds_of(alert)
  local world = world_with(alert)
  local began = os.clock()
  world:advance(SECONDS .. "s")
  local spent = os.clock() - began
  world:close()
  return spent
end

local idle = seconds_of(nil)
for _, case in ipairs { { "threshold", "error_rate(1m) > 5" }, { "multi-window burn", "burn(1h) > 14.4 and burn(5m) > 14.4" },
  { "burn, both windows read", "burn(1h) >= 0 and burn(5m) > 14.4" }, { "latency", "p95 > 500ms" } } do
  local spent = seconds_of(case[2]) - idle
  print(("%-26s %6.0f ns an evaluation; %d alerts once a second: %.2f %% of a core"):format(case[1],
    spent / (PATHS * EACH * SECONDS) * 1e9, PATHS * EACH, spent / SECONDS * 100))
end
