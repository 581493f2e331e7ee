-- What the specs share: worlds with a policy given as text, and the story of one outage.
local nines = require "nines"

local stage = {}

stage.path = [[
local checkout = critical_path "checkout" {
  service = "shop", success_rate = 99.9, window = "5m", severity = "P0", page_after = "2m",
}
]]

-- A world with these policy texts by name, and healthy users on "checkout" for ten minutes.
function stage.world(texts, options)
  options = options or {}
  options.seed = options.seed or 1
  local warm = options.warm or "10m"
  options.warm = nil
  local world = nines.world(options)
  if type(texts) == "string" then texts = { ["policy.lua"] = texts } end
  local names = {}
  for name in pairs(texts) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do assert(world:load { name = name, text = texts[name] }) end
  world:traffic("checkout", { rps = 100, success = 99.99, latency = "80ms" })
  world:advance(warm)
  return world
end

function stage.breaks(world, success) world:traffic("checkout", { success = success or 50 }) end
function stage.mends(world) world:traffic("checkout", { success = 99.99 }) end

function stage.each(list, field)
  local out = {}
  for i, item in ipairs(list) do out[i] = item[field] end
  return out
end

return stage
