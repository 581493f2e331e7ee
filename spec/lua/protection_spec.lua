-- The protections as policies use them: breaker, limiter, bulkhead, adaptive_limit, shedder, retry, timeout, fallback.
local nines = require "nines"

-- A world without users: time goes from one due thing to the next. `run(body)` is done once, a second after the start.
local function quiet(declarations, body, options)
  local world = nines.world(options or { seed = 1 })
  local text = declarations .. "\nlocal done = keep { once = false }\n" .. [[
    local function say(...)
      local words = {}
      for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
      log.info("SAID " .. table.concat(words, " "))
    end
    every("1s", function()
      if done.once then return end
      done.once = true
  ]] .. body .. "\nend)"
  assert(world:load { name = "policy.lua", text = text })
  return world, text
end

local function said(world)
  local lines = {}
  for _, line in ipairs(world:log()) do
    local words = line.text:match "SAID (.*)"
    if words then lines[#lines + 1] = words end
  end
  return lines
end

local function refused(text, pattern)
  local world = nines.world { seed = 1 }
  local ok, why = world:load { name = "policy.lua", text = text }
  assert.is_nil(ok)
  assert.matches(pattern, why)
end

local gateway = [[ local gateway = breaker "gateway" { failure_rate = 50, min_calls = 4, open_for = "30s", probes = 2 } ]]
local url = '"http://gateway/pay"'
local pay = "local function pay() return gateway:call(function() return http.get(" .. url .. ") end) end\n"

describe("a breaker", function()
  it("opens on failing replies, refuses, half-opens and closes, and tells it all", function()
    local world = quiet(gateway .. pay .. [[
      on("breaker.*", function(event) log.info("HEARD " .. event.topic .. " " .. event.name .. " " .. event.cause) end)
      gateway:on("opened", function() log.info "HEARD opened alone" end)
    ]], [[
      for _ = 1, 4 do say(pay()) end
      say(gateway:state(), gateway:calls())
      say(pay())
      sleep("31s")
      for _ = 1, 2 do
        local reply = pay()
        say(reply.status, gateway:state())
      end
      say(gateway:calls(), gateway:failure_rate())
    ]])
    world:reply("GET", "http://gateway/pay", { error = "connection refused", times = 4 })
    world:advance("5m")
    assert.same({
      "nil connection refused io", "nil connection refused io", "nil connection refused io",
      "nil connection refused io",
      "open 0",
      'nil breaker "gateway" is open, asks again in 30s open',
      "200 half_open", "200 closed", "0 nil",
    }, said(world))
    assert.equal(4 + 2, #world.http) -- the refused call never went out
    assert.equal(1, #world:events "breaker.opened")
    assert.equal(1, #world:events "breaker.half_open")
    assert.equal(1, #world:events "breaker.closed")
    assert.equal("failure rate", world:events("breaker.opened")[1].cause)
    local heard = {}
    for _, line in ipairs(world:log()) do heard[#heard + 1] = line.text:match "HEARD (.*)" end
    assert.same({ "breaker.opened gateway failure rate", "opened alone", "breaker.half_open gateway time is up",
                  "breaker.closed gateway probes" }, heard)
  end)

  it("returns what the function returned, and why it did not return", function()
    local world = quiet(gateway, [[
      say(gateway:call(function(a, b) sleep("1s") return a + b, { 1 }, nil, "four" end, 1, 2))
      say(gateway:call(function() return nil end))
      gateway:call(function() return false, nil, "not a reason" end)
      say(gateway:call(function() return nil, "gone", "not_found" end))
      say(gateway:call(function() error("my word", 0) end))
      say(gateway:calls(), gateway:failure_rate())
      say(pcall(gateway.call, gateway))
      say(pcall(gateway.call, gateway, "x"))
      say(gateway.name, tostring(gateway), breaker "gateway" == gateway)
    ]])
    world:advance("10s")
    local lines = said(world)
    assert.matches("^3 table.* nil four$", lines[1])
    assert.same({ "nil", "nil gone not_found", "nil my word failed", "5 40.0" }, { table.unpack(lines, 2, 5) })
    assert.matches("^false .*takes a function: breaker:call%(function%(%) %.%.%. end%)", lines[6])
    assert.matches("^false .*takes a function", lines[7])
    assert.equal('gateway breaker "gateway" true', lines[8])
  end)

  it("does not count what it is told to ignore", function()
    local world = quiet([[ local b = breaker "b" { min_calls = 2, ignore = { "not_found" } } ]], [[
      for _ = 1, 9 do b:call(function() return nil, "no such user", "not_found" end) end
      say(b:state(), b:calls())
      for _ = 1, 2 do b:call(function() return nil, "no route", "io" end) end
      say(b:state())
    ]])
    world:advance("10s")
    assert.same({ "closed 0", "open" }, said(world))
  end)

  it("is opened and closed by policies, and a person outranks them", function()
    local world = quiet(gateway, [[
      say(gateway:since())
      say(gateway:open("10s", "deploy"), gateway:open("10s"), gateway:state(), gateway:since() == now())
      say(gateway:call(function() return 1 end))
      say(gateway:close("done"), gateway:state())
      say(gateway:open("by mistake"), gateway:reset(), gateway:state())
      say(pcall(gateway.open, gateway, "5 parsecs"))
      say(pcall(gateway.open, gateway, 0))
      sleep("1m")
      say(gateway:state(), gateway:close(), gateway:open("5s"), gateway:reset(), gateway:state())
    ]])
    world:advance("30s")
    assert.equal(200, (world:call("breaker.set", { breaker = "gateway", state = "open", actor = "person:ann" })))
    world:advance("1m")
    local lines = said(world)
    assert.same({
      "nil", "true false open true", 'nil breaker "gateway" is open, asks again in 10s open', "true closed",
    }, { table.unpack(lines, 1, 4) })
    assert.matches("^true .*closed$", lines[5])
    assert.matches("^false .*parsecs", lines[6])
    assert.matches("^false .*above 0", lines[7])
    assert.matches("^forced_open false false .*forced_open$", lines[8])
    assert.equal(200, (world:call("breaker.lift", { breaker = "gateway", actor = "person:ann" })))
  end)

  it("opens again, or for longer, though its word still says open", function()
    local world = quiet(gateway, [[
      say(gateway:open("1s"))
      sleep("5s") -- over, and nobody asked since: half-open comes with the next call
      say(gateway:state(), gateway:open("10s"))
      say(gateway:call(function() return 1 end))
      say(gateway:open("5s"), gateway:open("20s"))
      say(gateway:call(function() return 1 end))
    ]])
    world:advance("30s")
    assert.same({ "true", "open true", 'nil breaker "gateway" is open, asks again in 10s open', "false true",
                  'nil breaker "gateway" is open, asks again in 20s open' }, said(world))
  end)

  it("goes back to the state it was declared in when a person lets go", function()
    local world = quiet([[ local b = breaker "b" { initial_state = "metrics_only" } ]], [[
      say(b:state())
      sleep("10s")
      say(b:state())
      sleep("10s")
      say(b:state())
    ]])
    world:advance("5s")
    assert.equal(200, (world:call("breaker.set", { breaker = "b", state = "open", actor = "person:ann" })))
    world:advance("10s")
    assert.equal(200, (world:call("breaker.lift", { breaker = "b", actor = "person:ann" })))
    world:advance("10s")
    assert.same({ "metrics_only", "forced_open", "metrics_only" }, said(world))
  end)

  it("whose settings do not agree with each other is refused at load", function()
    refused('breaker "b" { open_for = "2h", open_max = "1h" }', 'policy.lua:1: breaker "b": open_max')
    refused('adaptive_limit "a" { min = 50, max = 20 }', 'policy.lua:1: adaptive_limit "a": .*min')
    refused('limiter "l" { rate = 1, per = "1h", burst = 1e9 }', 'policy.lua:1: limiter "l": .*burst')
  end)

  it("takes Resilience4j's spellings", function()
    local world = quiet([[
      local b = breaker "b" { failureRateThreshold = 50, slidingWindowSize = 4, slidingWindowType = "COUNT_BASED",
        minimumNumberOfCalls = 4, waitDurationInOpenState = "20s", permittedNumberOfCallsInHalfOpenState = 1,
        slowCallDurationThreshold = "2s", slowCallRateThreshold = 100 }
    ]], [[
      for _ = 1, 4 do b:call(function() return nil, "no" end) end
      say(b:call(function() return 1 end))
      sleep("20s")
      say(b:call(function() return 1 end), b:state())
    ]])
    world:advance("1m")
    assert.same({ 'nil breaker "b" is open, asks again in 20s open', "1 closed" }, said(world))
  end)

  it("that is misspelt is refused at load, with what was meant", function()
    refused('breaker "b" { failure_rat = 50 }', 'failure_rat.*did you mean "failure_rate"')
    refused('breaker "b" { failureRateThresold = 50 }', 'unknown key')
    refused('breaker "b" { failure_rate = 101 }', "policy.lua:1: breaker \"b\": failure_rate")
    refused(gateway .. '\nlocal x = breaker "gatewy"', 'policy.lua:2: unknown breaker "gatewy" %(did you mean "gateway"%?%)')
    refused(gateway .. '\ngateway:on("openned", function() end)', 'did you mean "opened"')
    refused('limiter "l" {}', "rate")
    refused('timeout "t" { limt = "2s" }', 'did you mean "limit"')
  end)

  it("keeps counts and state over a reload, and takes new settings", function()
    local world = quiet(gateway, [[
      for _ = 1, 3 do gateway:call(function() return nil, "no" end) end
      sleep("1d")
    ]])
    world:advance("3s")
    local again = [[
      local gateway = breaker "gateway" { failure_rate = 50, min_calls = 4, open_for = "10m" }
      every("1s", function()
        log.info("SAID " .. gateway:calls() .. " " .. gateway:state())
        gateway:call(function() return nil, "no" end)
      end)
    ]]
    assert.is_true(world:load { name = "policy.lua", text = again })
    world:advance("2s")
    assert.same({ "3 closed", "0 open" }, said(world))
    assert.equal(1, #world:events "breaker.opened")
    world:load { name = "policy.lua", text = again .. "-- edited" }
    world:advance("5m")
    assert.equal("0 open", said(world)[#said(world)])
  end)

  it("stays open over a crash", function()
    local world = quiet(gateway, [[
      gateway:open("5m", "by hand")
      sleep("1d")
    ]])
    world:advance("3s")
    world:crash()
    assert.is_true(world:load { name = "policy.lua", text = gateway .. [[
      every("10s", function() log.info("SAID " .. gateway:state()) end)
    ]] })
    world:advance("4m")
    assert.equal("open", said(world)[1])
    assert.equal("open", said(world)[#said(world)])
  end)

  it("lets pass in observe mode, and says what it would have refused", function()
    local world = quiet([[ local b = bulkhead "b" { max = 1, mode = "observe" } ]], [[
      all { function() say(b:call(function() sleep("1s") return 1 end)) end,
            function() say(b:call(function() return 2 end)) end }
      say(b:inside())
    ]])
    world:advance("10s")
    assert.same({ "2", "1", "0" }, said(world))
    assert.equal("refuse", world:events("effect.observed")[1].effect)
  end)
end)

describe("a limiter", function()
  it("lets a burst pass, then paces, then refuses", function()
    local world = quiet([[ local l = limiter "l" { rate = 10, per = "1s", burst = 2, wait = "500ms" } ]], [[
      local began, calls = now(), {}
      for i = 1, 9 do
        calls[i] = function()
          local ok, why, code = l:call(function() return true end)
          say(i, ok and ("%.1f"):format(now() - began) or code)
        end
      end
      all(calls)
      local ok, why, code = l:call(function() end)
      say(why)
    ]])
    world:advance("20s")
    local lines = said(world)
    table.sort(lines)
    assert.same({ "1 0.0", "2 0.0", "3 0.1", "4 0.2", "5 0.3", "6 0.4", "7 0.5", "8 limited", "9 limited" },
                { table.unpack(lines, 1, 9) })
  end)

  it("is asked without waiting", function()
    local world = quiet([[
      local paced = limiter "paced" { rate = 10, burst = 2, wait = "10s" }
      local plain = limiter "plain" { rate = 10, burst = 2 }
    ]], [[
      for _, l in ipairs { paced, plain } do
        say(l:ask(), l:ask(), l:available() < 1)
        say(l:ask())
        say(l:ask(7))
      end
      say(pcall(plain.ask, plain, -1))
    ]])
    world:advance("5s")
    local lines = said(world)
    assert.equal("true true true", lines[1])
    assert.matches('^nil limiter "paced" is used up: 0 left limited', lines[2])
    assert.matches("limited$", lines[3])
    assert.equal('nil limiter "plain" is used up, ask again in 100ms limited', lines[5])
    assert.equal('nil limiter "plain" never grants 7 at once, its burst is less limited', lines[6])
    assert.matches("^false .*above 0", lines[7])
  end)
end)

describe("a bulkhead", function()
  local declared = [[ local b = bulkhead "b" { max = 1, queue = 3, wait = "10s", target = "5s" } ]]

  it("serves who waits in order, and refuses beyond its queue", function()
    local world = quiet(declared, [[
      local calls = {}
      for i = 1, 6 do
        calls[i] = function() say(i, b:call(function(n) sleep("1s") return n * 10 end, i)) end
      end
      all(calls)
      say(b:inside(), b:limit())
    ]])
    world:advance("20s")
    assert.same({ '5 nil bulkhead "b" is full: 1 inside full', '6 nil bulkhead "b" is full: 1 inside full', "1 10", "2 20",
                  "3 30", "4 40", "0 1" }, said(world))
  end)

  it("refuses who waited too long", function()
    local world = quiet([[ local b = bulkhead "b" { max = 1, queue = 3, wait = "2s", target = "1s" } ]], [[
      local began = now()
      all { function() b:call(function() sleep("1m") end) end,
            function() say(b:call(function() return 1 end)) say(("%.0f"):format(now() - began)) end }
      say(b:inside())
    ]])
    world:advance("2m")
    assert.same({ 'nil bulkhead "b" is full: no place within 2s full', "2", "0" }, said(world))
  end)

  it("gets its places back from what raised, was killed, timed out or was reloaded away", function()
    local world = quiet(declared .. [[ local t = timeout "t" { limit = "2s" } ]], [[
      b:call(function() error("no") end)
      say(b:inside())
      say(t:call(function() return b:call(function() sleep("1h") end) end))
      say(b:inside())
      -- The second waits in the queue when the time is over.
      spawn(function() b:call(function() sleep("5s") end) end)
      sleep("0s")
      say(t:call(function() return b:call(function() say("must not run") end) end))
      sleep("10s")
      say(b:inside(), t:count())
      spawn(function() b:call(function() sleep("1h") end) end)
      spawn(function() b:call(function() sleep("1h") end) end)
      spawn(function() b:call(function() say("queued, must not run") end) end)
      sleep("1h")
    ]])
    world:advance("1m")
    assert.is_true(world:load { name = "policy.lua", text = declared .. [[
      every("1s", function() log.info("SAID after " .. b:inside() .. " " .. tostring(b:call(function() return "in" end))) end)
    ]] })
    world:advance("1s")
    assert.same({ "0", "nil timeout after 2s timeout", "0", "nil timeout after 2s timeout", "0 2", "after 0 in" },
                said(world))
  end)

  it("gets its place back from a handler that was killed", function()
    local world = nines.world { seed = 1 }
    assert(world:load { name = "policy.lua", text = declared .. [[
      every("10s", function() b:call(function() while true do end end) end)
      every("1s", function() log.info("SAID " .. b:inside()) end)
    ]] })
    world:advance("15s")
    assert.equal(1, #world:events "policy.killed")
    local lines = said(world)
    assert.equal("1", lines[10]) -- both are due then, and the function had not run yet
    for i, line in ipairs(lines) do assert.equal(i == 10 and "1" or "0", line) end
    assert.is_true(#lines >= 14)
  end)

  it("is shared by policies, and the end of one serves the other", function()
    local world = nines.world { seed = 1 }
    assert(world:load { name = "a.lua", text = declared .. [[ every("1s", function() b:call(function() sleep("1d") end) end) ]] })
    world:advance("1.5s")
    assert(world:load { name = "b.lua", text = [[
      local b = bulkhead "b"
      every("1s", function() log.info("SAID " .. tostring(b:call(function() return "in" end))) end)
    ]] })
    world:advance("3s")
    assert.same({}, said(world))
    assert.is_true(world:load { name = "a.lua", text = declared })
    world:advance("1s")
    assert.equal("in", said(world)[1])
  end)
end)

describe("an adaptive limit", function()
  it("refuses beyond its limit, and counts who is inside", function()
    local world = quiet([[ local l = adaptive_limit "l" { initial = 2, min = 1, max = 10 } ]], [[
      local calls = {}
      for i = 1, 3 do calls[i] = function() say(l:call(function() sleep("1s") return l:inside() end)) end end
      all(calls)
      say(l:inside(), l:limit() > 0)
    ]])
    world:advance("10s")
    assert.same({ 'nil adaptive_limit "l" is full: 2 inside, the limit is 2 full', "2", "1", "0 true" }, said(world))
  end)
end)

describe("a shedder", function()
  it("sheds by hand, the least important first", function()
    local world = quiet([[ local s = shedder "s" { retry_after = "10s", retry_jitter = 0 } ]], [[
      local function ask(criticality)
        local passed = 0
        for _ = 1, 200 do
          if s:call(criticality, function() return true end) then passed = passed + 1 end
        end
        return passed
      end
      for i = 1, 10 do
        if i == 5 then say(s:shed("50%", "too much"), s:shed(50)) end
        for _, c in ipairs { "sheddable", "critical" } do
          local passed = ask(c)
          if i == 1 then say(c, passed) end
          if i == 10 then say(c, passed) end
        end
        sleep("1s")
      end
      say(s:share("sheddable"), s:share("critical"), s:share())
      say(s:call("sheddable", function() return 1 end))
      say(s:call(function(x) return x end, 7))
      say(s:shed(0), s:share("sheddable"))
      say(pcall(s.shed, s, 101))
      say(pcall(s.shed, s, "many"))
      say(pcall(s.call, s, "critcal", function() end))
    ]])
    world:advance("1m")
    local lines = said(world)
    assert.equal("sheddable 200", lines[1])
    assert.equal("critical 200", lines[2])
    assert.equal("true false", lines[3])
    assert.is_true(tonumber(lines[4]:match "sheddable (%d+)") < 20)
    assert.is_true(tonumber(lines[5]:match "critical (%d+)") > 180)
    assert.equal("7", lines[8])
    assert.matches("^true 0", lines[9])
    assert.matches("^false .*percent", lines[10])
    assert.matches("^false .*percent", lines[11])
    assert.matches('^false .*did you mean "critical"', lines[12])
  end)
end)

describe("a retry", function()
  it("runs the function again with the same arguments until it succeeds", function()
    local world = quiet([[ local r = retry "r" { attempts = 4, wait = "1s", factor = 2, jitter = 0 } ]], [[
      local began, at = now(), {}
      say(r:call(function(a, b)
        at[#at + 1] = ("%.0f"):format(now() - began)
        if #at < 4 then return nil, "not yet " .. a .. b end
        return "there", a, b
      end, "x", 2))
      say(table.concat(at, " "))
    ]])
    world:advance("1m")
    assert.same({ "there x 2", "0 1 3 7" }, said(world))
  end)

  it("returns the last results when the attempts or the budget are used up", function()
    local world = quiet([[
      local r = retry "r" { attempts = 3, wait = "100ms", jitter = 0 }
      local poor = retry "poor" { attempts = 100, wait = "50ms", factor = 1, jitter = 0, budget = 10 }
    ]], [[
      local n = 0
      say(r:call(function() n = n + 1 return nil, "no " .. n, "io" end))
      say(r:call(function() n = n + 1 error("raised " .. n, 0) end))
      local before, tried = poor:budget(), 0
      say(poor:call(function() tried = tried + 1 return false, "never" end))
      say(tried > 1 and tried <= before + 2, poor:budget() < 1)
    ]])
    world:advance("1m")
    assert.same({ "nil no 3 io", "nil raised 6 failed", "false never", "true true" }, said(world))
  end)

  it("does its effects in the episode of its handler, once", function()
    local stage = require "stage"
    local world = stage.world(stage.path .. [[
      local r = retry "r" { attempts = 3, wait = "1s" }
      checkout:on("breached", function()
        r:call(function() exec { "./restart.sh" } return nil, "again" end)
        sleep("1d")
      end)
    ]])
    stage.breaks(world)
    world:advance("1m")
    assert.equal(1, #world.commands)
  end)

  it("nests in a breaker, and a breaker in it", function()
    local world = quiet(gateway .. [[ local r = retry "r" { attempts = 3, wait = "1s" } ]], [[
      local n = 0
      local function fails() n = n + 1 return nil, "no" end
      say(gateway:call(function() return r:call(fails) end))
      say(n, gateway:calls())
      say(r:call(function() return gateway:call(fails) end))
      say(n, gateway:calls(), gateway:state())
    ]])
    world:advance("1m")
    assert.same({ "nil no", "3 1", 'nil no', "6 0 open" }, said(world))
  end)

  it("is gone with its policy, while it waits", function()
    local declared = [[ local r = retry "r" { attempts = 3, wait = "10s" } ]]
    local world = quiet(declared, [[ r:call(function() say("tried") return nil, "no" end) ]])
    world:advance("2s")
    assert.is_true(world:load { name = "policy.lua", text = declared })
    world:advance("1m")
    assert.same({ "tried" }, said(world))
  end)
end)

describe("a timeout", function()
  it("stops what takes too long, with what that waits for", function()
    local world = quiet([[
      local t = timeout "t" { limit = "2s" }
      local long = timeout "long" { limit = "1m" }
    ]], [[
      local began = now()
      say(t:call(function() sleep("1s") return "in time" end))
      say(t:call(function() all { function() sleep("5s") say "must not run" end } end))
      say(t:call(function() http.get("http://slow/") say "must not run" end))
      say(("%.0f"):format(now() - began), t:count())
      -- The inner one ends when the outer does.
      say(t:call(function() return long:call(function() sleep("30s") end) end))
      say(long:call(function() return t:call(function() sleep("30s") end) end))
      say(t:count(), long:count())
    ]])
    world:reply("GET", "http://slow/", { latency = "1m" })
    world:advance("2m")
    assert.same({ "in time", "nil timeout after 2s timeout", "nil timeout after 2s timeout", "5 2",
                  "nil timeout after 2s timeout", "nil timeout after 2s timeout", "4 0" }, said(world))
  end)
end)

describe("a fallback", function()
  it("gives the alternative the reason and the arguments", function()
    local world = quiet([[ local f = fallback "f" {} ]], [[
      say(f:share())
      say(f:call(function(a) return a end, function() return "cache" end, "live"))
      say(f:call(function() return nil, "no route" end, function(why, a, b) return why, a, b end, 1, 2))
      say(f:call(function() error("broken", 0) end, function(why) return "saved from " .. why end))
      say(f:call(function() error("broken", 0) end, function(why) error("this too", 0) end))
      say(f:share())
      say(pcall(f.call, f, function() end))
    ]])
    world:advance("10s")
    local lines = said(world)
    assert.matches("two functions", table.remove(lines))
    assert.same({ "nil", "live", "no route 1 2", "saved from broken", "nil this too failed", "75.0" }, lines)
  end)

  it("is bounded", function()
    local world = quiet([[ local f = fallback "f" { max = 1 } ]], [[
      local calls = {}
      for i = 1, 2 do
        calls[i] = function()
          say(f:call(function() return nil, "no route" end, function() sleep("1s") return "saved" end))
        end
      end
      all(calls)
      say(f:call(function() return nil, "no" end, function() return "again" end))
    ]])
    world:advance("10s")
    assert.same({ 'nil fallback "f" is full, and the call failed: no route full', "saved", "again" }, said(world))
  end)
end)

describe("protections", function()
  it("decide the same with the same seed", function()
    local function hash(seed)
      local world = quiet(gateway .. [[
        local r = retry "r" { attempts = 5, wait = "1s", jitter = 1 }
        local s = shedder "s" {}
      ]], [[
        s:shed(30)
        for i = 1, 20 do
          say(r:call(function() return gateway:call(function() return nil, "no" end) end))
          say(s:call("sheddable", function() return i end))
          notify { title = "at " .. now() }
        end
      ]], { seed = seed })
      world:advance("5m")
      return world:hash(), table.concat(said(world), "\n")
    end
    local one, said_one = hash(1)
    local again, said_again = hash(1)
    assert.equal(said_one, said_again)
    assert.equal(one, again)
    assert.are_not.equal(one, (hash(2)))
  end)

  it("cannot be called where nothing can wait, and hold nothing then", function()
    local world = quiet([[ local b = bulkhead "b" { max = 1 } ]], [[
      say(pcall(table.sort, { 1, 2, 3 }, function() return b:call(function() say("must not run") end) end))
      sleep("1s")
      say(b:inside())
    ]])
    world:advance("10s")
    local lines = said(world)
    assert.matches("bulkhead:call cannot wait inside table.sort", lines[1])
    assert.same({ "0" }, { table.unpack(lines, 2) })
  end)

  it("say when there are too many tasks", function()
    local world = quiet([[ local b = bulkhead "b" { max = 100 } ]], [[
      local calls = {}
      for i = 1, 40 do
        calls[i] = function()
          local ok, why, code = b:call(function() sleep("1s") return true end)
          if not ok then say(code, why) end
        end
      end
      all(calls)
      say(b:inside())
    ]])
    world:advance("10s")
    local lines = said(world)
    assert.matches("^limit 64 tasks of policy.lua are under way", lines[1])
    assert.equal("0", lines[#lines])
  end)

  local storm = [[
    local b = bulkhead "b" { max = 3, queue = 5, wait = "700ms" }
    local a = adaptive_limit "a" { initial = 5, min = 5, max = 5 }
    local f = fallback "f" { max = 2 }
    local t = timeout "t" { limit = "900ms" }
    local r = retry "r" { attempts = 3, wait = "200ms", budget_off = true }
    local l = limiter "l" { rate = 20, wait = "1s" }
    local k = breaker "k" { window_calls = 10, min_calls = 5, open_for = "1s", probe_lease = "2s" }
    local s = shedder "s" {}
  ]]

  it("hold nothing after storms of nested calls, kills, reloads and crashes", function()
    local policy = storm .. [[
      local function body(depth)
        local dice = math.random(100)
        if depth < 4 and dice <= 60 then
          local inner = function() return body(depth + 1) end
          if dice <= 10 then return f:call(inner, inner) end
          local guards = { b, a, t, r, l, k, s, b }
          return guards[math.random(#guards)]:call(inner)
        end
        if dice <= 62 then local hog = {} while true do hog[#hog + 1] = ("x"):rep(10000) .. #hog end end
        if dice <= 64 then while true do end end
        if dice <= 70 then error "broken" end
        if dice <= 80 then return nil, "failed", "io" end
        if dice <= 85 then all { function() sleep(math.random()) end, function() return body(depth + 1) end } end
        if dice <= 95 then sleep(math.random() * 2) end
        if dice <= 98 then return http.get "http://slow/" end
        return true
      end
      every("100ms", function() spawn(function() body(0) end) body(0) end)
    ]]
    for seed = 1, 25 do
      local world = nines.world { seed = seed }
      world:reply("GET", "http://slow/", { latency = "1500ms" })
      for name in ("abc"):gmatch "." do
        local text = name == "a" and policy or policy:gsub('(local %w = [%w_]+ "%w") %b{}', "%1")
        assert(world:load { name = name .. ".lua", text = text })
      end
      for i = 1, 6 do
        world:advance(1 + seed % 7 * 0.35)
        if i % 2 == 0 then assert(world:load { name = "a.lua", text = policy .. "-- " .. i }) end
        if i == 3 then assert(world:load { name = "b.lua", text = "-- calm" }) end
        if i == 5 and seed % 3 == 0 then world:crash() end
      end
      assert(world:load { name = "b.lua", text = "-- calm" })
      assert(world:load { name = "c.lua", text = "-- calm" })
      assert(world:load { name = "a.lua", text = storm .. [[
        every("1s", function()
          log.info("SAID " .. b:inside() .. " " .. a:inside())
          local none = function() return nil, "no" end
          all { function() f:call(none, function() sleep "100ms" log.info "SAID fallback" end) end,
                function() f:call(none, function() sleep "100ms" log.info "SAID fallback" end) end }
        end)
      ]] })
      world:advance("1.5s")
      assert.same({ "0 0", "fallback", "fallback" }, said(world), "seed " .. seed)
    end
  end)
end)
