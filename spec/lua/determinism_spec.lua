local nines = require "nines"

-- Noise of every kind: draws, waits, effects, failures, deployments.
local noise = [[
local checkout = critical_path "checkout" { service = "shop", success_rate = 99.9, latency_p95 = "300ms" }
local fancy = flag "fancy" { default = true }
local kept = keep { turns = 0 }
every("7s", function()
  kept.turns = kept.turns + 1
  fancy:set(math.random() < 0.9, "by chance")
  if math.random() < 0.01 then error "by chance" end
end)
every("5m", function()
  sleep(math.random() * 30)
  local reply = http.get("http://shop/health")
  if reply and math.random() < 0.2 then notify { title = "draw " .. math.random(100) } end
end)
checkout:on("breached", function(breach)
  sleep(math.random() * 60)
  local deploy = checkout.service:deployed_within("15m")
  if deploy and deploy:rollback(breach.summary) then checkout:recovers_within("2m") end
end)
]]

local function day(seed, piece, beat)
  local world = nines.world { seed = seed, beat = beat }
  assert(world:load { name = "noise.lua", text = noise })
  world:traffic("checkout", { rps = 50, success = 99.97, latency = "80ms" })
  for hour = 1, 24 do
    if hour % 5 == 0 then world:deploy("shop", "v" .. hour, { success = 98 }) end
    if hour % 7 == 0 then world:traffic("checkout", { success = hour == 7 and 60 or 99.97 }) end
    for _ = 1, 60 / piece do world:advance(piece * 60) end
  end
  return world:hash(), world
end

describe("a virtual day", function()
  it("has the same trace for the same seed", function()
    local first, world = day(42, 60)
    assert.equal(first, (day(42, 60)))
    assert.is_true(#world:events() > 300)
    assert.is_true(#world:events "critical_path.breached" >= 2)
  end)

  it("has another trace for another seed", function()
    assert.not_equal((day(42, 60, "1s")), (day(43, 60, "1s")))
  end)

  it("does not depend on how one walks through it", function()
    assert.equal((day(7, 60, "1s")), (day(7, 1, "1s")))
  end)
end)
