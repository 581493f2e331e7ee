-- Simulated years in small: random users, deployments, edits, crashes and broken stores against a handful of promises.
--
-- Each run is a story drawn from one seed, printed when it fails. NINES_SIM_RUNS sets how many (default 20), NINES_SIM_SEED
-- where they begin; a failure is repeated with NINES_SIM_SEED=<its seed> NINES_SIM_RUNS=1.
local nines = require "nines"

local runs = tonumber(os.getenv "NINES_SIM_RUNS" or 20)
local first_seed = tonumber(os.getenv "NINES_SIM_SEED" or 1)

local HOLD = 120           -- seconds; page_after below
local SLACK = 5            -- detection is not part of the hold, but beats, commits and deliveries are
local DOWN_MAX = 20        -- seconds of a crash

local paths = { "checkout", "search", "login" }

local declared = [[
critical_path "checkout" { service = "shop",  success_rate = 99.9, page_after = "2m" }
critical_path "search"   { service = "index", success_rate = 99.5, latency_p95 = "400ms", page_after = "2m" }
critical_path "login"    { success_rate = 99.9 }
]]

-- What a handler may be like: good, useless, broken, endless, or not there.
local handlers = {
  good = [[
    on("critical_path.breached", function(breach)
      local path = critical_path(breach.name)
      local deploy = breach.service and path.service:deployed_within "15m"
      if deploy and deploy:rollback(breach.summary) and path:recovers_within "90s" then
        return notify { title = "rolled back " .. deploy.version }
      end
      page { about = path, title = breach.summary }
    end)]],
  lazy = [[ on("critical_path.breached", function() sleep "1d" end) ]],
  broken = [[ on("critical_path.breached", function() sleep(math.random() * 10) error "broken" end) ]],
  endless = [[ on("critical_path.breached", function() sleep(math.random() * 10) while true do end end) ]],
  hungry = [[ on("critical_path.breached", function() local t = {} while true do t[#t + 1] = {} end end) ]],
  none = "",
}
local handler_names = { "good", "good", "good", "lazy", "broken", "endless", "hungry", "none" }

-- The story's own draws: a linear congruential generator, so that busted's use of math.random changes nothing.
local function dice(seed)
  local state = seed
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 33) % n + 1
  end
end

local function pick(roll, list) return list[roll(#list)] end

local events = {
  function(world, roll)
    world:traffic(pick(roll, paths), { success = pick(roll, { 99.99, 99.99, 99.99, 99, 90, 50, 0 }) })
    return "traffic fails"
  end,
  function(world, roll)
    world:traffic(pick(roll, paths), { latency = pick(roll, { "80ms", "80ms", "300ms", "2s" }) })
    return "traffic is slow"
  end,
  function(world, roll)
    local details = pick(roll, { {}, {}, { success = 50 }, { success = 97 }, { latency = "3s" }, { fails = true } })
    details = { success = details.success, latency = details.latency, fails = details.fails, takes = roll(30) }
    world:deploy(pick(roll, { "shop", "index" }), "v" .. roll(1000000), details)
    return "deployment"
  end,
  function(world, roll)
    world:crash(roll(DOWN_MAX))
    return "crash"
  end,
  function(world, roll)
    assert(world:load { name = "handler.lua", text = "-- " .. roll(1000000) .. "\n" .. handlers[pick(roll, handler_names)] })
    return "edit"
  end,
  function(world, roll)   -- killed in the middle of an answer to a breach
    world:deploy(pick(roll, { "shop", "index" }), "v" .. roll(1000000), { success = 20, takes = roll(3) })
    local seen = #world:events "critical_path.breached"
    world:advance_until("30s", function() return #world:events "critical_path.breached" > seen end)
    for _ = 1, roll(3) do
      world:advance(roll(40) * 0.05)
      world:crash(roll(2) == 1 and 0 or roll(DOWN_MAX))
    end
    return "crash while answering"
  end,
  function(world, roll)   -- edited in the middle of an answer to a breach
    world:deploy(pick(roll, { "shop", "index" }), "v" .. roll(1000000), { success = 20, takes = roll(3) })
    world:advance(roll(200) * 0.05)
    assert(world:load { name = "handler.lua", text = "-- " .. roll(1000000) .. "\n" .. handlers[pick(roll, handler_names)] })
    return "edit while answering"
  end,
  function(world, roll)
    assert(not world:load { name = "handler.lua", text = "on(" .. roll(9) })
    return "bad edit"
  end,
  function(world, roll)
    world:store_fail(true)
    world:advance(roll(20))
    world:store_fail(false)
    return "store fails"
  end,
  function(world, roll)
    world:reply("deliver", "world", { error = "receiver is down", times = roll(4) })
    return "receiver fails"
  end,
}

-- Each event of a path's breach and recovery, as spans in seconds of the world; the last may be open.
local function episodes(world, path)
  local spans = {}
  for _, event in ipairs(world:events "critical_path.*") do
    local last = spans[#spans]
    if event.name == path then
      if event.topic == "critical_path.recovered" then
        if last and not last.ended then last.ended = event.at end
      elseif not (last and not last.ended) then
        spans[#spans + 1] = { began = event.at, episode = event.episode }
      end
    end
  end
  return spans
end

local function rolled_back(world, service, from, to)
  for _, event in ipairs(world:events "deploy.rolled_back") do
    if event.name == service and event.at >= from and event.at <= to then return true end
  end
end

local function check(world, note, clean)
  local now = world:path("login") and world:events()[#world:events()].at or 0
  local finish = math.max(now, world:now() - 1767571200)
  -- A breach that outlasts its hold was paged, or mended by a rollback (then it did not outlast it by much).
  for _, path in ipairs(paths) do
    for _, span in ipairs(episodes(world, path)) do
      local deadline = span.began + HOLD + SLACK + 3 * DOWN_MAX
      if (span.ended or finish) > deadline then
        local decided, delivered
        for _, event in ipairs(world:events "alert.paged") do
          decided = decided or event.name == path and event.at >= span.began - SLACK and event.at <= deadline
        end
        for _, page in ipairs(world.pages) do
          delivered = delivered or page.labels.critical_path == path and page.at >= span.began - SLACK
        end
        assert(decided and delivered
               or rolled_back(world, path == "checkout" and "shop" or "index", span.began, deadline),
               note .. ": nobody was told of " .. path .. " since " .. span.began)
      end
    end
  end
  -- Nothing is rolled back twice.
  local undone = {}
  for _, event in ipairs(world:events "deploy.rolled_back") do
    assert(not undone[event.undoes], note .. ": " .. event.undoes .. " was rolled back twice")
    undone[event.undoes] = true
  end
  local started = {}
  for _, command in ipairs(world.commands) do
    assert(not started[command.id], note .. ": command " .. command.id .. " was started twice")
    started[command.id] = true
  end
  for _, name in ipairs { "shop", "index" } do
    if clean then
      assert(world:service(name).version == world:service(name).believed, note .. ": the engine is wrong about " .. name)
    end
  end
  -- Whoever was paged is told when it is over.
  local open, resolved = {}, {}
  for _, alert in ipairs(world:alerts()) do
    if alert.state ~= "resolved" then open[alert.id] = true end
  end
  for _, letter in ipairs(world.resolutions) do resolved[letter.alert] = true end
  if clean then
    for _, page in ipairs(world.pages) do
      assert(page.alert == "" or open[page.alert] or resolved[page.alert],
             note .. ": nobody was told that " .. page.title .. " is over")
    end
    for id in pairs(open) do assert(not resolved[id], note .. ": " .. id .. " is open and resolved") end
  end
end

local function run(seed)
  local roll = dice(seed * 7919 + 17)
  local world = nines.world { seed = seed, page_after = "2m" }
  assert(world:load { name = "paths.lua", text = declared })
  assert(world:load { name = "handler.lua", text = handlers[pick(roll, handler_names)] })
  for _, path in ipairs(paths) do world:traffic(path, { rps = 20 + roll(80), success = 99.99, latency = "80ms" }) end
  world:advance("6m")
  local clean, story = true, {}
  for _ = 1, 12 do
    local what = pick(roll, events)(world, roll)
    story[#story + 1] = what
    if what == "store fails" then clean = false end   -- what could not be stored may be told again after a crash
    world:advance(roll(240) * 0.05 * roll(40))
  end
  local note = ("seed %d (%s)"):format(seed, table.concat(story, ", "))
  for _, path in ipairs(paths) do world:traffic(path, { success = 99.99, latency = "80ms" }) end
  for _, name in ipairs { "shop", "index" } do world:deploy(name, "good", {}) end
  world:advance("30m")
  for _, path in ipairs(paths) do
    local state = world:path(path).state
    assert(state == "healthy", note .. ": " .. path .. " is " .. state .. " at the end")
  end
  check(world, note, clean)
  local hash = world:hash()
  world:close()
  return hash
end

describe("a simulated life", function()
  it(("keeps its promises in %d runs from seed %d"):format(runs, first_seed), function()
    for seed = first_seed, first_seed + runs - 1 do
      local ok, why = pcall(run, seed)
      if not ok then error(("NINES_SIM_SEED=%d: %s"):format(seed, why), 0) end
    end
  end)

  it("is the same when it is repeated", function()
    assert.equal(run(first_seed), run(first_seed))
  end)
end)
