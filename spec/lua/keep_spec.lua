local stage = require "stage"

local counter = [[
local kept = keep { count = 0, names = {}, first = false }
every("1m", function()
  kept.count = kept.count + 1
  kept.names["n" .. kept.count % 3] = kept.count
  kept.first = kept.first or now()
  log.info("count " .. kept.count)
end)
]]

local function last_count(world)
  local last
  for _, line in ipairs(world:log()) do last = line.text:match("count (%d+)") or last end
  return tonumber(last)
end

describe("keep", function()
  it("survives a reload", function()
    local world = stage.world(counter)
    local before = last_count(world)
    assert.is_true(world:load { name = "policy.lua", text = counter .. "-- edited\n" })
    world:advance("5m")
    assert.near(before + 5, last_count(world), 1)
    assert.is_true(last_count(world) > before)
  end)

  it("survives a crash, but for the turn under way", function()
    for seed = 1, 5 do
      local world = stage.world(counter, { seed = seed })
      local before = last_count(world)
      world:crash()
      world:advance("5m")
      assert.near(before + 5, last_count(world), 1)
    end
  end)

  it("takes new keys and changed types from the defaults", function()
    local world = stage.world(counter)
    assert.is_true(world:load { name = "policy.lua", text = [[
      local kept = keep { count = "none", more = 7, first = false }
      every("1m", function() log.info("kept " .. tostring(kept.count) .. " " .. kept.more) end)
    ]] })
    world:advance("2m")
    local seen = false
    for _, line in ipairs(world:log()) do seen = seen or line.text:find("kept none 7", 1, true) end
    assert.is_truthy(seen)
  end)
end)
