// The primitives beside the floors of this machine, their goals, the best rival of other languages, and npm's rivals.
//
//   node primitives.mjs BUILD
//
// The program build/bench_primitives measures nines and the floors, rivals/measure.mjs npm's breakers, both here and
// now. Rivals of other languages need a JVM or Go: those figures, marked research, are of the machine that the goals were
// made for. Figures are medians; a floor is the fastest tenth of its slices. Ratios say how many times nines takes the
// floor or the goal, and how many times nines a rival takes: below 1 the rival is faster.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildDir, child, main, tempDir } from '../e2e/rig.mjs';

const build = buildDir();
const rivals = path.join(path.dirname(fileURLToPath(import.meta.url)), 'rivals');

// Pairs are [1 thread, 2 threads on one object].
const LINE = 'private line, load + add + store';
const ADD = 'one line, fetch_add';
const SWAP = 'one line, compare-and-swap loop';
const CLOCK = 'clock, CLOCK_MONOTONIC';
const BREAKERS = ['opossum fire, no timeout, no percentiles', 'cockatiel ConsecutiveBreaker', 'cockatiel SamplingBreaker, 10 s'];
const against = {
  'breaker ask + done': { floor: LINE, goal: [4, 4], peer: [17.1, 79, 'Resilience4j; failsafe-go'], npm: BREAKERS },
  'breaker ask + done, latency': { floor: LINE, goal: [6, 6], peer: [39, null, 'Resilience4j + HdrHistogram'], npm: ['opossum fire, defaults'] },
  'breaker ask + done, latency, fine clock': { floor: CLOCK, goal: [27, 27], peer: [68.3, 270, 'Resilience4j, 2 timestamps'], npm: ['opossum fire, defaults'] },
  'breaker ask, refused when open': { floor: LINE, goal: [1, 1], peer: [85, 88, 'Resilience4j'], npm: ['opossum fire, rejected', 'cockatiel, rejected'] },
  'breaker ask + done, last 100 calls': { floor: SWAP, peer: [17.1, 79, 'Resilience4j; failsafe-go'], npm: ['cockatiel CountBreaker, 100'] },
  'breaker ask_key + done': { floor: SWAP },
  'limiter ask, owner': { floor: LINE, goal: [2, null], peer: [35.9, null, 'Resilience4j'] },
  'limiter ask, shared': { floor: SWAP, goal: [10, null], peer: [35.9, 77, 'Resilience4j'] },
  'bulkhead enter + leave, owner': { floor: LINE, goal: [2, null], peer: [11.5, null, 'Resilience4j'], npm: ['cockatiel bulkhead'] },
  'bulkhead enter + leave, shared': { floor: ADD, goal: [2, 2], peer: [11.5, 53, 'Resilience4j'], npm: ['cockatiel bulkhead'] },
  'adaptive limit ask + done': { floor: LINE, peer: [274, 556, 'failsafe-go'] },
  'shedder ask + done, quiet': { floor: LINE },
  'retry call': { floor: LINE },
  'histogram record': { floor: LINE, goal: [2, 2], peer: [1.5, 33, 'HdrHistogram, no window'] },
  'histogram read p99': { floor: LINE, goal: [60, null], peer: [53, null, 'HdrHistogram_c, 1 digit'] },
  'counter add': { floor: LINE },
  'fault point, disabled': { floor: LINE, goal: [0.5, 0.5] },
  'fault point, injects 1 in 100': { floor: LINE },
};
// The same floors on the machine of the goals and of the rivals of other languages.
const research = { [LINE]: [0.27, 0.27], [ADD]: [5.4, 15.2], [SWAP]: [5.3, 38.4], [CLOCK]: [23.1, null], 'clock, CLOCK_MONOTONIC_COARSE': [3.3, null] };
const BYTES_GOAL = [7 * 1024, 10 * 1024];

async function output(command, args, options) {
  const run = child(command, args, options);
  const end = await run.ended;
  if (end.code !== 0) throw new Error(`${path.basename(args[0] ?? command)} ended with ${end.code ?? end.error ?? end.signal}: ${run.output}`);
  return run.output;
}

// Lines of a name in 44 columns and figures, "-" or "busy": {name: [number or null, ...]}
function parse(text) {
  const lines = text.trim().split('\n').slice(1);
  const figure = (cell) => (Number.isNaN(Number(cell)) ? null : Number(cell));
  return Object.fromEntries(lines.map((line) => [line.slice(0, 44).trim(), line.slice(44).trim().split(/ +/).map(figure)]));
}

