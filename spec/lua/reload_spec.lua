local stage = require "stage"

describe("a reload", function()
  it("that fails leaves the old policy at work, and says why", function()
    local world = stage.world(stage.path .. [[ every("1m", function() log.info "old" end) ]])
    local ok, why = world:load { name = "policy.lua", text = "every(\"1m\", function() log.info 'new' end" }
    assert.is_nil(ok)
    assert.matches("policy.lua:1: ", why)
    local before = #world:log()
    world:advance("3m")
    assert.is_true(#world:log() >= before + 2)
    assert.equal(1, #world:events "policy.rejected")
  end)

  it("whose broken edit is undone has nothing to complain about", function()
    local world = stage.world(stage.path)
    assert.is_nil((world:load { name = "policy.lua", text = stage.path .. " if then" }))
    assert.matches("policy.lua:", world:status().policies[1].error)
    world:load { name = "policy.lua", text = stage.path }
    assert.is_nil(world:status().policies[1].error)
  end)

  it("refuses unknown names, also inside functions, and says which was meant", function()
    local world = stage.world(stage.path)
    local ok, why = world:load { name = "b.lua", text = "local x = critical_path \"chekout\"\nevery(60, function() end)" }
    assert.is_nil(ok)
    assert.matches('did you mean "?checkout', why)
    ok, why = world:load { name = "c.lua", text = "every(60, function()\n  notfy 'x'\nend)" }
    assert.is_nil(ok)
    assert.matches("c.lua:2: .*notify", why)
  end)

  it("refuses a second declaration", function()
    local world = stage.world(stage.path)
    local ok, why = world:load { name = "b.lua", text = 'critical_path "checkout" { success_rate = 99 }' }
    assert.is_nil(ok)
    assert.matches("policy.lua", why)
  end)

  it("keeps windows and episodes, and takes new settings at once", function()
    local world = stage.world(stage.path)
    world:traffic("checkout", { success = 99.92 })
    world:advance("5m")
    assert.equal("healthy", world:path("checkout").state)
    local before = world:path("checkout").requests
    assert.is_true(world:load { name = "policy.lua", text = stage.path:gsub("99.9,", "99.999,") })
    assert.equal(before, world:path("checkout").requests)
    assert.near(99.999, world:path("checkout").objective, 1e-9)
    world:advance("10s")
    assert.equal("breached", world:path("checkout").state)
  end)

  it("runs a handler again that it has cut off, and loses no page", function()
    local text = stage.path .. [[ checkout:on("breached", function() log.info "begun" sleep("1d") end) ]]
    local world = stage.world(text)
    stage.breaks(world)
    world:advance("1m")
    assert.is_true(world:load { name = "policy.lua", text = text .. "-- edited" })
    world:advance("30s")
    assert.same({}, world.pages)
    local begun = 0
    for _, line in ipairs(world:log()) do begun = begun + (line.text:find "begun" and 1 or 0) end
    assert.equal(2, begun)
    world:advance("1m")
    assert.equal(1, #world.pages)
  end)

  it("that removes a path resolves its alert", function()
    local world = stage.world { ["a.lua"] = stage.path, ["b.lua"] = 'critical_path "search" { success_rate = 99 }' }
    stage.breaks(world)
    world:advance("1m")
    assert.equal(1, #world.pages)
    assert.is_true(world:load { name = "a.lua", gone = true })
    world:advance("1m")
    assert.equal(1, #world.resolutions)
  end)

  it("of the same text does nothing", function()
    local world = stage.world(stage.path)
    local loaded = #world:events "policy.loaded"
    assert.is_true(world:load { name = "policy.lua", text = stage.path })
    assert.equal(loaded, #world:events "policy.loaded")
  end)

  it("brings a policy back that three kills have disabled", function()
    local world = stage.world [[ every("10s", function() while true do end end) ]]
    world:advance("5m")
    assert.equal(3, #world:events "policy.killed")
    assert.equal(1, #world:events "policy.disabled")
    assert.is_true(world:load { name = "policy.lua", text = [[ every("10s", function() log.info "calm" end) ]] })
    local before = #world:log()
    world:advance("1m")
    assert.is_true(#world:log() > before + 4)
  end)
end)
