// libnines-core through koffi: its functions, its config structs, its clock.
'use strict';

const koffi = require('koffi');

const { hrtime } = process; // tests of a user may replace the clocks of his program, not ours

const ERRORS = ['NOMEM', 'INVAL', 'EXISTS', 'NOTFOUND', 'LIMIT', 'SCRIPT', 'IO', 'CORRUPT', 'BUSY', 'TIMEOUT', 'CANCELED',
  'DENIED', 'STATE', 'VERSION'];
const EINVAL = -2, ENOTFOUND = -4, ESTATE = -13;

// What nines refuses, in a sentence; code is the name in nines.h, errno its number.
class NinesError extends Error {
  constructor(errno, sentence) {
    super(sentence);
    this.name = 'NinesError';
    this.errno = errno;
    this.code = `NINES_E${ERRORS[-errno - 1]}`;
  }
}

// In the order of nines.h; a test compares sizes and offsets with the header's.
const FIELDS = {
  attach: 'wait_ns:int64 keep_ns:int64 without_engine:int',
  breaker: 'window_ns:int64 window_calls:uint32 calls_min:uint32 failure_rate:double slow_rate:double slow_ns:int64 ' +
    'latency_quantile:double latency_ns:int64 failures_in_a_row:uint32 open_ns:int64 open_factor:double ' +
    'open_max_ns:int64 open_jitter:double half_open_itself:int probes:uint32 probe_lease_ns:int64 ' +
    'half_open_max_ns:int64 half_open_then:int ramp_ns:int64 initial_state:int latency:int keys:uint32 lost:int',
  limiter: 'rate:double per_ns:int64 burst:double wait_max_ns:int64 warm_up_ns:int64 cold_factor:double owner:int lost:int',
  bulkhead: 'concurrent_max:uint32 queue_max:uint32 wait_max_ns:int64 codel_target_ns:int64 codel_interval_ns:int64 ' +
    'owner:int lost:int',
  adaptive_limit: 'initial:uint32 min:uint32 max:uint32 tolerance:double smoothing:double queue:uint32 backoff:double ' +
    'latency_max_ns:int64 window_ns:int64 samples_min:uint32 lost:int',
  shedder: 'throttle_k:double throttle_window_ns:int64 throttle_max:double latency_target_ns:int64 ' +
    'retry_after_ns:int64 retry_jitter:double lost:int',
  retry: 'attempts:uint32 wait_ns:int64 factor:double wait_max_ns:int64 jitter:double budget:double ' +
    'budget_floor:double budget_ns:int64 hedge_ns:int64',
  timeout: 'limit_ns:int64',
};
const STATES = ['closed', 'open', 'half_open', 'disabled', 'forced_open', 'metrics_only'];
const WORDS = {
  lost: { admit: 0, refuse: 1 },
  initial_state: Object.fromEntries(STATES.map((state, number) => [state, number])),
  half_open_then: { open: 1, closed: -1 },
};
const RANGES = { double: [-Number.MAX_VALUE, Number.MAX_VALUE], int64: [-9e18, 9e18], uint32: [0, 2 ** 32 - 1],
  int: [-(2 ** 31), 2 ** 31 - 1] };

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name) => name.replace(/_[a-z]/g, (at) => at[1].toUpperCase());

// The settings of a kind by the names they have here: [member, whether it is a duration]. One whose name without _ns is
// another setting's ends in Ms, but for a switch of the same name, which a number is told from: latency: true, or 250.
function settingNames(members) {
  const names = {};
  for (const member of Object.keys(members)) {
    const bare = member.replace(/_ns$/, '');
    if (bare === member) names[camel(member)] ||= [member, false];
    else names[camel(members[bare] === 'double' ? `${bare}_ms` : bare)] = [member, true];
  }
  return names;
}

const configs = {};
for (const [kind, fields] of Object.entries(FIELDS)) {
  const members = Object.fromEntries(fields.split(' ').map((field) => field.split(':')));
  configs[kind] = { members, names: settingNames(members), type: koffi.struct({ size: 'size_t', ...members }) };
}

// A config of nines.h from settings in camelCase; durations in milliseconds.
function settings(kind, given) {
  if (!given) return null;
  const { members, names, type } = configs[kind];
  const config = { size: koffi.sizeof(type) };
  for (const member of Object.keys(members)) config[member] = 0;
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(names, key)) throw new TypeError(`${kind}: unknown setting ${key} (known: ${Object.keys(names).join(', ')})`);
    const isSwitch = typeof value === 'boolean' && snake(key) in members;
    const [member, duration] = isSwitch ? [snake(key), false] : names[key];
    const its = members[member], words = WORDS[member], [low, high] = RANGES[its];
    let number = words && value in words ? words[value] : typeof value === 'boolean' && its === 'int' ? Number(value) : value;
    if (duration && typeof number === 'number') number = Math.round(number * 1e6);
    const fits = typeof number === 'number' && number >= low && number <= high;
    if (!fits || (its !== 'double' && !Number.isInteger(number))) {
      const wanted = words ? Object.keys(words).join(' or ') : duration ? 'milliseconds' :
        its === 'double' ? 'a number' : `a whole number from ${low}`;
      throw new TypeError(`${kind}: ${key} is ${String(value)}, but should be ${wanted}`);
    }
    config[member] = number;
  }
  return koffi.as(config, koffi.pointer(type));
}

