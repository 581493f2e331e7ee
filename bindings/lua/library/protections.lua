---@meta
-- Protections, as policies name them. `:call(fn, ...)` runs fn under the protection and returns its results; refused,
-- failed or stopped it gives nil, a sentence and a code.

---@alias mode "act"|"observe"
---@alias criticality "critical_plus"|"critical"|"sheddable_plus"|"sheddable"
---@alias breaker_state "closed"|"open"|"half_open"|"disabled"|"forced_open"|"metrics_only"

---@class protection
---@field name string
local protection = {}
---@generic T
---@param fn fun(...): T
---@return T?, string? why, string? code
function protection:call(fn, ...) end

---@class breaker: protection
local breaker_ = {}
---@param event "opened"|"half_open"|"closed"
---@param handler fun(event: table)
function breaker_:on(event, handler) end
---@return breaker_state
function breaker_:state() end
---@param for_ duration? its own open time without
---@param reason string?
---@return boolean changed
function breaker_:open(for_, reason) end
---@param reason string?
---@return boolean changed
function breaker_:close(reason) end
---@param reason string?
function breaker_:reset(reason) end
---@return integer in the window
function breaker_:calls() end
---@return number? percent of the window's calls; nil without any
function breaker_:failure_rate() end
---@return number? Unix seconds of the last change of state
function breaker_:since() end

---@class breaker_settings
---@field window duration? 10s; rates are over the last ten slices of it
---@field window_calls integer? over the last so many calls instead (at most 512)
---@field min_calls integer? 20; no rate is judged on fewer
---@field failure_rate number|string? 50 percent opens
---@field slow_rate number|string? 100 percent of calls slower than slow_call, in flight or ended
---@field slow_call string? "60s"
---@field latency_p50 string? opens while the window's median is over it; also latency_p90, latency_p95, latency_p99
---@field latency_p90 string?
---@field latency_p95 string?
---@field latency_p99 string?
---@field failures integer? so many in a row open
---@field open_for duration? 60s
---@field open_factor number? 1; each opening in a row lasts so much longer
---@field open_max duration? 1h
---@field open_jitter number|string? 0 to 1
---@field half_open_itself boolean? without waiting for a call
---@field probes integer? 10 calls decide while half-open
---@field probe_lease duration? 60s; a probe not done by then is given to another call
---@field half_open_max duration? 0: as long as it takes
---@field half_open_then "open"|"closed"?
---@field ramp duration? admits 10 % to 100 % over this time after closing
---@field initial_state breaker_state?
---@field latency boolean? keep windowed latencies without a latency rule
---@field keys integer? so many keyed breakers (hosts in C ask by key)
---@field ignore string|string[]? codes of failures that do not count
---@field mode mode?

---@class limiter: protection
local limiter_ = {}
---@param cost number? 1
---@return boolean?, string? why, string? code never waits
function limiter_:ask(cost) end
---@return number grantable at once
function limiter_:available() end

---@class limiter_settings
---@field rate number so many in `per`
---@field per duration? 1s
---@field burst number? as many as in `per`
---@field wait duration? 0; up to this long a call waits rather than being refused
---@field warm_up duration? after a pause as long starts at rate / cold_factor
---@field cold_factor number? 3
---@field mode mode?

---@class bulkhead: protection
local bulkhead_ = {}
---@return integer
function bulkhead_:inside() end
---@return integer
function bulkhead_:limit() end

---@class bulkhead_settings
---@field max integer? 25 at once
---@field queue integer? 0; so many may wait
---@field wait duration? 100ms
---@field target string? "5ms": CoDel's target
---@field interval duration? 100ms: CoDel's interval
---@field mode mode?

---@class adaptive_limit: protection
local adaptive_limit_ = {}
---@return integer
function adaptive_limit_:inside() end
---@return integer the limit found
function adaptive_limit_:limit() end

---@class adaptive_limit_settings
---@field initial integer? 20
---@field min integer? 5
---@field max integer? 200
---@field tolerance number? 1.5
---@field smoothing number? 0.2
---@field queue integer? 4
---@field backoff number? 0.9
---@field latency_max string? above this median the limit always shrinks
---@field window duration? 1s
---@field min_samples integer? 10
---@field mode mode?

---@class shedder
---@field name string
local shedder_ = {}
---@overload fun(self: shedder, criticality: criticality, fn: function, ...): any, string?, string?
---@param fn function
---@return any, string? why, string? code
function shedder_:call(fn, ...) end
---@param percent number|string "20%" of all requests, the least critical first
---@param reason string?
---@return boolean changed
function shedder_:shed(percent, reason) end
---@param criticality criticality?
---@return number percent of it refused now
function shedder_:share(criticality) end

---@class shedder_settings
---@field throttle number? 2; refuses by itself once requests exceed so many times the accepted ones
---@field throttle_off boolean?
---@field throttle_window duration? 2m
---@field throttle_max number|string? 90 percent
---@field latency_target string? sheds more while the mean latency is over it
---@field retry_after duration? 60s
---@field retry_jitter number|string? 0.5
---@field mode mode?

---@class retry: protection
local retry_ = {}
---@return number retries left in the budget
function retry_:budget() end

---@class retry_settings
---@field attempts integer? 3, the first included
---@field wait duration? 500ms
---@field factor number? 2
---@field wait_max duration? 10s
---@field jitter number|string? 0.5; 0: none
---@field budget number|string? 20 percent of calls may be retries
---@field budget_off boolean?
---@field budget_floor number? 1 a second more
---@field budget_window duration? 10s
---@field hedge_after string?
---@field mode mode?

---@class timeout: protection
local timeout_ = {}
---@return integer timed out since the start
function timeout_:count() end

---@class fallback
---@field name string
local fallback_ = {}
---@param fn function
---@param alternative fun(why: string, ...): any gets the reason first, then the arguments
---@return any, string? why, string? code
function fallback_:call(fn, alternative, ...) end
---@return number? percent of calls it served, over 10 s
function fallback_:share() end

---@overload fun(name: string): fun(settings: breaker_settings): breaker
---@param name string
---@return breaker
function breaker(name) end
---@overload fun(name: string): fun(settings: limiter_settings): limiter
---@param name string
---@return limiter
function limiter(name) end
---@overload fun(name: string): fun(settings: bulkhead_settings): bulkhead
---@param name string
---@return bulkhead
function bulkhead(name) end
---@overload fun(name: string): fun(settings: adaptive_limit_settings): adaptive_limit
---@param name string
---@return adaptive_limit
function adaptive_limit(name) end
---@overload fun(name: string): fun(settings: shedder_settings): shedder
---@param name string
---@return shedder
function shedder(name) end
---@overload fun(name: string): fun(settings: retry_settings): retry
---@param name string
---@return retry
function retry(name) end
---@overload fun(name: string): fun(settings: { limit: string?, mode: mode? }): timeout
---@param name string
---@return timeout
function timeout(name) end
---@overload fun(name: string): fun(settings: { max: integer?, mode: mode? }): fallback
---@param name string
---@return fallback
function fallback(name) end
