// nines for Node: breakers, limiters, flags and measurements in shared memory, without a socket.
//
//   const nines = require('nines');
//   nines.attach('/var/lib/shop/data/arena');
//   const pay = nines.track('payment_processing', async (order) => { ... });
//   const gateway = nines.breaker('gateway', { failureRate: 50 });
//   await gateway.call(() => callTheGateway());      // throws nines.Refused while it is open
//
// Settings have the names of nines.h in camelCase, with milliseconds instead of nanoseconds: open_ns = 60000000000 there
// is open: 60000 here. What throws or rejects is a failure; an AbortError is the caller's own, and counts as if never
// called. Workers of node:cluster and node:worker_threads attach for themselves.
'use strict';

const { isMainThread } = require('node:worker_threads');
const { EINVAL, ESTATE, NinesError, STATES, lib, load, now, settings } = require('./library.js');

const SHEDDABLE = 0, SHEDDABLE_PLUS = 1, CRITICAL = 2, CRITICAL_PLUS = 3;
const ENGINE = ['there', 'gone', 'lost'];
const FAULTS = ['none', 'latency', 'error', 'abort', 'drop'];
const SUCCESS = 0, FAILURE = 1, IGNORED = 2;
const LOOK_MS = 1000;
const BEAT_MS = 50; // a shorter wait could not get an engine's answer
const NEVER_NS = 9e18;
const { setInterval, setTimeout, clearInterval, clearTimeout } = globalThis;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A protection said no. wait: milliseconds until asking again makes sense; Infinity: never.
class Refused extends Error {
  constructor(sentence, wait) {
    super(sentence);
    this.name = 'Refused';
    this.wait = wait;
  }
}

// A call took longer than its timeout allows.
class TimedOut extends Error {
  constructor(sentence) {
    super(sentence);
    this.name = 'TimedOut';
  }
}

// What a game-day has injected.
class Injected extends Error {
  constructor(sentence, kind, error) {
    super(sentence);
    this.name = 'Injected';
    this.kind = kind;
    this.error = error;
  }
}

// Runs fn; tells end(outcome) when it is over, at once or when its promise settles.
function follow(fn, args, self, end) {
  const failed = (error) => {
    end(error?.name === 'AbortError' ? null : false);
    throw error;
  };
  let result;
  try {
    result = fn.apply(self, args);
  } catch (error) {
    return failed(error);
  }
  if (typeof result?.then === 'function') return result.then((value) => (end(true), value), failed);
  end(true);
  return result;
}

// Frameworks look at the name and the number of parameters of a function.
function like(fn, made) {
  return Object.defineProperties(made, { name: { value: fn.name }, length: { value: fn.length } });
}

