-- A month of six services, in virtual time: which alerts, when, how many pages.
local nines = require "nines"

local month = {}

local policy = [[
for _, name in ipairs { "quiet", "flapping", "leak", "outage", "regression", "steady" } do
  local path = critical_path(name) { service = name, success_rate = 99, window = "5m" }
  slo(name) { of = path, objective = 99.9 }
end
alert "stock" { when = "stock_level < 10 for 5m", severity = "P1" }                         -- a source that goes silent
]]
local paths = { "quiet", "flapping", "leak", "outage", "regression", "steady" }
local rate = { quiet = 0.002, flapping = 5, leak = 5, outage = 5, regression = 5, steady = 5 } -- requests a second

-- What happens, by hour of the month: what it is and what the table in the research says of it.
local function scenes(days)
  local last = days * 24
  local out = {
    { at = 0, run = function(world)
      for _, name in ipairs(paths) do world:traffic(name, { rps = rate[name], success = 100 }) end
      world:gauge("stock_level", 100)
    end },
    { at = 24, what = "outage: everything fails for 10 minutes", run = function(world) world:traffic("outage", { success = 0 }) end },
    { at = 24 + 1 / 6, run = function(world) world:traffic("outage", { success = 100 }) end },
    { at = 30, what = "leak: 0.4 % fail from now on", run = function(world) world:traffic("leak", { success = 99.6 }) end },
    { at = 40, what = "regression: 10 % fail for an hour", run = function(world) world:traffic("regression", { success = 90 }) end },
    { at = 41, run = function(world) world:traffic("regression", { success = 100 }) end },
    { at = last - 4, run = function(world) world:traffic("leak", { success = 100 }) end },
  }
  for i = 0, 23 do -- two minutes bad, three good, for two hours
    out[#out + 1] = { at = 50 + i / 12, what = i == 0 and "flapping: 2 of 5 minutes fail, for two hours" or nil,
      run = function(world) world:traffic("flapping", { success = 0 }) end }
    out[#out + 1] = { at = 50 + i / 12 + 1 / 30, run = function(world) world:traffic("flapping", { success = 100 }) end }
  end
  table.sort(out, function(a, b) return a.at < b.at end)
  return out
end

-- `disturb`(world, hour) may do something to the engine between two scenes. Returns the alerts in order, and the world's counts.
function month.run(days, disturb)
  local world = nines.world { seed = 7, beat = "1s" }
  assert(world:load { name = "month.lua", text = policy })
  local began, hour, silent = world:now(), 0, false
  local function advance_to(target)
    while hour < target - 1e-9 do
      local step = math.min(target - hour, 1 / 30)
      if hour < 60 then world:gauge("stock_level", 100) end -- then the source of the stock goes silent
      world:advance(("%dms"):format(math.floor(step * 3600000 + 0.5)))
      hour = hour + step
      if disturb and not silent and hour > 35 then
        silent = true
        disturb(world, policy)
      end
    end
  end
  for _, scene in ipairs(scenes(days)) do
    advance_to(scene.at)
    scene.run(world)
  end
  advance_to(days * 24)
  local alerts = {}
  for _, alert in ipairs(world:alerts()) do
    alerts[#alerts + 1] = {
      name = alert.name == "critical_path_breached" and alert.object .. " breached" or alert.name,
      opened = (alert.opened_ns - began * 1e9) / 3600e9,
      detected = alert.onset_ns and (alert.opened_ns - alert.onset_ns) / 1e9,
      open = alert.resolved_ns and (alert.resolved_ns - alert.opened_ns) / 60e9,
      severity = alert.severity, state = alert.state,
    }
  end
  table.sort(alerts, function(a, b)
    if a.opened ~= b.opened then return a.opened < b.opened end
    return a.name < b.name
  end)
  local pages = #world.pages
  world:close()
  return alerts, pages
end

return month
