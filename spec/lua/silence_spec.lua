-- Silences keep pages back, and hand them over at once when they end.

local stage = require "stage"

-- Status and document.
local function silence(world, minutes, matchers)
  local now = world:now()
  return world:call("silence.put", {
    matchers = matchers or { { name = "critical_path", value = "checkout", isRegex = false } },
    startsAt = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(now)),
    endsAt = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(now + minutes * 60)),
    createdBy = "ann", comment = "maintenance", actor = "person:ann",
  })
end

local function state(world) return world:alerts()[1] and world:alerts()[1].state end

describe("a silence", function()
  it("keeps the page back, and what still fires is paged when it ends", function()
    local world = stage.world(stage.path)
    assert.equal(200, (silence(world, 30)))
    local began = world:now()
    stage.breaks(world)
    world:advance("29m")
    assert.same({}, world.pages)
    assert.equal("silenced", state(world))
    assert.is_true(world:advance_until("2m", function() return #world.pages > 0 end))
    assert.near(30 * 60, world:now() - began, 1)
    assert.equal("the silence is over", world:alerts()[1].why_paged)
  end)

  it("says nothing of what is over before it ends", function()
    local world = stage.world(stage.path)
    assert.equal(200, (silence(world, 30)))
    stage.breaks(world)
    world:advance("5m")
    stage.mends(world)
    world:advance("1h")
    assert.same({}, world.pages)
    assert.same({}, world.resolutions)
  end)

  it("is handed over at once when it is expired by hand", function()
    local world = stage.world(stage.path)
    local _, made = silence(world, 600)
    stage.breaks(world)
    world:advance("5m")
    assert.equal(200, (world:call("silence.expire", { id = made.silenceID, actor = "person:ann" })))
    world:advance("1s")
    assert.equal(1, #world.pages)
  end)

  it("survives a crash, and ends in time after it", function()
    local world = stage.world(stage.path)
    assert.equal(200, (silence(world, 30)))
    stage.breaks(world)
    world:advance("10m")
    world:crash()
    world:advance("15m")
    assert.same({}, world.pages)
    world:advance("6m")
    assert.equal(1, #world.pages)
  end)

  it("covers only what all its matchers match", function()
    local world = stage.world(stage.path)
    assert.equal(200, (silence(world, 30, {
      { name = "critical_path", value = "check.*", isRegex = true }, { name = "severity", value = "P1" },
    })))
    stage.breaks(world)
    world:advance("1m")
    assert.equal(1, #world.pages)
  end)

  it("refuses what it cannot be", function()
    local world = stage.world(stage.path)
    local function refused(matchers, pattern)
      local status, document = silence(world, 30, matchers)
      assert.equal(422, status)
      assert.matches(pattern, document.detail)
    end
    refused({ { name = "team", value = ".*", isRegex = true } }, "must not match an empty label")
    refused({ { name = "team", value = "(", isRegex = true } }, "is not a regular expression")
    refused({ { name = "", value = "x" } }, "no label name")
  end)
end)
