// The Node binding with a real engine: every call, promises, processes, threads, an engine that is killed, and a web
// shop under wrk.
//
//   node node.mjs BUILD [ROUNDS=2]     rounds of wrk, two seconds each
//
// Exit 77 when npm cannot get koffi.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Engine, buildDir, check, child, main, now, poll, project, skip, sleep, tempDir } from './rig.mjs';
import { layout } from './node/layout.mjs';
import { overhead } from './node/overhead.mjs';

const build = buildDir();
const rounds = Number(process.argv[3] || 2);
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '../..');
const crew = path.join(here, 'node/crew.cjs');
process.env.NINES_LIBRARY = path.join(build, 'libnines-core.so');

// bindings/node and examples/node, side by side as in the source.
function install() {
  const copy = tempDir('node');
  for (const folder of ['bindings/node', 'examples/node']) {
    fs.cpSync(path.join(root, folder), path.join(copy, folder), { recursive: true, filter: (file) => !/node_modules|nines-data/.test(file) });
  }
  const binding = path.join(copy, 'bindings/node');
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: binding, encoding: 'utf8', timeout: 120000 });
  if (npm.status !== 0) skip(`npm ci: ${npm.error ? npm.error.message : npm.stderr.trim().split('\n').pop()}`);
  return { copy, binding };
}

function caught(fn) {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return new Error('nothing was thrown');
}

const boom = () => {
  throw new Error('boom');
};
const rejects = (promise) => promise.then(() => new Error('nothing was thrown'), (error) => error);