let drop, alive;
class Named {
  #handle;
  #arena;
  constructor(name, handle, arena) {
    this.name = name;
    this.#handle = handle;
    this.#arena = arena;
  }
  refused(why, waitNs) {
    const lost = this.#arena.engine === 'lost';
    return new Refused(`${this.noun} "${this.name}" ${lost ? 'refuses: its engine is gone' : why}`, waitNs > NEVER_NS ? Infinity : waitNs / 1e6);
  }
  get handle() {
    if (this.#handle === null) throw new NinesError(ESTATE, `"${this.name}" cannot be used: its arena is closed`);
    return this.#handle;
  }
  static {
    drop = (object) => { object.#handle = null; };
    alive = (object) => object.#handle !== null;
  }
}

// A critical path of the engine.
class Path extends Named {
  record(ok, ms) {
    lib.path_record(this.handle, ok ? 1 : 0, ms === undefined ? -1 : Math.round(ms * 1e6));
  }
  // Called when what has just begun is over.
  begin() {
    const begun = now();
    return (ok) => {
      if (alive(this)) lib.path_record(this.handle, ok ? 1 : 0, now() - begun);
    };
  }
}

class Guard extends Named {
  // Throws Refused when fn may not run.
  call(fn, ...args) {
    return follow(fn, args, undefined, this.enter());
  }
  // What `enter` of a protection returns: to be called once with how it went; null: as if never called.
  held(permit, at, why) {
    if (!permit.token) throw this.refused(why ?? this.refusal, Math.max(0, Number(permit.at_ns) - at));
    let held = true;
    return (ok = true) => {
      if (held && alive(this)) this.done(permit, ok === null ? IGNORED : ok ? SUCCESS : FAILURE, now());
      held = false;
    };
  }
}

class Breaker extends Guard {
  get noun() { return 'breaker'; }
  get refusal() { return `is ${this.state}`; }
  get state() { return STATES[lib.breaker_state(this.handle)]; }
  // key: of the breaker of one tenant or host; needs the setting keys.
  enter(key) {
    const at = now();
    if (key === undefined) return this.held(lib.breaker_ask(this.handle, at), at);
    return this.held(lib.breaker_ask_key(this.handle, key, Buffer.byteLength(key), at), at, `is open for "${key}"`);
  }
  done(permit, outcome, at) { lib.breaker_done(this.handle, permit.at_ns, permit.token, outcome, at); }
  callKey(key, fn, ...args) {
    return follow(fn, args, undefined, this.enter(String(key)));
  }
}

class Bulkhead extends Guard {
  get noun() { return 'bulkhead'; }
  get refusal() { return 'is full'; }
  get inside() { return lib.bulkhead_inside(this.handle); }
  enter() {
    const at = now();
    return this.held(lib.bulkhead_enter(this.handle, at), at);
  }
  done(permit, outcome, at) { lib.bulkhead_leave(this.handle, permit.at_ns, permit.token, at); }
}

class AdaptiveLimit extends Guard {
  get noun() { return 'adaptive limit'; }
  get refusal() { return 'is full'; }
  get limit() { return lib.adaptive_limit_now(this.handle); }
  enter() {
    const at = now();
    return this.held(lib.adaptive_limit_ask(this.handle, at), at);
  }
  done(permit, outcome, at) { lib.adaptive_limit_done(this.handle, permit.at_ns, permit.token, outcome, at); }
}

class Shedder extends Guard {
  get noun() { return 'shedder'; }
  get refusal() { return 'sheds this call'; }
  enter(criticality = CRITICAL) {
    const at = now();
    return this.held(lib.shedder_ask(this.handle, criticality, at), at);
  }
  done(permit, outcome, at) { lib.shedder_done(this.handle, permit.at_ns, permit.token, outcome, at); }
  callAt(criticality, fn, ...args) {
    return follow(fn, args, undefined, this.enter(criticality));
  }
  // How full what is behind is, 0 to 1.
  load(fullness) { lib.shedder_load(this.handle, fullness); }
}

class Limiter extends Named {
  get noun() { return 'limiter'; }
  // Milliseconds to wait before going on, 0 mostly; throws Refused.
  ask(cost = 1) {
    const wait = Number(lib.limiter_ask(this.handle, cost, now()));
    if (wait >= 0) return wait / 1e6;
    throw this.refused('has no more for now', -wait);
  }
}

class Retry extends Named {
  // Tries again within attempts and budget. Refusals are not tried again: they are an answer. Nor is what was aborted.
  async call(fn, ...args) {
    lib.retry_call(this.handle, now());
    for (let attempt = 1; ; attempt++) {
      try {
        return await fn(...args);
      } catch (error) {
        if (error instanceof Refused || error?.name === 'AbortError' || !alive(this)) throw error;
        const wait = Number(lib.retry_next(this.handle, attempt, now()));
        if (wait < 0) throw error;
        await pause(wait / 1e6);
      }
    }
  }
}

class Timeout extends Named {
  // Milliseconds that a call may take; callerLeft: those that its own caller still waits.
  left(callerLeft = Infinity) {
    const at = now(), caller = callerLeft < 1e12 ? at + Math.round(callerLeft * 1e6) : 0;
    return Math.max(0, Number(lib.timeout_deadline(this.handle, caller, at)) - at) / 1e6;
  }
  // Runs fn(signal, ...args); when its time is over the signal aborts, and the call rejects with TimedOut.
  async call(fn, ...args) {
    const abort = new AbortController();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        if (alive(this)) lib.timeout_done(this.handle, 1);
        const error = new TimedOut(`"${this.name}" took longer than its timeout allows`);
        reject(error);
        abort.abort(error);
      }, this.left());
    });
    try {
      return await Promise.race([fn(abort.signal, ...args), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

class Flag extends Named {
  get on() { return lib.flag_on(this.handle, now()) === 1; }
}

class Fault extends Named {
  // Mostly nothing; else throws, or returns a promise to wait for: `await fault.strike()`.
  strike(key = null) {
    const { kind, error, latency_ns } = lib.fault_ask(this.handle, key, now());
    if (kind === 0) return undefined;
    if (FAULTS[kind] === 'latency') return pause(Number(latency_ns) / 1e6);
    throw new Injected(`fault "${this.name}" injected: ${FAULTS[kind]}${error ? ` ${error}` : ''}`, FAULTS[kind], error);
  }
}

class Counter extends Named {
  add(n = 1) {
    if (!(n >= 0)) throw new RangeError(`counter "${this.name}" cannot add ${n}`);
    lib.counter_add(this.handle, n, now());
  }
  get total() { return Number(lib.counter_total(this.handle)); }
}

class Histogram extends Named {
  record(ms) { lib.histogram_record(this.handle, Math.round(ms * 1e6)); }
  // Milliseconds, as of the engine's last beat; undefined without data.
  quantile(q) {
    const ns = Number(lib.histogram_read(this.handle, q));
    return ns < 0 ? undefined : ns / 1e6;
  }
}

// An attached arena. One that lost its engine, or attached without one, looks for it each second by itself.
class Arena {
  #arena = null;
  #objects = new Map();
  #timer;
  #leave = () => this.close();

  constructor(where, { wait = 1000, keep = 10000, withoutEngine = false } = {}) {
    load();
    const out = [null], error = Buffer.alloc(512);
    const config = settings('attach', { wait: typeof wait === 'number' ? Math.max(wait, BEAT_MS) : wait, keep, withoutEngine });
    const errno = lib.attach(out, String(where), config, error, error.length);
    if (errno < 0) throw new NinesError(errno, error.toString('utf8', 0, error.indexOf(0)));
    this.#arena = out[0];
    this.#timer = setInterval(() => lib.arena_fold(this.#arena, now()), LOOK_MS).unref();
    if (!isMainThread) process.once('exit', this.#leave); // the thread ends, the process and its claims go on
  }

  // Every object got from it throws afterwards. A process that ends need not close.
  close() {
    if (this.#arena === null) return;
    clearInterval(this.#timer);
    process.removeListener('exit', this.#leave);
    for (const object of this.#objects.values()) drop(object);
    lib.arena_close(this.#arena);
    this.#arena = null;
  }

  get #open() {
    if (this.#arena === null) throw new NinesError(ESTATE, 'the arena is closed');
    return this.#arena;
  }

  // 'there', 'gone' (its last decisions hold) or 'lost' (objects answer by their setting lost, flags by otherwise).
  get engine() { return ENGINE[lib.arena_engine(this.#open, now())]; }

  // Looks for the engine now.
  look() {
    lib.arena_fold(this.#open, now());
    return this.engine;
  }

  #get(kind, Make, name, args, again = false) {
    const key = `${kind} ${name}`, known = this.#objects.get(key);
    if (known && !again) return known;
    const out = [null];
    const errno = lib[kind === 'path' ? 'arena_path' : `${kind}_get`](this.#open, String(name), ...args, out);
    if (errno < 0) throw new NinesError(errno, lib.arena_errmsg(this.#open));
    const object = known || new Make(name, out[0], this);
    this.#objects.set(key, object);
    return object;
  }
  #guard(kind, Make, name, given) {
    return this.#get(kind, Make, name, [settings(kind, given)], given !== undefined);
  }

  path(name) { return this.#get('path', Path, name, []); }
  // fn wrapped: each call is an observation of the path, when it returns, throws, or its promise settles. Without fn:
  // what wraps it, also as a decorator of methods.
  track(name, fn) {
    const path = this.path(name);
    const wrap = (tracked) => like(tracked, function (...args) {
      return follow(tracked, args, this, path.begin());
    });
    return fn ? wrap(fn) : wrap;
  }
  // A request handler of node:http, Express and the like: the observation ends with the response. It is good when all
  // of the response was sent, with a status below 500.
  handler(name, fn) {
    const path = this.path(name);
    return like(fn, function (request, response, ...rest) {
      const end = path.begin();
      response.once('close', () => end(response.writableFinished && response.statusCode < 500));
      return fn.call(this, request, response, ...rest);
    });
  }
  breaker(name, given) { return this.#guard('breaker', Breaker, name, given); }
  limiter(name, given) { return this.#guard('limiter', Limiter, name, given); }
  bulkhead(name, given) { return this.#guard('bulkhead', Bulkhead, name, given); }
  adaptiveLimit(name, given) { return this.#guard('adaptive_limit', AdaptiveLimit, name, given); }
  shedder(name, given) { return this.#guard('shedder', Shedder, name, given); }
  retry(name, given) { return this.#guard('retry', Retry, name, given); }
  timeout(name, given) { return this.#guard('timeout', Timeout, name, given); }
  // otherwise: while nobody has declared it, or without an engine.
  flag(name, otherwise) { return this.#get('flag', Flag, name, [otherwise ? 1 : 0], otherwise !== undefined); }
  fault(name) { return this.#get('fault', Fault, name, []); }
  counter(name) { return this.#get('counter', Counter, name, []); }
  histogram(name, window) {
    return this.#get('histogram', Histogram, name, [Math.round((window ?? 0) * 1e6)], window !== undefined);
  }
}

let standard = null;

// Attaches this process, and makes the arena the one that nines.breaker(...) and the others use.
// where: the file "arena" in the engine's data directory; default: $NINES_ARENA.
function attach(where = process.env.NINES_ARENA, options = {}) {
  if (!where) throw new NinesError(EINVAL, 'nines.attach needs the path of an arena, or NINES_ARENA in the environment');
  standard = new Arena(where, options);
  return standard;
}

const verb = (name) => (...args) => (standard || attach())[name](...args);
// Modules are loaded before the program that imports them attaches: what they wrap is looked up at its first call.
const wrapper = (name) => function wrap(path, fn) {
  if (!fn) return (later) => wrap(path, later);
  if (standard) return standard[name](path, fn);
  let wrapped = null;
  return like(fn, function (...args) {
    wrapped ||= (standard || attach())[name](path, fn);
    return wrapped.apply(this, args);
  });
};

// Named one by one, so that import { breaker } from 'nines' finds them.
const path = verb('path'), track = wrapper('track'), handler = wrapper('handler'), breaker = verb('breaker'),
  limiter = verb('limiter'), bulkhead = verb('bulkhead'), adaptiveLimit = verb('adaptiveLimit'), shedder = verb('shedder'),
  retry = verb('retry'), timeout = verb('timeout'), flag = verb('flag'), fault = verb('fault'), counter = verb('counter'),
  histogram = verb('histogram');
module.exports = { attach, Arena, NinesError, Refused, TimedOut, Injected, path, track, handler, breaker, limiter, bulkhead,
  adaptiveLimit, shedder, retry, timeout, flag, fault, counter, histogram, SHEDDABLE, SHEDDABLE_PLUS, CRITICAL,
  CRITICAL_PLUS };
