-- Stock Lua with an engine: run in this interpreter's loop, attached to from another one.
local nines = require "nines"

local function write(path, text)
  local out = assert(io.open(path, "w"))
  out:write(text)
  out:close()
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

describe("stock Lua", function()
  local dir

  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir -p " .. dir .. "/policies")
    write(dir .. "/nines.yaml", "listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\ndata: ./data\npolicies: [policies]\n" ..
          "notify: { local: { command: [\"true\"] } }\nroutes: [{ to: [local] }]\n")
    write(dir .. "/policies/one.lua", [[
      critical_path "checkout" { service = "shop", success_rate = 99.9 }
      flag "new_ui" { default = true }
      breaker "gateway" { failure_rate = 50, min_calls = 4, open_for = "1h" }
    ]])
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  it("runs the whole engine, and tells its events", function()
    local topics = {}
    local engine = assert(nines.open(dir, { observe = true, seed = 7 }, function(topic, name, json)
      topics[topic] = { name, json }
    end))
    for _ = 1, 50 do engine:record("checkout", false, "5ms") end
    for _ = 1, 100 do
      engine:turn "50ms"
      if topics["critical_path.breached"] then break end
    end
    assert.equal("checkout", topics["critical_path.breached"][1])
    assert.matches('"success_rate":0', topics["critical_path.breached"][2])
    assert.is_true(engine:load(dir .. "/policies/one.lua"))
    write(dir .. "/policies/bad.lua", "breaker 'x' { failure_rat = 1 }")
    local ok, why = engine:load(dir .. "/policies/bad.lua")
    assert.is_nil(ok)
    assert.matches("failure_rat", why)
    engine:stop()
    local ended = false
    for _ = 1, 100 do ended = ended or engine:turn "50ms" end
    assert.is_true(ended)
    engine:close()
    assert.has_error(function() engine:turn(0) end, "this engine is closed")
  end)

  it("says why an engine does not open, and hands on what its function raises", function()
    local engine, why = nines.open(dir .. "/nowhere")
    assert.is_nil(engine)
    assert.matches("no project directory", why)
    local raising <close> = assert(nines.open(dir, nil, function() error "mine" end))
    assert.has_error(function()
      for _ = 1, 50 do raising:record("checkout", false) end
      for _ = 1, 100 do raising:turn "50ms" end
    end)
  end)

  it("attaches to an engine, and is one of its processes", function()
    local engine <close> = assert(nines.open(dir))
    engine:turn(0)
    write(dir .. "/client.lua", [[
      local nines = require "nines"
      local dir = arg[1]
      local function try()
        local none, why = nines.attach(dir .. "/data/nothing", { wait = 0 })
        assert(none == nil and why:match "is its engine running", why)
        assert(nines.engine_state() == nil)
        assert(nines.attach(dir .. "/data/arena"))
        assert(nines.engine_state() == "there")
        assert(nines.flag("new_ui"):on() == true and nines.flag("other"):on() == false)
        assert(nines.flag("third", true):on() == true)
        local checkout = nines.path "checkout"
        for i = 1, 1000 do checkout:record(i % 10 ~= 0, "3ms") end
        assert(checkout:track(function(a) return a + 1 end, 1) == 2)
        assert(not pcall(function() checkout:track(function() error "boom" end) end))
        local gateway = nines.breaker "gateway" -- the policy's settings
        for _ = 1, 4 do gateway:call(function() return nil, "no" end) end
        local deadline = os.time() + 5
        while gateway:state() ~= "open" and os.time() < deadline do end
        local result, sentence, code = gateway:call(function() return 1 end)
        assert(result == nil and code == "open", sentence)
        local limiter = nines.limiter "mine" { rate = 1, per = "1h", burst = 1 }
        assert(limiter:ask() == 0 and limiter:ask() == nil)
        assert(not pcall(nines.breaker("worse"), { failure_rate = 101 }))
        local late, early = pcall(nines.attach, dir .. "/data/arena")
        assert(not late and early:match "comes first", early)
        assert(not pcall(nines.clock, os.clock))
      end
      local ok, why = xpcall(try, debug.traceback)
      local out = io.open(dir .. "/said.tmp", "w")
      out:write(ok and "fine" or tostring(why))
      out:close()
      os.rename(dir .. "/said.tmp", dir .. "/said")
    ]])
    os.execute(("LUA_CPATH='%s' lua5.4 %s/client.lua %s &"):format(package.cpath, dir, dir))
    for _ = 1, 400 do
      engine:turn "50ms"
      if read(dir .. "/said") then break end
    end
    assert.equal("fine", read(dir .. "/said"))
    engine:turn "100ms"
  end)
end)
