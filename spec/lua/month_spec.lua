-- The first days of the month: which alerts, when, after what time, how many pages; and that a crash or a reload changes nothing.
-- (All of it: spec/bench/bench_month.lua.)
local month = require "month"

local DAYS = 3

local function of(alerts, name)
  local out = {}
  for _, alert in ipairs(alerts) do
    if alert.name == name then out[#out + 1] = alert end
  end
  return out
end

describe("a month", function()
  local alerts, pages = month.run(DAYS)

  it("says nothing of what is quiet, steady, or has no data", function()
    for _, name in ipairs { "quiet breached", "quiet burning", "quiet smouldering", "steady breached", "steady burning",
      "steady smouldering", "stock" } do
      assert.same({}, of(alerts, name))
    end
  end)

  it("tells an outage after the time that the arithmetic predicts, and since when", function()
    local burning = of(alerts, "outage burning")
    assert.equal(1, #burning)
    assert.equal("P0", burning[1].severity)
    assert.near(52, (burning[1].opened - 24) * 3600, 2) -- 1h x 14.4 x 0.001
    assert.near(52, burning[1].detected, 2)
    assert.equal(1, #of(alerts, "outage breached"))
    assert.is_true((of(alerts, "outage breached")[1].opened - 24) * 3600 < 10)
  end)

  it("tells a regression of one in ten within nine minutes, and when it began", function()
    local burning = of(alerts, "regression burning")
    assert.equal(1, #burning)
    assert.near(518, (burning[1].opened - 40) * 3600, 61)
    assert.near((burning[1].opened - 40) * 3600, burning[1].detected, 30)
  end)

  it("tells a slow leak by a ticket, not by a page, and finds where it began", function()
    assert.same({}, of(alerts, "leak breached"))
    assert.same({}, of(alerts, "leak burning"))
    local ticket = of(alerts, "leak smouldering")
    assert.equal(1, #ticket)
    assert.equal("P2", ticket[1].severity)
    -- 72h x 1 x 0.001 / 0.004 is 18h on a full window; of the t + 30h there were: 0.004 t = 0.001 (t + 30), t = 10h.
    assert.near(10, ticket[1].opened - 30, 1)
    assert.near((ticket[1].opened - 30) * 3600, ticket[1].detected, 3600)
  end)

  it("makes one page of the flapping service's budget", function()
    assert.equal(1, #of(alerts, "flapping burning"))
    assert.equal(1, #of(alerts, "flapping smouldering"))
    assert.equal(#alerts, pages)
  end)

  for name, disturb in pairs {
    crash = function(world) world:crash() end,
    reload = function(world, policy) assert(world:load { name = "month.lua", text = policy .. "\n-- edited" }) end,
  } do
    it("is the same with a " .. name .. " in the middle", function()
      local again, pages_again = month.run(DAYS, disturb)
      assert.same(alerts, again)
      assert.equal(pages, pages_again)
    end)
  end
end)
