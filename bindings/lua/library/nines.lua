---@meta
-- Editor annotations (LuaLS) of the policy language of this release. Point `workspace.library` at this folder.

---@alias duration string|number "250ms", "30s", "5m", "1h30m"; a bare number is seconds
---@alias severity "P0"|"P1"|"P2"

---@class critical_path
---@field service service
---@field name string
local path = {}
---@param event "breached"|"recovered"
---@param handler fun(event: table)
function path:on(event, handler) end
---@param duration duration? how long it took
---@param ok boolean? default true
function path:record(duration, ok) end
---@generic T
---@param fn fun(...): T
---@return T
function path:track(fn, ...) end
---@param condition string "burn(1h) > 6"
---@return boolean? nil without data
function path:is(condition) end
---@param timeout duration
---@return boolean
function path:recovers_within(timeout) end
---@param window duration?
---@return number? percent
function path:success_rate(window) end
---@param window duration?
---@return number? percent
function path:error_rate(window) end
---@param window duration?
---@return number
function path:requests(window) end
---@param window duration?
---@return number per second
function path:rate(window) end
---@param window duration?
---@return number? 1 spends the error budget exactly
function path:burn(window) end
---@param window duration?
---@return number? percent
function path:budget_left(window) end
---@param quantile "p50"|"p90"|"p95"|"p99"
---@param window duration?
---@return number? seconds
function path:latency(quantile, window) end
---@return "healthy"|"breached"|"no data"
function path:state() end
---@return number? Unix seconds
function path:since() end

---@class service
---@field name string
---@field version string?
local service_ = {}
---@param within duration
---@return deployment?
function service_:deployed_within(within) end
---@param reason string
---@return boolean?, string?, string?
function service_:rollback(reason) end

---@class deployment
---@field id string
---@field version string
---@field from string
---@field actor string
---@field age number seconds
local deployment = {}
---@param reason string
---@return boolean?, string?, string?
function deployment:rollback(reason) end

---@class flag
local flag_ = {}
---@return boolean
function flag_:enabled() end
---@param on boolean? nil leaves it as it is
---@param reason string?
---@return boolean changed
function flag_:set(on, reason) end
---@param reason string?
function flag_:disable(reason) end

---@param name string
---@return critical_path
function critical_path(name) end
---@param name string
---@return service
function service(name) end
---@param name string
---@return flag
function flag(name) end
---@param message string|{ title: string, text: string?, severity: severity?, about: critical_path?, to: string?, at_most_every: duration? }
function page(message) end
---@param message string|{ title: string, text: string?, to: string?, at_most_every: duration? }
function notify(message) end
---@param words string[]
---@param options { timeout: duration?, input: string? }?
---@return { status: integer, output: string }?, string?, string?
function exec(words, options) end

http = {}
---@param url string
---@param options { timeout: duration?, headers: table<string, string>? }?
---@return { status: integer, body: string }?, string?, string?
function http.get(url, options) end
---@param url string
---@param options { timeout: duration?, headers: table<string, string>?, body: string?, json: any }?
---@return { status: integer, body: string }?, string?, string?
function http.post(url, options) end

---@param topic string "critical_path.breached", "deploy.*"
---@param handler fun(event: table)
function on(topic, handler) end
---@param interval duration
function every(interval, fn) end
---@param when string "mon-fri 09:00"
function at(when, fn) end
---@param delay duration
function after(delay, fn) end
---@param time duration
function sleep(time) end
---@param fn fun(): boolean?
---@param timeout duration
---@return boolean
function wait_for(fn, timeout) end
---@param functions function[]
function all(functions) end
function spawn(fn) end
---@return number Unix seconds of the engine's clock
function now() end
---@param t table
---@return fun(): any, any in a fixed order
function each(t) end
---@generic T: table
---@param defaults T
---@return T
function keep(defaults) end
---@param library string
function use(library) end
