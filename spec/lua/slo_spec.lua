-- SLOs: ratios of sums, burn alerts at the times that arithmetic predicts, budgets, quiet services.

local stage = require "stage"

local slo = [[
  local checkout = critical_path "checkout" { service = "shop", success_rate = 1, window = "5m" }
  slo "shop" { of = checkout, objective = 99.9, window = "30d" }
]]

local function world_of(policy) return stage.world(policy, { warm = "0s", beat = "1s" }) end

local function fails(world, share)
  world:traffic("checkout", { rps = 20, success = 100 - share })
end

-- The pages of this alert.
local function pages_of(world, name)
  local out = {}
  for _, page in ipairs(world.pages) do
    if page.labels.alertname == name then out[#out + 1] = page end
  end
  return out
end

-- Seconds from the beginning of an error ratio to the first alert of this name, after six good hours.
local function detected(ratio, name)
  local world = world_of(slo)
  fails(world, 0)
  world:advance("6h")
  fails(world, ratio)
  local began, seen = world:now(), nil
  world:advance_until("2h", function()
    for _, alert in ipairs(world:alerts()) do seen = seen or (alert.name == name and alert) end
    return seen
  end)
  return seen and world:now() - began
end

describe("an slo", function()
  it("burns as fast as the workbook says", function()
    -- window x factor x (1 - objective) / error ratio: 1h x 14.4 x 0.001 / e; the 1m buckets of an hour add one at most.
    assert.near(52, detected(100, "shop burning"), 8)
    assert.near(518, detected(10, "shop burning"), 61)
    assert.near(2592, detected(2, "shop burning"), 61)
  end)

  it("resets within the short window after an outage", function()
    local world = world_of(slo)
    fails(world, 100)
    world:advance("10m")
    assert.equal(1, #pages_of(world, "shop burning"))
    fails(world, 0)
    local ended = world:now()
    local function resolved()
      for _, letter in ipairs(world.resolutions) do
        if letter.labels.alertname == "shop burning" then return true end
      end
    end
    assert.is_true(world:advance_until("3h", resolved))
    -- of the slower pair, since the outage burned both: 30m x (1 - 6 x 0.001), less a bucket of 1m at most
    assert.near(1759, world:now() - ended, 31)
  end)

  it("pages once for an outage, and tickets once", function()
    local world = world_of(slo)
    fails(world, 0)
    world:advance("2h")
    fails(world, 100)
    world:advance("20m")
    fails(world, 0)
    world:advance("12h")
    assert.equal(1, #pages_of(world, "shop burning"))
    assert.equal(1, #pages_of(world, "shop smouldering"))
    assert.equal(1, #world:events "slo.exhausted")
  end)

  it("is never NaN and never pages on a quiet service", function()
    local world = world_of(slo .. [[
      every("1h", function()
        local s = slo "shop"
        for _, value in ipairs { s:success_rate(), s:burn("6h"), s:budget_left() } do
          if value ~= value then error("NaN") end
        end
        if s:budget_left() ~= nil then log.info("budget without traffic") end
      end)
    ]])
    world:traffic("checkout", { rps = 0 })
    world:advance("30d")
    assert.same({}, world.pages)
    assert.same({}, world:log("budget without traffic"))
    assert.same({}, world:log("NaN"))
  end)

  it("guards low traffic by a least number of bad ones", function()
    local world = world_of(slo)
    world:traffic("checkout", { rps = 0.01, success = 90 }) -- 36 an hour, one in ten bad
    world:advance("55m")
    assert.same({}, world.pages)
  end)

  it("counts series, and seconds of a condition", function()
    local world = world_of([[
      slo "queries" { total = "db_queries", bad = "db_failures", objective = 99, service = "db" }
      slo "queue lag" { measure = "queue_lag", better = "lower", target = 60, objective = 99 }
      slo "payouts" { objective = 99.9 }
      every("1m", function() slo "payouts":record(99, 1) end)
    ]])
    for i = 1, 120 do
      world:count("db_queries", 50)
      if i % 2 == 0 then world:count("db_failures", 1) end
      world:gauge("queue_lag", i <= 60 and 10 or 100)
      world:advance("10s")
    end
    local q = world:status().slos
    local by = {}
    for _, item in ipairs(q) do by[item.slo] = item end
    assert.near(99, by["queries"].success_rate, 0.01)
    assert.near(50, by["queue lag"].success_rate, 1)
    assert.near(99, by["payouts"].success_rate, 0.01)
  end)

  it("freezes deployments while its budget is spent", function()
    local world = world_of([[
      local checkout = critical_path "checkout" { service = "shop", success_rate = 1 }
      slo "shop" { of = checkout, objective = 99.9, freeze_deploys = true }
    ]])
    fails(world, 100)
    world:advance("5m")
    local deployed, why = world:deploy("shop", "v2", {})
    assert.is_nil(deployed)
    assert.matches("the error budget of slo \"shop\" is spent", why)
  end)

  it("refuses what can never fire, and what is no source", function()
    local function refused(text, pattern)
      local ok, why = pcall(world_of, text)
      assert.is_false(ok)
      assert.matches(pattern, why)
    end
    refused([[ slo "x" { objective = 90 } ]], "policy.lua:1: slo \"x\": the burn alert over 1h can never fire")
    refused([[ slo "x" { objective = 99, total = "a" } ]], "counters are `total` and one of")
    refused([[ slo "x" { objective = 99, measure = "a", when = "b > 1" } ]], "several sources")
    refused([[ slo "x" { objective = 99, burns = { { over = "1h", factor = 200 } } } ]], "can never fire")
  end)

  it("goes on after a crash as if nothing had been", function()
    local world = world_of(slo)
    fails(world, 0)
    world:advance("30m")
    fails(world, 10)
    world:advance("4m")
    world:crash()
    local began = world:now() - 240
    assert.is_true(world:advance_until("20m", function() return #world.pages > 0 end))
    assert.near(260, world:now() - began, 60)
  end)
end)
