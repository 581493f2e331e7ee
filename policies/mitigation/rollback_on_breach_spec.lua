local nines = require "nines"

local here = debug.getinfo(1, "S").source:match "^@(.*)rollback_on_breach_spec%.lua$"

local paths = [[
critical_path "checkout" { service = "shop", success_rate = 99.9, severity = "P0" }
critical_path "search" { success_rate = 99.5 }
]]

local function world(options)
  options = options or {}
  options.policies = { here .. "rollback_on_breach.lua" }
  options.services = { shop = "v1" }
  local it = nines.world(options)
  assert(it:load { name = "paths.lua", text = paths })
  it:traffic("checkout", { rps = 100, success = 99.99, latency = "80ms" })
  it:traffic("search", { rps = 100, success = 99.99, latency = "80ms" })
  it:advance("30m")
  return it
end

describe("rollback on breach", function()
  it("undoes a bad deployment and pages nobody", function()
    local it = world()
    it:deploy("shop", "v2", { success = 90 })
    assert.is_true(it:advance_until("30s", function() return it:service("shop").version == "v1" end))
    it:advance("10m")
    assert.same({}, it.pages)
    assert.equal("rolled back v2 of shop, checkout recovered", it.notifications[1].title)
    assert.equal(1, #it.notifications)
  end)

  it("pages at once when nothing was deployed lately", function()
    local it = world()
    it:deploy("shop", "v2")
    it:advance("20m")
    it:traffic("checkout", { success = 80 })
    assert.is_true(it:advance_until("10s", function() return #it.pages == 1 end))
    it:advance("10m")
    assert.equal("v2", it:service("shop").version)
    assert.equal(1, #it.pages)
  end)

  it("pages for a path without a service", function()
    local it = world()
    it:traffic("search", { success = 50 })
    assert.is_true(it:advance_until("10s", function() return #it.pages == 1 end))
    assert.equal("search", it.pages[1].labels.critical_path)
  end)

  it("pages when the rollback did not help, once", function()
    local it = world()
    it:traffic("checkout", { success = 80 })
    it:deploy("shop", "v2")
    it:advance("10m")
    assert.equal("v1", it:service("shop").version)
    assert.equal(2, #it.commands)
    assert.equal(1, #it.pages)
  end)

  it("pages when the rollback failed", function()
    local it = world()
    it:deploy("shop", "v2", { success = 90 })
    it:reply("exec", "deploy*", { status = 1, output = "registry is down" })
    it:advance("1m")
    assert.equal("v2", it:service("shop").version)
    assert.equal(1, #it.pages)
    assert.matches("could not roll back v2: .*registry is down", it.pages[1].text)
  end)

  it("does nothing but tell in observe mode", function()
    local it = world { observe = true }
    it:deploy("shop", "v2", { success = 90 })
    it:advance("10m")
    assert.equal("v2", it:service("shop").version)
    assert.same({}, it.pages)
    assert.equal("rollback", it:events("effect.observed")[1].effect)
  end)
end)
