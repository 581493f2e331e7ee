local nines = require "nines"

local here = debug.getinfo(1, "S").source:match "^@(.*)critical_paths_spec%.lua$"

-- name, success rate in percent, limit of the 95th percentile, severity
local paths = {
  { "user_signup", 99.5, 0.5, "P0" },
  { "service_booking", 99.5, 1, "P0" },
  { "payment_processing", 99.9, 2, "P0" },
  { "order_confirmation", 99.0, 0.5, "P1" },
}

local function world(seed)
  local it = nines.world { policies = { here .. "critical_paths.lua" }, seed = seed }
  for _, path in ipairs(paths) do
    it:traffic(path[1], { rps = 40, success = 100 - (100 - path[2]) / 2, latency = path[3] * 0.4 .. "s" })
  end
  return it
end

describe("critical paths", function()
  it("are quiet while twice as good as they have to be", function()
    local it = world(1)
    it:advance("6h")
    assert.same({}, it.pages)
    for _, path in ipairs(paths) do assert.equal("healthy", it:path(path[1]).state) end
  end)

  for _, path in ipairs(paths) do
    it("page with " .. path[4] .. " when " .. path[1] .. " fails or is slow", function()
      for _, trouble in ipairs { { success = 60 }, { latency = path[3] * 2 .. "s" } } do
        local it = world(2)
        it:advance("10m")
        it:traffic(path[1], trouble)
        assert.is_true(it:advance_until("1m", function() return #it.pages > 0 end))
        it:advance("1m")
        assert.equal(1, #it.pages)
        assert.equal(path[4], it.pages[1].severity)
        assert.equal(path[1], it.pages[1].labels.critical_path)
        assert.equal("runbooks/" .. path[1] .. ".md", it.pages[1].annotations.runbook_url)
      end
    end)
  end
end)