async function measureRivals() {
  const dir = path.join(tempDir('rivals'), 'rivals');
  fs.cpSync(rivals, dir, { recursive: true, filter: (file) => !file.includes('node_modules') });
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: dir, encoding: 'utf8', timeout: 120000 });
  if (npm.status !== 0) {
    console.log(`npm's rivals are not measured, npm ci: ${npm.error ? npm.error.message : npm.stderr.split('\n').find((line) => /^npm (error|ERR!) (?!code)/.test(line))}`);
    return {};
  }
  return JSON.parse(await output('node', ['measure.mjs'], { cwd: dir }));
}

const ns = (value) => (value == null ? '-' : value < 100 ? value.toFixed(2) : value.toFixed(0));
const given = (value) => String(value ?? '-');
const times = (a, b) => (a == null || b == null || b === 0 ? '-' : a / b < 10 ? (a / b).toFixed(2) : (a / b).toFixed(0));
// A pair for one and two threads; one figure where there is only one.
const pair = (one, two) => (two === '-' ? one : `${one} ${two}`);
const ratio = (a, b) => (a && b ? pair(times(a[0], b[0]), times(a[1], b[1])) : '-');
// The fastest of those measured: [name, ns].
const best = (names, found) => names.filter((name) => found[name]).map((name) => [name, found[name][0]]).sort((a, b) => a[1] - b[1])[0];

function table(head, body) {
  const width = head.map((cell, i) => Math.max(cell.length, ...body.map((row) => row[i].length)));
  for (const row of [head, ...body]) console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(width[i]) : cell.padStart(width[i]))).join('  ').trimEnd());
  console.log();
}

await main(async () => {
  const measured = parse(await output(path.join(build, 'bench_primitives'), []));
  const found = await measureRivals();
  const floors = Object.entries(measured).filter(([name]) => name.startsWith('floor: '));
  const floor = Object.fromEntries(floors.map(([name, figures]) => [name.slice(7), figures]));
  // A line of one's own is as fast beside another thread; whether the processor renames it differs from run to run.
  const under = (name) => (name === LINE ? Array(2).fill(Math.min(...floor[name].filter(Boolean))) : floor[name].slice(2));

  table(['floors, ns (2T: two threads, each)', '1T', '2T', 'p10 1T', 'p10 2T', 'research 1T 2T'],
    Object.entries(floor).map(([name, f]) => [name, ...f.map(ns), research[name] ? pair(...research[name].map(given)) : '-']));

  const rows = Object.entries(measured).filter(([name]) => !/^(floor|bytes):/.test(name));
  table(['nines, ns (2T: two threads on one object, each)', '1T', '2T', 'p10 1T', 'p10 2T', 'x floor', 'goal', 'x goal'],
    rows.map(([name, f]) => {
      const { floor: least, goal } = against[name];
      return [name, ...f.map(ns), ratio(f, under(least)), goal ? pair(...goal.map(given)) : '-', ratio(f, goal)];
    }));
  table(['rivals, ns', 'nines', 'research 1T 2T', 'x nines', 'which', 'npm, here', 'x nines', 'which'],
    rows.filter(([name]) => against[name].peer || against[name].npm).map(([name, f]) => {
      const { peer, npm = [] } = against[name];
      const rival = best(npm, found);
      return [name, pair(...f.slice(0, 2).map(ns)), peer ? pair(...peer.slice(0, 2).map(given)) : '-', ratio(peer && [peer[0], peer[1]], f),
        peer ? peer[2] : '-', ns(rival?.[1]), times(rival?.[1], f[0]), rival ? rival[0] : '-'];
    }));

  const bare = found['floor: bare await'];
  if (bare) table(['npm, ns', 'median', 'p10', 'x bare await'], Object.entries(found).map(([name, f]) => [name, ns(f[0]), ns(f[1]), times(f[0], bare[0])]));

  const bytes = Object.entries(measured).filter(([name]) => name.startsWith('bytes: '));
  table(['bytes (breaker with latency, limiter, bulkhead, retry, fault point)', '1 writer', '2 writers', 'goal', 'x goal'],
    bytes.map(([name, f], i) => [name.slice(7), ...f.map((value) => String(value ?? '-')), ...(i === 0 ? [BYTES_GOAL.join(' '), ratio(f, BYTES_GOAL)] : ['-', '-'])]));
});
