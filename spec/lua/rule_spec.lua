-- Alerts by rule: pending, firing, resolved; held, restored, untouched by reloads.

local stage = require "stage"

local slow = [[
  alert "checkout fails" { on = checkout, when = "error_rate(1m) > 5 for 2m", severity = "P0",
    message = "{{ error_rate(1m) }} of {{ requests(1m) }} failed on {{ object }} of {{ service }}",
    labels = { team = "shop" }, runbook = "runbooks/checkout.md" }
]]

-- A path that such failures do not breach, so that only rules speak.
local path = [[
  local checkout = critical_path "checkout" { service = "shop", success_rate = 1, window = "5m", windows = { "1m" } }
]]

local function world_of(rules) return stage.world(path .. rules, { warm = "0s" }) end

local function alert_of(world, name)
  for _, alert in ipairs(world:alerts()) do
    if alert.name == name and alert.state ~= "resolved" then return alert end
  end
end

local function fails(world, share)
  world:traffic("checkout", { rps = 50, success = 100 - share })
end

describe("an alert", function()
  it("fires when its condition has held for its time, not before, and pages once", function()
    local world = world_of(slow)
    fails(world, 0)
    world:advance("5m")
    fails(world, 50)
    local began = world:now()
    assert.is_true(world:advance_until("10m", function() return #world.pages > 0 end))
    assert.near(120 + 7, world:now() - began, 6) -- 1m window: over 5 % after some 6 s
    local page = world.pages[1]
    assert.equal("P0", page.severity)
    assert.matches("^checkout fails on checkout: [%d.]+%% of %d+ failed on checkout of shop$", page.title)
    assert.same({ alertname = "checkout fails", severity = "P0", service = "shop", critical_path = "checkout", team = "shop" },
      page.labels)
    world:advance("10m")
    assert.equal(1, #world.pages)
  end)

  it("resolves, and tells whoever was paged", function()
    local world = world_of(slow)
    fails(world, 50)
    world:advance("5m")
    fails(world, 0)
    world:advance("5m")
    assert.equal(1, #world.resolutions)
    assert.is_nil(alert_of(world, "checkout fails"))
  end)

  it("never fires from no data unless asked", function()
    local world = world_of([[
      alert "silent" { on = checkout, when = "success_rate(1m) < 99" }
      alert "noticed" { on = checkout, when = "success_rate(1m) < 99 for 5m", no_data = "alert" }
    ]])
    world:traffic("checkout", { rps = 0 })
    world:advance("4m")
    assert.same({}, world.pages)
    world:advance("2m")
    assert.equal(1, #world.pages)
    assert.equal("noticed", world.pages[1].labels.alertname)
    assert.matches("noticed on checkout: success_rate", world.pages[1].title)
  end)

  it("says no data where a number is missing, and pages all the same", function()
    local world = world_of([[ alert "odd" { when = "checkout.requests(1m) == 0 for 1m", message = "lag is {{ queue_lag }}" } ]])
    world:traffic("checkout", { rps = 0 })
    world:advance("3m")
    assert.equal("odd: lag is no data", world.pages[1].title)
  end)

  it("keeps its timers through reloads, restarts and crashes", function()
    for _, disturb in ipairs { "none", "reload", "crash" } do
      local world = world_of(slow)
      fails(world, 50)
      local began = world:now()
      world:advance("1m30s")
      if disturb == "crash" then world:crash() end
      if disturb == "reload" then assert(world:load { name = "policy.lua", text = path .. slow .. " -- touched" }) end
      assert.is_true(world:advance_until("2m", function() return #world.pages > 0 end), disturb)
      assert.near(121, world:now() - began, 3, disturb)
    end
  end)

  it("lets a handler mend it first", function()
    local world = world_of(slow .. [[
      alert "checkout fails":on("firing", function() sleep("30s") page { title = "we tried" } end)
    ]])
    fails(world, 50)
    world:advance("2m20s")
    assert.same({}, world.pages)
    world:advance("30s")
    assert.equal("we tried", world.pages[1].title)
    assert.equal("policy policy.lua", alert_of(world, "checkout fails").why_paged)
  end)

  it("watches every critical path when it names none", function()
    local world = world_of([[
      critical_path "search" { success_rate = 1, windows = { "1m" } }
      alert "failing" { when = "error_rate(1m) > 5 for 30s" }
    ]])
    fails(world, 50)
    world:traffic("search", { rps = 50, success = 50 })
    world:advance("2m")
    local objects = stage.each(world:alerts(), "object")
    table.sort(objects)
    assert.same({ "checkout", "search" }, objects)
  end)

  it("knows since when", function()
    local world = world_of(slow)
    fails(world, 0)
    world:advance("5m")
    fails(world, 50)
    world:advance("5m")
    assert.is_string(alert_of(world, "checkout fails").evidence)
  end)

  it("refuses what cannot be, with its place", function()
    local function refused(rules, pattern)
      local ok, why = pcall(world_of, rules)
      assert.is_false(ok)
      assert.matches(pattern, why)
    end
    refused([[ alert "x" { when = "p95(3m) > 1s", on = checkout } ]],
      "policy.lua:%d+: alert \"x\": when: column 1: p95 over 3m is not kept")
    refused([[ alert "x" { when = "burn(1h) > 2", on = checkout } ]], "can never be true")
    refused([[ alert "x" { when = "error_rate > 1", labels = { severity = "P0" } } ]],
      "labels.severity: that label is the engine's own")
    refused([[ alert "x" { when = "error_rate > 1", message = "{{ 1 + }}" } ]], "is not a field")
  end)
end)
