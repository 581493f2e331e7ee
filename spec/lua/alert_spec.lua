local stage = require "stage"

local function paged_within(world, span)
  return world:advance_until(span, function() return #world.pages > 0 end)
end

describe("a breach", function()
  it("pages at once without a handler", function()
    local world = stage.world(stage.path)
    stage.breaks(world)
    assert.is_true(paged_within(world, "3s"))
    assert.equal("no handler", world:alerts()[1].why_paged)
  end)

  it("holds the page while a handler tries, and sends none when it mends it", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function() if checkout:recovers_within("5m") then log.info("mended") end end)
    ]])
    stage.breaks(world)
    world:advance("60s")
    assert.equal("held", world:alerts()[1].state)
    stage.mends(world)
    world:advance("10m")
    assert.same({}, world.pages)
    assert.equal("resolved", world:alerts()[1].state)
  end)

  it("pages when the hold is over, however long the handler waits", function()
    local world = stage.world(stage.path .. [[ checkout:on("breached", function() sleep("30d") end) ]])
    stage.breaks(world)
    assert.is_true(world:advance_until("3s", function() return #world:events "critical_path.breached" > 0 end))
    local began = world:now()
    assert.is_true(paged_within(world, "3m"))
    assert.near(120, world:now() - began, 0.5)
    assert.equal("the hold is over", world:alerts()[1].why_paged)
  end)

  it("pages when the handler errs", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function() sleep("5s") local nothing = nil; return nothing.here end)
    ]])
    stage.breaks(world)
    assert.is_true(paged_within(world, "10s"))
    assert.matches("policy.lua failed: .*policy.lua:4", world:alerts()[1].why_paged)
  end)

  it("pages when the handler is killed", function()
    local world = stage.world(stage.path .. [[ checkout:on("breached", function() while true do end end) ]])
    stage.breaks(world)
    assert.is_true(paged_within(world, "5s"))
    assert.matches("was killed", world:alerts()[1].why_paged)
  end)

  it("pages when the handler eats all memory", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function() local t = {} for i = 1, 1e9 do t[i] = { i } end end)
    ]])
    stage.breaks(world)
    assert.is_true(paged_within(world, "5s"))
    assert.matches("was killed", world:alerts()[1].why_paged)
  end)

  it("pages once an episode, and once more for the next", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function(breach)
        page { about = checkout, title = breach.summary }
        page { about = checkout, title = "again" }
      end)
    ]])
    stage.breaks(world)
    world:advance("20m")
    assert.equal(1, #world.pages)
    stage.mends(world)
    world:advance("20m")
    assert.equal(1, #world.resolutions)
    stage.breaks(world)
    world:advance("20m")
    assert.equal(2, #world.pages)
    assert.same({ "policy policy.lua", "policy policy.lua" }, stage.each(world:alerts(), "why_paged"))
    assert.same(world.pages[1].labels, world.pages[2].labels)
  end)

  it("is resolved to whoever was paged, and to nobody else", function()
    local world = stage.world(stage.path)
    stage.breaks(world)
    world:advance("1m")
    stage.mends(world)
    world:advance("10m")
    assert.equal(1, #world.pages)
    assert.equal(1, #world.resolutions)
    assert.equal(world.pages[1].alert, world.resolutions[1].alert)
    assert.same(world.pages[1].labels, world.resolutions[1].labels)
  end)

  it("is not over because nobody comes any more", function()
    local world = stage.world(stage.path)
    stage.breaks(world)
    world:advance("1m")
    world:traffic("checkout", { rps = 0 })
    world:advance("2h")
    assert.equal(0, #world.resolutions)
    assert.equal("breached", world:path("checkout").state)
  end)

  it("is delivered when the receiver is back, before its resolution", function()
    local world = stage.world(stage.path)
    world:reply("deliver", "world", { error = "connection refused", times = 6 })
    stage.breaks(world)
    world:advance("20s")
    assert.same({}, world.pages)
    stage.mends(world)
    world:advance("10m")
    assert.equal(1, #world.pages)
    assert.equal(1, #world.resolutions)
    assert.is_true(world.pages[1].at <= world.resolutions[1].at)
  end)

  it("is acknowledged by a person, once", function()
    local world = stage.world(stage.path)
    stage.breaks(world)
    world:advance("10s")
    local id = world:alerts()[1].id
    assert.equal(200, (world:call("alert.ack", { id = id, actor = "person:ann" })))
    assert.equal(409, (world:call("alert.ack", { id = id, actor = "person:bob" })))
    assert.equal(404, (world:call("alert.ack", { id = "a999", actor = "person:bob" })))
    assert.equal("person:ann", world:alerts()[1].acked_by)
  end)

  it("pages also when nothing can be stored, and acknowledges nothing then", function()
    local world = stage.world(stage.path)
    world:store_fail(true)
    stage.breaks(world)
    assert.is_true(paged_within(world, "5s"))
    assert.equal(503, (world:call("alert.ack", { id = world:alerts()[1].id, actor = "person:ann" })))
    world:store_fail(false)
    world:advance("10s")
    world:crash()
    world:advance("10s")
    assert.equal(1, #world.pages)
  end)
end)

describe("a crash", function()
  local policy = stage.path .. [[
    checkout:on("breached", function(breach)
      local deploy = checkout.service:deployed_within("15m")
      if deploy and deploy:rollback(breach.summary) and checkout:recovers_within("3m") then
        return notify { title = "rolled back " .. deploy.version }
      end
      page { about = checkout, title = breach.summary }
    end)
  ]]

  local function story(at_ms, seed, takes)
    local world = stage.world(policy, { seed = seed, warm = "6m" })
    world:deploy("shop", "bad", { success = 50, takes = takes })
    world:advance(at_ms / 1000)
    world:crash()
    world:advance("12m")
    return world
  end

  -- Beats of 50 ms from the deployment on: detection, journal entry, command, new version, recovery, notification.
  for at_ms = 0, 1500, 50 do
    it(("%d ms after a bad deployment rolls it back once, or pages"):format(at_ms), function()
      for seed = 1, 3 do
        local world = story(at_ms, seed)
        local rollbacks = 0
        for _, command in ipairs(world.commands) do rollbacks = rollbacks + (command.version == "v0" and 1 or 0) end
        assert.equal(world:service("shop").version, world:service("shop").believed)
        if rollbacks == 0 then   -- killed between the journal and the command: the probe says no, and a human is told
          assert.equal(1, #world.pages, "seed " .. seed)
        else
          assert.equal(1, rollbacks, "seed " .. seed)
          assert.equal("v0", world:service("shop").version)
          assert.same({}, world.pages, "seed " .. seed)
          assert.equal("healthy", world:path("checkout").state)
          assert.equal(1, #world.notifications, "seed " .. seed)
        end
      end
    end)
  end

  it("while the deploy command of the rollback runs neither loses nor repeats it", function()
    for _, crash_at in ipairs { 2, 5, 20, 40 } do
      local world = stage.world(policy, { seed = 9, warm = "6m" })
      world:deploy("shop", "v1", { takes = "30s" })
      world:advance("10m")
      world:deploy("shop", "v2", { success = 50 })
      world:advance(crash_at)
      world:crash("3s")
      world:advance("12m")
      assert.same({ "v1", "v2", "v1" }, stage.each(world.commands, "version"))
      assert.equal("v1", world:service("shop").version)
      assert.same({}, world.pages)
    end
  end)

  it("keeps the hold of a page", function()
    local world = stage.world(stage.path .. [[ checkout:on("breached", function() sleep("30d") end) ]])
    stage.breaks(world)
    world:advance("60s")
    for _ = 1, 5 do
      world:crash("1s")
      world:advance("5s")
    end
    assert.same({}, world.pages)
    world:advance("35s")
    assert.equal(1, #world.pages)
    world:crash("10s")
    world:advance("5m")
    assert.equal(1, #world.pages)
  end)

  it("resolves what recovered meanwhile", function()
    local world = stage.world(stage.path)
    stage.breaks(world)
    world:advance("30s")
    assert.equal(1, #world.pages)
    stage.mends(world)
    world:crash("1m")
    world:advance("5m")
    assert.equal(1, #world.pages)
    assert.equal(1, #world.resolutions)
  end)
end)

describe("a rollback", function()
  it("that fails leads to a page", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function(breach)
        local ok, why = checkout.service:rollback(breach.summary)
        if not ok then page { about = checkout, title = "cannot roll back: " .. why } end
      end)
    ]])
    world:deploy("shop", "v1", { success = 50 })
    world:reply("exec", "deploy*", { status = 3, output = "no such image" })
    world:advance("1m")
    assert.equal(1, #world.pages)
    assert.matches("cannot roll back: .*no such image", world.pages[1].title)
    assert.equal("v1", world:service("shop").believed)
  end)

  it("is done once an episode, also when two policies ask", function()
    local text = [[
      local checkout = critical_path "checkout"
      checkout:on("breached", function(breach)
        if not checkout.service:rollback(breach.summary) then page "it failed" end
      end)
    ]]
    local world = stage.world { ["a.lua"] = stage.path, ["b.lua"] = text, ["c.lua"] = text }
    world:deploy("shop", "v1", { success = 50 })
    world:advance("10m")
    assert.same({ "v1", "v0" }, stage.each(world.commands, "version"))
    assert.same({}, world.pages)
  end)
end)
