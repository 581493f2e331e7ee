-- False pages: healthy traffic for a long time. 200 requests a second with 0.05 % errors against an objective of 99.9 %
-- over five minutes, judged at every beat of 50 ms, and the same with latencies close to their limit.
--
--   LUA_CPATH="build/?.so" lua5.4 spec/bench/bench_false_pages.lua [hours [seed]]
-- Exits with 1 when there was a page.
local nines = require "nines"

local hours = tonumber(arg[1] or 1000)
local seed = tonumber(arg[2] or 1)

local world = nines.world { seed = seed }
assert(world:load { name = "paths.lua", text = [[
critical_path "payment_processing" { success_rate = 99.9, latency_p95 = "2s", window = "5m", severity = "P0" }
]] })
-- p95 of this traffic is 1.93 s: 4.4 % of the answers are slower than 2 s, 5 % may be.
world:traffic("payment_processing", { rps = 200, success = 99.95, latency = "1s", jitter = "490ms" })

local started = os.clock()
world:advance(hours * 3600)
local spent = os.clock() - started
print(("seed %d: %d simulated hours, %d beats, %.1f s (%.2f us a beat)")
  :format(seed, hours, hours * 72000, spent, spent / (hours * 72000) * 1e6))
print(("breaches %d, pages %d"):format(#world:events "critical_path.breached", #world.pages))
os.exit(#world.pages == 0 and 0 or 1)
