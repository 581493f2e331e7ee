local stage = require "stage"

describe("an effect", function()
  it("is done once in an episode, and its first outcome is returned again", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function()
        local first = exec { "./restart.sh", "web" }
        local second = exec { "./restart.sh", "web" }
        local other = exec { "./restart.sh", "db" }
        notify { title = first.output .. second.output .. other.output }
        notify { title = "the same words" }
        notify { title = "the same words" }
        sleep("1d")
      end)
    ]])
    world:reply("exec", "./restart.sh web", { output = "web " })
    world:reply("exec", "./restart.sh db", { output = "db" })
    stage.breaks(world)
    world:advance("1m")
    assert.same({ "./restart.sh web", "./restart.sh db" }, stage.each(world.commands, "command"))
    assert.same({ "web web db", "the same words" }, stage.each(world.notifications, "title"))
  end)

  it("is done again in the next episode", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function() exec { "./restart.sh" } checkout:recovers_within("1d") end)
    ]])
    for _ = 1, 2 do
      stage.breaks(world)
      world:advance("1m")
      stage.mends(world)
      world:advance("15m")
    end
    assert.equal(2, #world.commands)
  end)

  it("is done each time outside of episodes", function()
    local world = stage.world [[ every("1m", function() exec { "./tick.sh" } end) ]]
    assert.near(10, #world.commands, 1)
  end)

  it("is not repeated by a crash, and its outcome is found", function()
    for seed = 1, 4 do
      for at = 0, 8 do
        local world = stage.world(stage.path .. [[
          checkout:on("breached", function()
            local done, why = exec { "./restart.sh" }
            notify { title = done and done.output or "unknown: " .. why }
            checkout:recovers_within("1d")
          end)
        ]], { seed = seed, warm = "6m" })
        world:reply("exec", "./restart.sh", { output = "restarted", latency = "150ms" })
        stage.breaks(world)
        world:advance_until("5s", function() return #world:events "critical_path.breached" > 0 end)
        world:advance(at * 0.05)
        world:crash()
        world:advance("1m")
        assert.is_true(#world.commands <= 1, ("%d commands with seed %d, %d beats"):format(#world.commands, seed, at))
        assert.equal(1, #world.notifications, ("seed %d, %d beats"):format(seed, at))
        if #world.commands == 1 then assert.equal("restarted", world.notifications[1].title) end
      end
    end
  end)

  it("that fails is a value", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function()
        local reply, why, code = http.get("http://metrics/x")
        notify { title = tostring(reply) .. " " .. why .. " " .. code }
        local late, reason, word = http.get("http://slow/", { timeout = "2s" })
        notify { title = tostring(late) .. " " .. reason .. " " .. word }
        local fine = http.get("http://fine/")
        notify { title = fine.status .. " " .. fine.body }
        sleep("1d")
      end)
    ]])
    world:reply("GET", "http://metrics/*", { error = "connection refused" })
    world:reply("GET", "http://slow/", { latency = "10s" })
    world:reply("GET", "http://fine/", { status = 201, body = { answer = 42 } })
    stage.breaks(world)
    world:advance("1m")
    assert.same({ "nil connection refused io", "nil timeout after 2s timeout", '201 {"answer":42}' },
                stage.each(world.notifications, "title"))
    assert.same({ "http://metrics/x", "http://slow/", "http://fine/" }, stage.each(world.http, "url"))
  end)

  it("is only watched in observe mode", function()
    local world = stage.world(stage.path .. [[
      checkout:on("breached", function(breach)
        local deploy = checkout.service:deployed_within("15m")
        local ok, how = deploy:rollback(breach.summary)
        log.info(tostring(ok) .. " " .. how)
        exec { "./restart.sh" }
        http.post("http://hook/", { body = "x" })
        notify { title = "hello" }
        page { about = checkout, title = "help" }
      end)
    ]], { observe = true })
    world:deploy("shop", "v1", { success = 50 })
    world:advance("10m")
    assert.same({ "v1" }, stage.each(world.commands, "version"))
    assert.same({}, world.pages)
    assert.same({}, world.notifications)
    assert.same({}, world.http)
    assert.same({ "exec", "http.POST", "notify", "page", "rollback" }, (function()
      local effects = stage.each(world:events "effect.observed", "effect")
      table.sort(effects)
      return effects
    end)())
    assert.equal("v1", world:service("shop").version)
  end)

  it("of one object is only watched when that object says so", function()
    local world = stage.world [[
      critical_path "checkout" { success_rate = 99.9, mode = "observe" }
      critical_path "search" { success_rate = 99.9 }
    ]]
    world:traffic("search", { rps = 100, success = 50 })
    stage.breaks(world)
    world:advance("1m")
    assert.equal(1, #world.pages)
    assert.equal("search", world.pages[1].labels.critical_path)
  end)

  it("is throttled where it says so", function()
    local world = stage.world [[
      every("1m", function() notify { title = "still here", at_most_every = "1h" } end)
    ]]
    world:advance("170m")
    assert.equal(3, #world.notifications)
  end)
end)
