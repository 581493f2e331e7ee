local stage = require "stage"

local text = [[
local fancy = flag "fancy" { default = true }
local checkout = critical_path "checkout" { success_rate = 99.9 }
every("10s", function() fancy:set(not checkout:is "error_rate(1m) > 5", "too many errors") end)
]]

describe("a flag", function()
  it("follows its policy, and changes only when that changes its mind", function()
    local world = stage.world(text)
    assert.is_true(world:flag("fancy").on)
    assert.equal(0, #world:events "flag.changed")
    stage.breaks(world)
    world:advance("1m")
    assert.is_false(world:flag("fancy").on)
    assert.equal("too many errors", world:flag("fancy").reason)
    stage.mends(world)
    world:advance("5m")
    assert.is_true(world:flag("fancy").on)
    assert.equal(2, #world:events "flag.changed")
  end)

  it("stays as a person set it until a person lifts that", function()
    local world = stage.world(text)
    assert.equal(200, (world:call("flag.set", { flag = "fancy", on = false, actor = "person:ann", reason = "demo" })))
    world:advance("10m")
    assert.is_false(world:flag("fancy").on)
    assert.is_true(world:flag("fancy").by_person)
    world:crash()
    world:advance("1m")
    assert.is_false(world:flag("fancy").on)
    assert.equal(200, (world:call("flag.lift", { flag = "fancy", actor = "person:ann" })))
    world:advance("1m")
    assert.is_true(world:flag("fancy").on)
  end)

  it("survives a crash", function()
    local world = stage.world(text)
    stage.breaks(world)
    world:advance("1m")
    world:crash()
    assert.is_false(world:flag("fancy").on)
  end)

  it("that nobody declares is refused, with what was meant", function()
    local world = stage.world(text)
    local status, answer = world:call("flag.set", { flag = "fanci", on = false, actor = "person:ann" })
    assert.equal(404, status)
    assert.matches("fancy", answer.detail)
  end)
end)
