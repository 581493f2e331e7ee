local nines = require "nines"

local function titles(list)
  local out = {}
  for i, item in ipairs(list) do out[i] = item.title end
  return out
end

describe("payments", function()
  it("rolls back a bad deploy within a minute, and pages nobody", function()
    local world = nines.world { policies = { "spec/lua/policies/payments.lua" }, seed = 1 }
    world:traffic("payment_processing", { rps = 200, success = 99.95, latency = "120ms" })
    world:advance("10m")
    world:deploy("payment-service", "v2.3.1", { success = 90 })   -- this version fails one request in ten
    assert.is_true(world:advance_until("1m", function() return world:service("payment-service").version ~= "v2.3.1" end))
    world:advance("10m")
    assert.same({}, world.pages)
    assert.equal(1, #world:events("critical_path.recovered"))
    assert.same({ "rolled back v2.3.1, payments recovered" }, titles(world.notifications))
  end)

  it("pages when there is no deploy to undo, and says so when it is over", function()
    local world = nines.world { policies = { "spec/lua/policies/payments.lua" }, seed = 1 }
    world:traffic("payment_processing", { rps = 200, success = 99.95, latency = "120ms" })
    world:advance("20m")
    assert.same({}, world.pages)
    world:traffic("payment_processing", { success = 50 })
    assert.is_true(world:advance_until("5s", function() return #world.pages == 1 end))
    assert.equal("P0", world.pages[1].severity)
    assert.equal("payment_processing", world.pages[1].labels.critical_path)
    assert.matches("payment_processing: success .*objective 99.9%%", world.pages[1].title)
    world:traffic("payment_processing", { success = 99.95 })
    world:advance("10m")
    assert.equal(1, #world.pages)
    assert.equal(1, #world.resolutions)
  end)

  it("notices that answers became slow", function()
    local world = nines.world { policies = { "spec/lua/policies/payments.lua" }, seed = 1 }
    world:traffic("payment_processing", { rps = 200, success = 99.95, latency = "120ms" })
    world:advance("10m")
    world:deploy("payment-service", "slow", { latency = "3s" })
    assert.is_true(world:advance_until("1m", function() return world:service("payment-service").version == "v0" end))
    world:advance("10m")
    assert.same({}, world.pages)
    assert.equal(1, #world.notifications)
  end)
end)

describe("a world", function()
  it("starts on a Monday and keeps to its grid", function()
    local world = nines.world {}
    assert.equal(1767571200, world:now())
    world:advance("30ms")
    assert.near(1767571200.05, world:now(), 1e-6)
    world:advance(1)
    assert.near(1767571201.05, world:now(), 1e-6)
  end)

  it("draws what it is asked for", function()
    local world = nines.world {}
    world:traffic("search", { rps = 200, success = 99, latency = "100ms" })
    world:advance("5m")
    local path = world:path "search"
    assert.near(58500, path.requests, 2500)   -- the window's edge moves in steps of ten seconds
    assert.near(99, path.success_rate, 0.2)
    assert.near(0.1, path.p50, 0.01)
    assert.near(0.1 * 1.25 ^ 1.645, path.p95, 0.02)
  end)

  it("gives exactly the latency without jitter, and none without a latency", function()
    local world = nines.world {}
    world:traffic("exact", { rps = 50, latency = "100ms", jitter = "0ms" })
    world:traffic("untimed", { rps = 50 })
    world:advance("1m")
    assert.near(0.1, world:path("exact").p99, 0.004)
    assert.is_nil(world:path("untimed").p50)
  end)

  it("deploys, and says why it did not", function()
    local world = nines.world { services = { web = "v1" } }
    assert.equal("v1", world:service("web").version)
    assert.equal("v2", world:deploy("web", "v2").version)
    assert.equal("v2", world:service("web").version)
    assert.equal("v2", world:service("web").believed)
    world:deploy("web", "v3", { fails = true })
    assert.equal("v2", world:service("web").version)
    assert.equal("v2", world:service("web").believed)
    local status, rolled = world:call("rollback", { service = "web", reason = "no good" })
    assert.equal(200, status)
    assert.equal("v1", rolled.version)
    world:advance("1s")
    assert.equal("v1", world:service("web").version)
    local none, why = world:deploy("web", "")
    assert.is_nil(none)
    assert.matches("version", why)
    assert.equal(404, (world:call("nonsense", {})))
  end)

  it("raises a programmer's mistakes with their place", function()
    local function fails(pattern, fn)
      local ok, why = pcall(fn)
      assert.is_false(ok)
      assert.matches(pattern, why)
    end
    fails("world_spec.lua:%d+: .*polices.*policies", function() nines.world { polices = {} } end)
    fails("nowhere.lua", function() nines.world { policies = { "nowhere.lua" } } end)
    local world = nines.world {}
    fails("120ms", function() world:traffic("x", { latency = 120 }) end)
    fails("success", function() world:traffic("x", { success = 120 }) end)
    fails("world_spec.lua:%d+: world:advance", function() world:advance "soon" end)
    fails("pagse", function() return world.pagse end)
    fails("mine", function() world:advance_until("1m", function() error "mine" end) end)
    fails("nobody", function() world:service "nobody" end)
    world:close()
    fails("closed", function() world:advance(1) end)
  end)

  it("does not begin with a policy that is wrong", function()
    local temporary = os.tmpname()
    local name = temporary .. ".lua"
    local file = assert(io.open(name, "w"))
    file:write('critical_path "checkout" { success_rate = 99 }\non("critical_path.breached", function() burn_rate() end)\n')
    file:close()
    local ok, why = pcall(nines.world, { policies = { name } })
    os.remove(name)
    os.remove(temporary)
    assert.is_false(ok)
    assert.matches(":2: .*burn_rate", why)
  end)

  it("skips what is idle", function()
    local world = nines.world { policies = { "spec/lua/policies/payments.lua" } }
    local before = os.clock()
    world:advance("30d")
    assert.is_true(os.clock() - before < 60)
  end)
end)

describe("the module", function()
  it("knows durations and its version", function()
    assert.equal(5400, nines.duration "1h30m")
    assert.equal(300, nines.duration "5min")
    assert.equal(0.25, nines.duration "250ms")
    assert.error(function() nines.duration "x" end)
    assert.matches("^%d+%.%d+%.%d+$", nines.version)
  end)
end)