const HANDLE = 'void *';
const OUT = koffi.out(koffi.pointer(HANDLE));
const GET = ['int', [HANDLE, 'str', HANDLE, OUT]];
const PERMIT = koffi.struct({ at_ns: 'int64', token: 'uint64' });
// A struct of two words is passed as two words wherever Linux runs on 64 bits, which spares koffi taking an object apart.
const DONE = ['void', [HANDLE, 'int64', 'uint64', 'int', 'int64']];
const FAULT_ACTION = koffi.struct({ kind: 'int', error: 'int', latency_ns: 'int64' });
const FUNCTIONS = {
  attach: ['int', [OUT, 'str', HANDLE, HANDLE, 'size_t']],
  arena_close: ['void', [HANDLE]],
  arena_fold: ['void', [HANDLE, 'int64']],
  arena_engine: ['int', [HANDLE, 'int64']],
  arena_errmsg: ['str', [HANDLE]],
  arena_path: ['int', [HANDLE, 'str', OUT]],
  path_record: ['void', [HANDLE, 'int', 'int64']],
  breaker_get: GET,
  breaker_ask: [PERMIT, [HANDLE, 'int64']],
  breaker_ask_key: [PERMIT, [HANDLE, 'str', 'size_t', 'int64']],
  breaker_done: DONE,
  breaker_state: ['int', [HANDLE]],
  limiter_get: GET,
  limiter_ask: ['int64', [HANDLE, 'double', 'int64']],
  bulkhead_get: GET,
  bulkhead_enter: [PERMIT, [HANDLE, 'int64']],
  bulkhead_leave: ['void', [HANDLE, 'int64', 'uint64', 'int64']],
  bulkhead_inside: ['uint32', [HANDLE]],
  adaptive_limit_get: GET,
  adaptive_limit_ask: [PERMIT, [HANDLE, 'int64']],
  adaptive_limit_done: DONE,
  adaptive_limit_now: ['uint32', [HANDLE]],
  shedder_get: GET,
  shedder_ask: [PERMIT, [HANDLE, 'int', 'int64']],
  shedder_done: DONE,
  shedder_load: ['void', [HANDLE, 'double']],
  retry_get: GET,
  retry_call: ['void', [HANDLE, 'int64']],
  retry_next: ['int64', [HANDLE, 'uint32', 'int64']],
  timeout_get: GET,
  timeout_deadline: ['int64', [HANDLE, 'int64', 'int64']],
  timeout_done: ['void', [HANDLE, 'int']],
  flag_get: ['int', [HANDLE, 'str', 'int', OUT]],
  flag_on: ['int', [HANDLE, 'int64']],
  fault_get: ['int', [HANDLE, 'str', OUT]],
  fault_ask: [FAULT_ACTION, [HANDLE, 'str', 'int64']],
  counter_get: ['int', [HANDLE, 'str', OUT]],
  counter_add: ['void', [HANDLE, 'uint64', 'int64']],
  counter_total: ['uint64', [HANDLE]],
  histogram_get: ['int', [HANDLE, 'str', 'int64', OUT]],
  histogram_record: ['void', [HANDLE, 'int64']],
  histogram_read: ['int64', [HANDLE, 'double']],
};

function open() {
  const told = process.env.NINES_LIBRARY;
  for (const name of told ? [told] : [`${__dirname}/libnines-core.so`, 'libnines-core.so.0', 'libnines-core.so']) {
    try {
      return koffi.load(name);
    } catch {
      continue;
    }
  }
  throw new NinesError(ENOTFOUND, told ? `${told} (NINES_LIBRARY) is not there, or no library` :
    'libnines-core.so is not found: install nines, or set NINES_LIBRARY to its path');
}

const lib = {};
function load() {
  if (lib.attach) return;
  const library = open();
  for (const [name, [result, parameters]] of Object.entries(FUNCTIONS)) lib[name] = library.func(`nines_${name}`, result, parameters);
}

// CLOCK_MONOTONIC in ns, which process.hrtime counts too. A number holds it exactly for the first 104 days of a machine's
// life, then to some ns.
function now() {
  const [seconds, nanoseconds] = hrtime();
  return seconds * 1e9 + nanoseconds;
}

module.exports = { EINVAL, ESTATE, NinesError, STATES, configs, koffi, lib, load, now, settings };
