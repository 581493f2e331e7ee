-- The primitives in stock Lua: the same nouns and settings as in policies, synchronous, in the interpreter's own arena.
local nines = require "nines"

local now = 1000
local function tick(seconds) now = now + seconds end
local count = 0
local function name() count = count + 1; return "p" .. count end

local function fails() return nil, "backend says no", "refused" end
local function works(...) return ... end

describe("stock Lua", function()
  setup(function() nines.clock(function() return now end) end)
  teardown(function() nines.clock(nil) end)

  describe("breaker", function()
    it("opens, refuses, probes and closes", function()
      local breaker = nines.breaker(name()) { min_calls = 4, open_for = "10s", probes = 2 }
      for _ = 1, 2 do assert.equal("fine", breaker:call(works, "fine")) end
      for _ = 1, 2 do assert.same({ nil, "backend says no", "refused" }, { breaker:call(fails) }) end
      assert.equal("open", breaker:state())
      local result, why, code = breaker:call(function() error "never called" end)
      assert.is_nil(result)
      assert.matches("is open; asking again makes sense in 10 s", why)
      assert.equal("open", code)
      tick(10)
      breaker:call(works)
      assert.equal("half_open", breaker:state())
      breaker:call(works)
      assert.equal("closed", breaker:state())
      assert.equal(1, breaker:numbers().refused)
    end)

    it("counts an error as a failure, and hands its message on", function()
      local breaker = nines.breaker(name()) { min_calls = 1 }
      local result, why, code = breaker:call(function() error "boom" end)
      assert.is_nil(result)
      assert.matches("boom", why)
      assert.equal("failed", code)
      assert.equal("open", breaker:state())
    end)

    it("takes Resilience4j's spellings", function()
      local breaker = nines.breaker(name()) {
        slidingWindowType = "COUNT_BASED", slidingWindowSize = 10, minimumNumberOfCalls = 10,
        failureRateThreshold = 30, waitDurationInOpenState = "5s", permittedNumberOfCallsInHalfOpenState = 3,
      }
      local rule = breaker:numbers().rule
      assert.equal(10, rule.window_calls)
      assert.equal(30, rule.failure_rate)
      assert.equal(5, rule.open_for_seconds)
      for i = 1, 10 do breaker:call(i <= 3 and fails or works) end
      assert.equal("open", breaker:state())
    end)

    it("is one breaker under one name, and keeps its counts when settings change", function()
      local id = name()
      nines.breaker(id) { min_calls = 10 }
      for _ = 1, 5 do nines.breaker(id):call(fails) end
      assert.equal("closed", nines.breaker(id):state())
      nines.breaker(id) { min_calls = 6 }
      nines.breaker(id):call(fails)
      assert.equal("open", nines.breaker(id):state())
    end)

    it("lets fn yield, and forgets a call whose coroutine is thrown away", function()
      local breaker = nines.breaker(name())
      local run = coroutine.wrap(function() return breaker:call(function() coroutine.yield "waiting"; return "done" end) end)
      assert.equal("waiting", run())
      assert.equal(1, breaker:numbers().in_flight)
      assert.equal("done", run())
      assert.equal(0, breaker:numbers().in_flight)
      local thrown = coroutine.wrap(function() breaker:call(function() coroutine.yield() end) end)
      thrown()
      thrown = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal(0, breaker:numbers().in_flight)
    end)

    it("is set by hand", function()
      local breaker = nines.breaker(name())
      breaker:force_open()
      assert.equal("open", select(3, breaker:call(works)))
      breaker:disable()
      assert.equal(1, breaker:call(works, 1))
      breaker:reset()
      assert.equal("closed", breaker:state())
    end)

    it("takes its settings as a second argument too, and starts as they say", function()
      assert.equal("open", nines.breaker(name(), { initial_state = "open" }):state())
      assert.equal("open", nines.breaker(name()) { initial_state = "open" }:state())
      assert.equal(2, nines.adaptive_limit(name(), { initial = 2, min = 1, max = 10 }):limit())
    end)

    it("names a misspelt setting", function()
      assert.error_matches(function() nines.breaker(name()) { failure_rat = 50 } end, 'did you mean "failure_rate"')
      local _, why = pcall(function() nines.breaker("x", { winndow = 1 }) end)
      assert.matches('primitives_spec.lua:%d+: breaker "x": winndow: unknown key %(did you mean "window"%?%)$', why)
      _, why = pcall(nines.breaker "x", { zzzzqq = 1 })
      assert.matches('^breaker "x": zzzzqq: unknown key %(known: window, .*[%w_]+, %.%.%.%)$', why)
      assert.error_matches(function() nines.breaker(name()) { failure_rate = 101 } end, "failure_rate: 101")
      assert.error_matches(function() nines.breaker(name()) { waitDurationInOpenState = 5000 } end, "ms")
    end)
  end)

  it("limiter: so many a second, and a burst", function()
    local limiter = nines.limiter(name()) { rate = 10, burst = 5 }
    local granted = 0
    for _ = 1, 10 do if limiter:ask() then granted = granted + 1 end end
    assert.equal(5, granted)
    local _, why, code = limiter:ask()
    assert.matches("has no more for now", why)
    assert.equal("limited", code)
    tick(0.1)
    assert.equal(0, limiter:ask())
    assert.error_matches(function() nines.limiter(name()):ask() end, "has no settings yet")
  end)

  it("bulkhead: so many at once", function()
    local bulkhead = nines.bulkhead(name()) { max = 1 }
    local inner = { bulkhead:call(function() return bulkhead:call(works) end) }
    assert.equal("full", inner[3])
    assert.equal(0, bulkhead:inside())
    assert.equal(0, (bulkhead:call(function() error "x" end)) or bulkhead:inside())
  end)

  it("adaptive limit: a bulkhead that finds its size", function()
    local limit = nines.adaptive_limit(name()) { initial = 2, min = 1, max = 10 }
    assert.equal(2, limit:limit())
    assert.equal("ok", limit:call(works, "ok"))
    assert.equal(0, limit:inside())
  end)

  it("shedder: the least important first", function()
    local shedder = nines.shedder(name())
    for _ = 1, 200 do shedder:call("sheddable", works, 1); shedder:call("critical", works, 1); tick(0.01) end
    shedder:shed "50%"
    tick(0.1)
    assert.is_true(shedder:share "sheddable" > 95)
    assert.is_true(shedder:share "critical" < 5)
    assert.equal("shed", select(3, shedder:call("sheddable", works)))
    assert.error_matches(function() shedder:shed "120%" end, "120")
    assert.error_matches(function() shedder:call("vital", works) end, "vital")
  end)

  it("retry: until it works, or attempts or budget are used up", function()
    local retry, calls = nines.retry(name()) { attempts = 3, wait = "1s" }, 0
    assert.equal("third", retry:call(function() calls = calls + 1; if calls < 3 then return fails() end; return "third" end))
    calls = 0
    assert.equal("refused", select(3, retry:call(function() calls = calls + 1; return fails() end)))
    assert.equal(3, calls)
    assert.is_true(retry:budget() >= 0)
  end)

  it("timeout: stops Lua code that goes on for too long", function()
    local timeout = nines.timeout(name()) { limit = "2s" }
    assert.equal("quick", timeout:call(works, "quick"))
    local result, why, code = timeout:call(function() while true do tick(0.001) end end)
    assert.is_nil(result)
    assert.matches("timeout", why)
    assert.equal("timeout", code)
    assert.equal(1, timeout:count())
  end)

  it("timeout: within another, the shorter holds", function()
    local long, short = nines.timeout(name()) { limit = "10s" }, nines.timeout(name()) { limit = "2s" }
    local function endless() while true do tick(0.001) end end
    local started = now
    assert.equal("went on", long:call(function()
      assert.equal("timeout", select(3, short:call(endless)))
      return "went on"
    end))
    assert.is_true(now - started < 3)
    assert.equal("timeout", select(3, short:call(function() return long:call(endless) end)))
    assert.equal(1, long:count())
    assert.equal(2, short:count())
    assert.is_nil((debug.gethook()))
  end)

  it("timeout: a coroutine that is thrown away within one leaves the others alone", function()
    local timeout = nines.timeout(name()) { limit = "2s" }
    local thrown = coroutine.create(function() timeout:call(coroutine.yield) end)
    assert.is_true(coroutine.resume(thrown))
    tick(10)
    assert.equal("works", timeout:call(function()
      local sum = 0
      for i = 1, 100000 do sum = sum + i end
      return "works"
    end))
    thrown = nil -- luacheck: ignore
    collectgarbage()
    assert.equal("timeout", select(3, timeout:call(function()
      -- what runs in a coroutine started within it is stopped too
      return coroutine.wrap(function() while true do tick(0.001) end end)()
    end)))
    local resumed = coroutine.wrap(function() return timeout:call(function() coroutine.yield() return "in time" end) end)
    resumed()
    assert.equal("in time", resumed())
  end)

  it("a call ends with its coroutine: closed, it holds no permit and no deadline", function()
    local timeout, bulkhead = nines.timeout(name()) { limit = "2s" }, nines.bulkhead(name()) { max = 1 }
    local closed = coroutine.create(function() timeout:call(function() bulkhead:call(coroutine.yield) end) end)
    assert.is_true(coroutine.resume(closed))
    assert.equal(1, bulkhead:inside())
    coroutine.close(closed)
    assert.equal(0, bulkhead:inside())
    tick(10)
    assert.equal("works", timeout:call(function()
      for _ = 1, 100000 do end
      return "works"
    end))
    assert.equal(0, timeout:count())
    assert.equal("dead", coroutine.status(closed))
  end)

  it("timeout: an inner deadline goes, the outer one stays, through yields", function()
    local outer, inner = nines.timeout(name()) { limit = "5s" }, nines.timeout(name()) { limit = "2s" }
    local run = coroutine.wrap(function()
      return outer:call(function()
        local _, _, code = inner:call(function() coroutine.yield "inside" while true do tick(0.001) end end)
        coroutine.yield(code)
        while true do tick(0.001) end
      end)
    end)
    local started = now
    assert.equal("inside", run())
    assert.is_nil((debug.gethook()))
    assert.equal("timeout", run())
    assert.is_true(now - started < 3)
    assert.equal("timeout", select(3, run()))
    assert.is_true(now - started >= 5 and now - started < 6)
  end)

  it("a clock that raises costs no permit", function()
    collectgarbage "stop" -- at once, not when the call is collected
    finally(function() collectgarbage "restart" nines.clock(function() return now end) end)
    local raises = false
    nines.clock(function()
      if raises then raises = false; error "no clock" end
      return now
    end)
    local function once() raises = true; return true end
    for _, noun in ipairs { "bulkhead", "adaptive_limit" } do
      local limit = nines[noun](name(), { max = 1, initial = noun ~= "bulkhead" and 1 or nil })
      limit:inside()
      assert.error_matches(function() limit:call(once) end, "no clock")
      assert.equal(0, limit:inside())
      assert.is_false(coroutine.resume(coroutine.create(function() limit:call(once) end))) -- closes nothing
      assert.equal(0, limit:inside())
      once()
      assert.error_matches(function() limit:call(works) end, "no clock") -- while asking
      assert.equal(0, limit:inside())
      assert.equal("in", limit:call(works, "in"))
    end
    local breaker = nines.breaker(name())
    assert.has_error(function() breaker:call(once) end)
    assert.equal(0, breaker:numbers().in_flight)
    local fallback = nines.fallback(name(), { max = 1 })
    assert.has_error(function() fallback:call(fails, once) end)
    assert.equal("second", fallback:call(fails, function() return "second" end))
    local limiter = nines.limiter(name(), { rate = 1, burst = 1 })
    once()
    assert.has_error(function() limiter:ask() end)
    assert.equal(0, limiter:ask())
  end)

  it("refuses what would do nothing: there is no loop that could wait, and no second call", function()
    for noun, settings in pairs {
      bulkhead = { queue = 5, queueCapacity = 5, wait = "1s", maxWaitDuration = "1s", target = "5ms", interval = "1s" },
      breaker = { keys = 10, ignore = "refused", mode = "observe" },
      retry = { hedge_after = "50ms", mode = "act" },
    } do
      for key, value in pairs(settings) do
        local ok, why = pcall(nines[noun], name(), { [key] = value })
        assert.is_false(ok, noun .. "." .. key)
        assert.matches(key .. ": .*stock Lua", why)
      end
    end
  end)

  it("begins at the time of nines.clock, wherever that is", function()
    local script = [[
      local nines = require "nines"
      local now = 0
      nines.clock(function() return now end)
      local limiter = nines.limiter "l" { rate = 1, burst = 2 }
      assert(limiter:ask() and limiter:ask() and not limiter:ask())
      now = 1.01
      assert(limiter:ask() and not limiter:ask())
      local breaker = nines.breaker "b" { min_calls = 2, open_for = "10s", initial_state = "open" }
      assert(breaker:state() == "open")
      now = 12
      assert(breaker:call(function() return true end))
      print "fine"
    ]]
    local file = os.tmpname()
    local out = assert(io.open(file, "w"))
    out:write(script)
    out:close()
    local run = assert(io.popen(("LUA_CPATH='%s' lua5.4 %s 2>&1"):format(package.cpath, file)))
    local text = run:read "a"
    run:close()
    os.remove(file)
    assert.equal("fine\n", text)
  end)

  it("stays loaded, for threads that end after the interpreter", function()
    local run = assert(io.popen(("readelf -d '%s'"):format(package.searchpath("nines", package.cpath))))
    local text = run:read "a"
    run:close()
    assert.matches("NODELETE", text)
  end)

  it("fallback: the second best, and how often", function()
    local fallback = nines.fallback(name())
    assert.equal("first", fallback:call(works, fails, "first"))
    local result, why, argument = fallback:call(fails, function(...) return "cached", ... end, "key")
    assert.equal("cached", result)
    assert.equal("backend says no", why)
    assert.equal("key", argument)
    assert.equal(50, fallback:share())
  end)

  it("canary: worse or not, at any time", function()
    local function rollout(canary_errors)
      local canary = nines.canary(name()) { share = 10 }
      local function second(rate)
        for i = 1, 90 do canary:record("baseline", i ~= 1) end
        for i = 1, 10 do canary:record("canary", (i * 7919 + now) % 100 >= rate) end
        tick(1)
      end
      for _ = 1, 60 do for i = 1, 100 do canary:record("baseline", i ~= 1) end; tick(1); canary:verdict() end
      canary:begin()
      for _ = 1, 600 do
        second(canary_errors)
        local verdict, numbers = canary:verdict()
        if verdict ~= "inconclusive" then return verdict, numbers end
      end
    end
    local verdict, numbers = rollout(20)
    assert.equal("fail", verdict)
    assert.equal("errors", numbers.why)
    assert.is_true(numbers.canary_total <= 400)
    assert.equal("pass", (rollout(1)))
  end)

  it("fault points: by match and deadline", function()
    local fault = nines.fault(name())
    assert.is_nil(fault:ask())
    fault:inject { kind = "error", error = 503, match = "eu-*", duration = "1m" }
    assert.same({ "error", 503 }, { fault:ask "eu-west" })
    assert.is_nil(fault:ask "us-east")
    tick(61)
    assert.is_nil(fault:ask "eu-west")
    fault:inject { kind = "latency", latency = "2s", duration = "1m" }
    assert.same({ "latency", 2 }, { fault:ask() })
    fault:heal()
    assert.is_nil(fault:ask())
    assert.equal(2, fault:count())
    assert.error_matches(function() fault:inject { kind = "latency" } end, "duration")
  end)

  it("measures: counter, histogram, average, change, baseline", function()
    local counter = nines.counter(name())
    for _ = 1, 50 do counter:add(2); tick(0.1) end
    assert.equal(100, counter:total())
    assert.is_true(counter:rate() >= 9 and counter:rate() <= 11)
    local histogram = nines.histogram(name())
    for i = 1, 100 do histogram:record(i / 1000) end
    assert.is_true(math.abs(histogram:quantile(0.5) - 0.050) < 0.002)
    local average = nines.ewma "10s"
    average:add(0, 100)
    assert.equal(50, average:add(100, 110))
    local change, direction, onset = nines.change(), nil, nil
    for i = 1, 30 do
      if not direction then direction, onset = change:add(i <= 10 and 0 or 3, 1000 + i) end
    end
    assert.equal(1, direction)
    assert.is_true(onset >= 1010 and onset <= 1011)
    local baseline, week = nines.baseline(name()), 7 * 86400
    for i = 0, 3 do baseline:add(100 + i, 1767571200 + i * week); baseline:add(1, 1767571200 + i * week + 3600) end
    local median, deviation = baseline:read(1767571200 + 4 * week)
    assert.is_true(median >= 101 and median <= 102)
    assert.is_true(deviation >= 5)
  end)
end)
