---@meta nines
-- The module for stock Lua: local nines = require "nines". The protections have the settings and results of policies
-- (protections.lua); calls are synchronous, and objects live in the interpreter's own arena, or after nines.attach in
-- that of an engine.

---@class nines
---@field version string
local nines = {}
---@param text duration
---@return number seconds
function nines.duration(text) end
---@param clock (fun(): number)? seconds that never go back, for objects made after this call; nil: the system's
function nines.clock(clock) end

---@class nines.breaker: breaker
---@overload fun(settings: breaker_settings): nines.breaker
local module_breaker = {}
function module_breaker:force_open() end
function module_breaker:disable() end
---@return table its numbers, as `nines explain` shows them
function module_breaker:numbers() end
---@param name string
---@param settings breaker_settings? as nines.breaker(name) { ... }
---@return nines.breaker
function nines.breaker(name, settings) end
---@class nines.limiter: limiter
---@overload fun(settings: limiter_settings): nines.limiter
local module_limiter = {}
---@param cost number?
---@return number? seconds to wait (0: go on), string? why, string? code
function module_limiter:ask(cost) end
function module_limiter:drain() end
---@param name string
---@param settings limiter_settings? as nines.limiter(name) { ... }
---@return nines.limiter
function nines.limiter(name, settings) end
---@param name string
---@param settings bulkhead_settings? as nines.bulkhead(name) { ... }
---@return bulkhead|fun(settings: bulkhead_settings): bulkhead
function nines.bulkhead(name, settings) end
---@param name string
---@param settings adaptive_limit_settings? as nines.adaptive_limit(name) { ... }
---@return adaptive_limit|fun(settings: adaptive_limit_settings): adaptive_limit
function nines.adaptive_limit(name, settings) end
---@param name string
---@param settings shedder_settings? as nines.shedder(name) { ... }
---@return shedder|fun(settings: shedder_settings): shedder
function nines.shedder(name, settings) end
---@param name string
---@param settings retry_settings? as nines.retry(name) { ... }
---@return retry|fun(settings: retry_settings): retry
function nines.retry(name, settings) end
---@param name string
---@param settings { limit: string? }? as nines.timeout(name) { ... }
---@return timeout|fun(settings: { limit: string? }): timeout
function nines.timeout(name, settings) end
---@param name string
---@param settings { max: integer? }? as nines.fallback(name) { ... }
---@return fallback|fun(settings: { max: integer? }): fallback
function nines.fallback(name, settings) end

---@class nines.canary_settings
---@field alpha number?
---@field beta number?
---@field margin number?
---@field bad number?
---@field error_max number|string? percent
---@field latency_quantile number?
---@field share number|string? percent
---@field dispersion number?

---@class nines.canary
---@overload fun(settings: nines.canary_settings): nines.canary
local canary = {}
function canary:begin() end
---@param arm "baseline"|"canary"
---@param ok boolean
---@param time duration?
function canary:record(arm, ok, time) end
---@return "pass"|"fail"|"inconclusive", table numbers
function canary:verdict() end
---@param name string
---@return nines.canary
function nines.canary(name) end

---@class nines.injection
---@field kind "latency"|"error"|"abort"|"drop"
---@field rate number|string? a fraction; 1
---@field latency string?
---@field jitter string?
---@field error integer?
---@field match string? "eu-*"
---@field duration duration

---@class nines.fault
local fault = {}
---@param what nines.injection
function fault:inject(what) end
---@param key string?
---@return "latency"|"error"|"abort"|"drop"|nil, number? seconds or error
function fault:ask(key) end
function fault:heal() end
---@return integer
function fault:count() end
---@param name string
---@return nines.fault
function nines.fault(name) end

---@class nines.counter
local counter = {}
---@param n integer?
function counter:add(n) end
---@return integer
function counter:total() end
---@return number a second, over the last 10 s
function counter:rate() end
---@param name string
---@return nines.counter
function nines.counter(name) end

---@class nines.histogram
---@overload fun(settings: { window: duration? }): nines.histogram
local histogram = {}
---@param time duration
function histogram:record(time) end
---@param quantile number 0 to 1
---@return number? seconds
function histogram:quantile(quantile) end
---@param name string
---@return nines.histogram
function nines.histogram(name) end

---@class nines.baseline
local baseline = {}
---@param value number
---@param unix_seconds number
function baseline:add(value, unix_seconds) end
---@param unix_seconds number
---@param floor number?
---@return number? median, number? deviation nothing while the hour is unknown
function baseline:read(unix_seconds, floor) end
---@param name string
---@return nines.baseline
function nines.baseline(name) end

---@class nines.average
local average = {}
---@param value number
---@param seconds number?
---@return number
function average:add(value, seconds) end
---@return number?
function average:value() end
---@param half_life duration
---@return nines.average
function nines.ewma(half_life) end

---@class nines.change
local change = {}
---@param standardised number (x - mean) / deviation
---@param seconds number?
---@return 1|-1|nil, number? onset
function change:add(standardised, seconds) end
---@return nines.change
function nines.change() end

---@class nines.path
local path = {}
---@param ok boolean
---@param duration duration?
function path:record(ok, duration) end
---Calls fn, records how it went (an error, or nil and a reason, is a failure) and how long it took; errors are raised.
---@generic T
---@param fn fun(...): T
---@return T
function path:track(fn, ...) end
---A critical path of the engine.
---@param name string
---@return nines.path
function nines.path(name) end

---@class nines.flag
local flag = {}
---@return boolean
function flag:on() end
---@param name string
---@param otherwise boolean? while nobody has declared it, or without an engine: false
---@return nines.flag
function nines.flag(name, otherwise) end

---Every object of this interpreter is the engine's of that name from here on; before any is made.
---@param arena string the file "arena" in the engine's data directory
---@param options { wait: duration?, keep: duration?, without_engine: boolean? }? as in nines.h: 1s, 10s, false
---@return true? attached, string? why
function nines.attach(arena, options) end
---@return "there"|"gone"|"lost"|nil state nil: not attached
function nines.engine_state() end

---@class nines.engine
local engine = {}
---@param wait duration? at most so long for something to do; 50ms
---@return boolean ended it was stopped, and everything is drained
function engine:turn(wait) end
function engine:stop() end
---@param policy string a file
---@return true? loaded, string? why
function engine:load(policy) end
---@param name string
---@param ok boolean
---@param duration duration?
function engine:record(name, ok, duration) end
---@return integer descriptor that becomes readable when there is something to do
function engine:fd() end
function engine:close() end
---The whole engine, which runs in engine:turn.
---@param dir string? a project; nil: no files, listens nowhere
---@param options { observe: boolean?, seed: integer? }?
---@param on_event fun(topic: string, name: string, json: string)?
---@return nines.engine? engine, string? why
function nines.open(dir, options, on_event) end

return nines
