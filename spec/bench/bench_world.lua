-- How fast virtual time passes: 30 days of 50 policies that each have an every("10s") handler.
--
--   LUA_CPATH="build/?.so" lua5.4 spec/bench/bench_world.lua [days [policies]]
local nines = require "nines"

local days = tonumber(arg[1] or 30)
local policies = tonumber(arg[2] or 50)

local world = nines.world { seed = 1 }
for i = 1, policies do
  assert(world:load { name = ("p%d.lua"):format(i), text = 'local n = 0\nevery("10s", function() n = n + 1 end)' })
end
local started = os.clock()
world:advance(days * 86400)
local spent = os.clock() - started
local runs = days * 8640 * policies
print(("%d days of %d policies: %.2f s, %d handler runs, %.0f ns each"):format(days, policies, spent, runs, spent / runs * 1e9))