function sentences(nines, arena) {
  const cases = [
    [() => nines.breaker('b'), 'NINES_EINVAL', /needs the path of an arena, or NINES_ARENA/],
    [() => nines.attach(`${arena}.none`, { wait: 0 }), 'NINES_ENOTFOUND', /no arena at .*is its engine running/],
    [() => nines.attach(fileURLToPath(import.meta.url)), 'NINES_ECORRUPT', /not an arena of nines/],
    [() => nines.attach(arena, { waitt: 1, wait: 'long' }), undefined, /wait is long, but should be milliseconds/],
  ];
  const attached = [
    [() => nines.breaker('b', { failureRat: 1 }), undefined, /unknown setting failureRat \(known: window, .*failureRate/],
    [() => nines.breaker('b', { failureRate: 'all' }), undefined, /failureRate is all, but should be a number/],
    [() => nines.breaker('b', { windowCalls: -1 }), undefined, /windowCalls is -1, but should be a whole number/],
    [() => nines.breaker('b', { lost: 'maybe' }), undefined, /lost is maybe, but should be admit or refuse/],
    [() => nines.breaker('b', { open: Infinity }), undefined, /open is Infinity/],
    [() => nines.breaker('b', { failureRate: 200 }), 'NINES_EINVAL', /failure_rate is 200: 0.01 to 100 percent/],
    [() => nines.limiter('l'), 'NINES_EINVAL', /has no default rate/],
    [() => nines.path('x'.repeat(185)), 'NINES_EINVAL', /1 to 184 bytes/],
    [() => nines.counter('c').add(-1), undefined, /cannot add -1/],
  ];
  let bad = '';
  const test = ([fn, code, pattern]) => {
    const error = caught(fn);
    if (error.code !== code || !pattern.test(error.message)) bad += `\n${fn}: ${error.code} ${error.message}`;
  };
  cases.forEach(test);
  const first = nines.attach(arena);
  attached.forEach(test);
  const breaker = first.breaker('closing'), end = breaker.enter();
  const more = [];
  let full;
  while (!full && more.length < 40) {
    try {
      more.push(new nines.Arena(arena, { wait: 0 }));
    } catch (error) {
      full = error;
    }
  }
  if (full?.code !== 'NINES_ELIMIT' || !/attach fewer processes/.test(full.message)) bad += `\nafter ${more.length} more: ${full}`;
  for (const arena of [first, first, ...more]) arena.close();
  end();
  for (const fn of [() => breaker.state, () => breaker.call(() => 1), () => first.engine, () => first.path('p')]) {
    test([fn, 'NINES_ESTATE', /arena is closed/]);
  }
  check(!bad, `${cases.length + attached.length + 5} refusals with their sentences, the last after ${more.length} arenas more in one process${bad}`);
}

async function tracked(nines, observed) {
  const add = nines.track('tracked', function (a, b) {
    return this === undefined || this === globalThis ? a + b : this.base + a + b;
  });
  const cart = { base: 10, add };
  const later = nines.track('tracked', async (ms, error) => (await sleep(ms), error ? boom() : ms));
  const thrower = nines.track('tracked')(boom);
  check(add(1, 2) === 3 && cart.add(1, 2) === 13 && add.length === 2 && thrower.name === 'boom', 'a tracked function keeps its arguments, this, name and length');
  check(await later(20) === 20 && (await rejects(later(1, true))).message === 'boom' && caught(thrower).message === 'boom', 'what it returns, throws or rejects with comes through');
  const slow = [later(30), later(30), later(30)];
  await Promise.all(slow);
  nines.path('tracked').record(false, 5);
  nines.path('tracked').record(true);
  const [total, bad] = await observed('tracked', 10);
  check(total === 10 && bad === 3, `10 observations, 3 bad, some at once: ${total}, ${bad}`);
}

async function guarded(nines, engine) {
  const get = async (url) => (await engine.ask('GET', url)).json;
  const gateway = nines.breaker('gateway', { failureRate: -1, failuresInARow: 3, open: 60000 });
  check(gateway.call((a, b) => a + b, 1, 2) === 3 && await gateway.call(async () => 'paid') === 'paid', 'breaker.call passes arguments and results, sync and async');
  const abort = Object.assign(new Error('stop'), { name: 'AbortError' });
  for (let i = 0; i < 5; i++) await rejects(gateway.call(() => Promise.reject(abort)));
  check(gateway.state === 'closed', 'what its caller aborted counts as never called');
  await rejects(gateway.call(() => Promise.reject(new Error('no route'))));
  caught(() => gateway.call(boom));
  const second = new nines.Arena(process.env.NINES_ARENA);
  await rejects(gateway.call(async () => boom()));
  const from = now();
  const also = second.breaker('gateway').state;
  check(gateway.state === 'open' && also === 'open', `three failures in a row open it, in another attachment too, ${((now() - from) * 1000).toFixed(0)} us later`);
  const refused = caught(() => gateway.call(() => check(false, 'a refused call ran')));
  check(refused instanceof nines.Refused && refused.wait > 50000 && refused.wait <= 60000 && /breaker "gateway" is open/.test(refused.message), `Refused: ${refused.message}, wait ${Math.round(refused.wait)} ms`);
  const awaited = await rejects((async () => gateway.call(async () => 1))());
  check(awaited instanceof nines.Refused, 'and rejects where it is awaited');

  const tenants = nines.breaker('tenants', { keys: 8, failuresInARow: 2, open: 60000 });
  for (let i = 0; i < 2; i++) caught(() => tenants.callKey('münchen', boom));
  check(caught(() => tenants.callKey('münchen', () => 1)) instanceof nines.Refused && tenants.callKey('kiel', () => 7) === 7 && tenants.call(() => 8) === 8, 'callKey refuses the failing tenant alone');

  const limiter = nines.limiter('search', { rate: 1, burst: 3 });
  const asked = [1, 2, 3].map(() => limiter.ask());
  const over = caught(() => limiter.ask());
  check(`${asked}` === '0,0,0' && over instanceof nines.Refused && over.wait > 0 && over.wait <= 1000, `limiter: three at once, then wait ${Math.round(over.wait)} ms`);
  check(caught(() => limiter.ask(4)).wait === Infinity, 'more than its burst: never');

  const reports = nines.bulkhead('reports', { concurrentMax: 2 });
  const ends = [reports.enter(), reports.enter()];
  const full = caught(() => reports.call(() => 1));
  ends[0]();
  ends[0]();
  check(full instanceof nines.Refused && /is full/.test(full.message) && reports.inside === 1, 'bulkhead: two inside, the third refused; leaving twice counts once');
  ends[1]();
  const db = nines.adaptiveLimit('db', { initial: 5, min: 5 });
  const inside = Array.from({ length: 5 }, () => db.enter());
  check(db.limit === 5 && caught(() => db.call(() => 1)) instanceof nines.Refused, 'adaptive limit: five inside, the sixth refused');
  inside.forEach((end) => end());

  const door = nines.shedder('door');
  door.load(0.8);
  const passed = [nines.SHEDDABLE, nines.SHEDDABLE_PLUS, nines.CRITICAL, nines.CRITICAL_PLUS].map((criticality) => {
    try {
      return door.callAt(criticality, () => 'in');
    } catch (error) {
      return error instanceof nines.Refused ? 'shed' : error;
    }
  });
  check(`${passed}` === 'shed,shed,in,in' && door.call(() => 'in') === 'in', `shedder, 80% full, by criticality: ${passed}`);

  let tries = 0;
  const again = nines.retry('again', { attempts: 3, wait: 5, budget: -1 });
  const third = await again.call(async (by) => ((tries += by), tries < 3 ? boom() : tries), 1);
  const gaveUp = await rejects(again.call(boom));
  tries = 0;
  await rejects(again.call(() => (tries++, gateway.call(() => 1))));
  check(third === 3 && gaveUp.message === 'boom' && tries === 1, 'retry: the third attempt succeeds; then gives up; a refusal is not tried again');

  const limit = nines.timeout('limit', { limit: 50 });
  let signal;
  const at = now();
  const late = await rejects(limit.call((its) => ((signal = its), new Promise(() => {}))));
  check(late instanceof nines.TimedOut && signal.aborted && signal.reason === late && now() - at < 1000, `timeout after ${Math.round(now() - at)} ms, its signal aborted`);
  check(await limit.call(async (its, value) => value, 'fast') === 'fast' && limit.left() === 50 && Math.round(limit.left(20)) === 20, 'in time: the result; never longer than the caller waits');
  const seen = await poll('the breaker in the engine', 2000, async () => (await get('/v1/breakers/gateway')).state === 'open');
  const timeouts = await get('/v1/timeouts/limit');
  check(seen && timeouts, `the engine has it all: ${(await get('/v1/protections')).map((item) => `${item.noun} ${item.name}`).join(', ')}`);
  second.close();
}

async function measured(nines) {
  const served = nines.counter('served');
  for (let i = 0; i < 100; i++) served.add();
  served.add(11);
  const durations = nines.histogram('durations', 60000);
  check(durations.quantile(0.5) === undefined, 'a histogram without data has no quantile');
  for (let i = 1; i <= 100; i++) durations.record(i);
  await poll('a quantile', 2000, () => durations.quantile(0.5) !== undefined);
  const p50 = durations.quantile(0.5);
  check(served.total === 111 && Math.abs(p50 - 50) < 3, `counter ${served.total}, p50 of 1 to 100 ms: ${p50.toFixed(1)} ms`);
  check(nines.flag('nobody_has_it').on === false && nines.flag('nobody_has_it', true).on === true, 'an unknown flag is what its caller says');
}

async function switched(nines, binding, cli) {
  const flag = nines.flag('new_checkout');
  const watchers = [1, 2, 3].map(() => child(process.execPath, [path.join(here, 'node/watch.cjs'), binding, 'new_checkout']));
  await poll('the watchers', 5000, () => watchers.every((watcher) => watcher.output.includes('ready')));
  const seen = [];
  for (const on of [false, true, false]) {
    const { status, stdout, stderr } = cli('flag', on ? 'on' : 'off', 'new_checkout');
    const answered = Number(process.hrtime.bigint()) / 1e6;
    if (status !== 0) throw new Error(`nines flag: ${stdout}${stderr}`);
    await poll('all to see the flag', 2000, () => flag.on === on && watchers.every((watcher) => watcher.output.trim().split('\n').pop().startsWith(`${on} `)), 1);
    seen.push(Math.max(...watchers.map((watcher) => Number(watcher.output.trim().split(' ').pop()))) - answered);
  }
  watchers.forEach((watcher) => watcher.kill());
  check(Math.max(...seen) < 50, `nines flag off, on, off: the last of 4 processes has seen it ${seen.map((ms) => `${ms.toFixed(1)}`).join(', ')} ms after the command ended (a beat is 50)`);
}

async function crews(nines, binding, engine, observed) {
  const calls = 5000, workers = 4, rounds = 10;
  const run = async (name, started) => {
    await started;
    const count = name === 'threads' ? rounds * workers * 500 : workers * calls;
    const [total, bad] = await observed(name, count);
    const { json } = await engine.ask('GET', `/v1/breakers/${name}`);
    const served = elsewhere(nines, name);
    check(total === count && bad === count / 10 && json.total === count && json.in_flight === 0 && served === 2 * count,
      `${name}: ${count} calls; path ${total}, ${bad} bad; breaker ${json.total}, ${json.in_flight} in flight; counter ${served}`);
  };
  const cluster = child(process.execPath, [crew, binding, 'cluster', String(calls), '--cluster', String(workers)]);
  await run('cluster', cluster.ended.then(({ code }) => check(code === 0, `${workers} workers of node:cluster ended with ${code} ${cluster.output}`)));
  await run('threads', (async () => {
    for (let round = 0; round < rounds; round++) {
      await Promise.all(Array.from({ length: workers }, () => new Promise((resolve, reject) => {
        new Worker(crew, { workerData: [binding, 'threads', 500] }).on('error', reject).on('exit', resolve);
      })));
    }
  })());
}

// A counter as another attachment sees it.
function elsewhere(nines, name) {
  const arena = new nines.Arena(process.env.NINES_ARENA);
  const { total } = arena.counter(name);
  arena.close();
  return total;
}

// The engine dies while calls go on, and comes back.
async function killed(nines, engine, observed) {
  const arena = nines.attach(process.env.NINES_ARENA, { keep: 2000 });
  const careful = nines.breaker('careful', { lost: 'refuse' }), easy = nines.breaker('easy'), flag = nines.flag('new_checkout', true);
  const pay = nines.track('outlived', async () => easy.call(async () => sleep(1)));
  let calls = 0, uncounted = 0, failed = 0, longest = 0;
  const load = setInterval(() => {
    const from = now();
    calls++;
    uncounted += arena.engine === 'lost';
    pay().catch(() => failed++);
    longest = Math.max(longest, now() - from);
  }, 2);
  await sleep(100);
  const was = { engine: arena.engine, flag: flag.on, careful: careful.call(() => 'in') };
  await engine.kill();
  const from = now();
  await poll('the engine to be missed', 3000, () => arena.engine === 'gone');
  const kept = { flag: flag.on, careful: careful.call(() => 'in'), ms: now() - from };
  await poll('it to be lost', 5000, () => arena.engine === 'lost');
  const lost = { flag: flag.on, careful: caught(() => careful.call(() => 'in')), ms: now() - from };
  check(was.engine === 'there' && !was.flag && !kept.flag && kept.careful === 'in', `killed: missed after ${Math.round(kept.ms)} ms, its decisions kept`);
  check(lost.flag === true && lost.careful instanceof nines.Refused, `lost after ${Math.round(lost.ms)} ms: flags and breakers answer as asked (${lost.careful.message})`);
  const without = caught(() => nines.counter('made_meanwhile'));
  check(without.code === 'NINES_ETIMEOUT' && /its engine is gone/.test(without.message), `what nobody can make now is an error: ${without.message.replace(/^\S*\//, '')}`);
  await engine.start();
  const back = now();
  await poll('the engine to be back', 3000, () => arena.engine === 'there' && !flag.on);
  check(careful.call(() => 'in') === 'in', `back: all hold again ${Math.round(now() - back)} ms after the engine was ready`);
  const meanwhile = nines.counter('made_meanwhile');
  meanwhile.add(3);
  check(meanwhile.total === 3, 'and is made once it is back');
  clearInterval(load);
  await sleep(50);
  const [total, bad] = await observed('outlived', calls);
  const { json } = await engine.ask('GET', '/v1/breakers/easy');
  check(total === calls && bad === 0 && failed === 0 && Math.abs(json.total + uncounted - calls) <= 1,
    `${calls} calls went on meanwhile, none failed, the longest took ${longest.toFixed(1)} ms to start: path ${total}, breaker ${json.total} (${uncounted} were admitted without an engine)`);
  arena.close();

  // Nobody is there yet.
  await engine.stop();
  const early = new nines.Arena(process.env.NINES_ARENA, { wait: 0, withoutEngine: true });
  const waiting = early.breaker('waiting', { lost: 'refuse' });
  check(early.engine === 'lost' && caught(() => waiting.call(() => 1)) instanceof nines.Refused, 'attached without an engine: lost');
  await engine.start();
  await poll('the breaker to admit', 4000, () => caught(() => waiting.call(() => 1)).message === 'nothing was thrown');
  check(early.engine === 'there', 'and found by itself once it runs');
  early.close();
}

async function struck(nines) {
  const dir = project('node-faults', { 'nines.yaml': 'listen: 127.0.0.1:0\n', 'policies/none.lua': '' });
  const program = path.join(dir, 'host');
  const cc = spawnSync(process.env.CC || 'cc', ['-std=c11', '-I', path.join(root, 'engine'), path.join(here, 'node/host.c'), '-o', program, `-L${build}`, '-lnines', `-Wl,-rpath,${build}`], { encoding: 'utf8' });
  if (!check(cc.status === 0, `a C program embeds the engine ${cc.stderr || cc.error || ''}`)) return;
  const host = child(program, [dir]);
  await poll(() => `the host: ${host.output}`, 5000, () => host.output.includes('ready'));
  const arena = new nines.Arena(path.join(dir, 'nines-data/arena'));
  const from = now();
  await arena.fault('slow').strike();
  const ms = now() - from;
  const error = caught(() => arena.fault('broken').strike());
  const drop = caught(() => arena.fault('eu').strike('eu-west'));
  check(ms > 35 && ms < 1000 && error instanceof nines.Injected && error.kind === 'error' && error.error === 503 && drop.kind === 'drop', `faults: ${Math.round(ms)} ms late; ${error.message}; ${drop.message}`);
  check(arena.fault('eu').strike('us-east') === undefined && arena.fault('other').strike() === undefined, 'other keys and other points go unharmed');
  arena.close();
  host.kill('SIGKILL');
  await host.ended;
}

async function example(copy) {
  const dir = path.join(copy, 'examples/node');
  const shop = child('bash', [path.join(dir, 'run'), build], { env: { ...process.env, PORT: '0', NINES_ARENA: '' } });
  await poll(() => `the example to listen: ${shop.output}`, 10000, () => /listens: (\S+)/.test(shop.output));
  const url = shop.output.match(/listens: (\S+)/)[1];
  const answers = [];
  for (const query of ['tea', 'cup', 'pot&broken', 'car', 'tea']) {
    answers.push((await fetch(url.replace('tea', query), { headers: { connection: 'close' } })).status);
  }
  const ask = () => spawnSync(path.join(build, 'nines'), ['status'], { cwd: dir, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1', NINES_ENGINE: '' } }).stdout;
  await poll(() => `the status: ${ask()}`, 5000, () => /checkout +\S+ +80(\.0+)?%/.test(ask()), 100);
  check(`${answers}` === '200,200,500,404,200', `examples/node/run: ${answers}; nines status shows checkout at 80%`);
  shop.kill('SIGTERM');
  const end = await shop.ended;
  check(end.code !== null || end.signal, `it ends when told: ${end.code ?? end.signal}`);
}

await main(async () => {
  const { copy, binding } = install();
  const require = createRequire(import.meta.url);
  const nines = require(binding);
  layout(require(path.join(binding, 'library.js')), path.join(root, 'engine'));
  const dir = project('node', {
    'nines.yaml': 'listen: 127.0.0.1:0\n',
    'policies/shop.lua': 'critical_path "tracked" { success_rate = 99.9, window = "1h" }\nflag "new_checkout" { default = true }\n',
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const cli = (...args) => spawnSync(engine.program, args, { cwd: dir, encoding: 'utf8', env: { ...process.env, NINES_ENGINE: '' } });
  const observed = async (name, count) => {
    const read = async () => {
      const metrics = await engine.metrics();
      return ['nines_path_requests_total', 'nines_path_failures_total'].map((metric) => metrics(metric, { path: name }) ?? 0);
    };
    await poll(`${count} observations of ${name}`, 3000, async () => (await read())[0] >= count).catch(() => {});
    await sleep(120); // more would be wrong, too
    return read();
  };

  const arena = path.join(dir, 'nines-data/arena');
  sentences(nines, arena);
  process.env.NINES_ARENA = arena;
  await poll('the numbers to come back', 3000, () => caught(() => nines.attach().close()).message === 'nothing was thrown');
  nines.attach();
  await tracked(nines, observed);
  await guarded(nines, engine);
  await measured(nines);
  await switched(nines, binding, cli);
  await crews(nines, binding, engine, observed);
  await struck(nines);
  await killed(nines, engine, observed);
  await engine.stop();
  await example(copy);
  fs.rmSync(path.join(copy, 'examples/node/nines-data'), { recursive: true, force: true });
  await overhead(build, copy, rounds);
});
