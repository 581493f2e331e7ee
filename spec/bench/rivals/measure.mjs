// What npm's circuit breakers cost a call, in nanoseconds, as JSON: {"row": [median, p10], ...}.
//
// After a warm-up, slices of some 2 ms; those count in which the process had a processor all the time.

import cockatiel from 'cockatiel';
import CircuitBreaker from 'opossum';

const { BrokenCircuitError, ConsecutiveBreaker, CountBreaker, SamplingBreaker, bulkhead, circuitBreaker, handleAll } = cockatiel;
const SLICES = 100;
const SLICE_MS = 2;
const WARM_UP_MS = 150;
const GIVE_UP_MS = 700;

const call = async () => 1;
let answers = 0;

const breakers = [];
function opossum(options) {
  const breaker = new CircuitBreaker(call, { resetTimeout: 3600000, ...options });
  breakers.push(breaker);
  return breaker;
}

const fired = opossum({});
const bare = opossum({ timeout: false, rollingPercentilesEnabled: false });
const opened = opossum({});
opened.open();

const ofCockatiel = (breaker) => circuitBreaker(handleAll, { halfOpenAfter: 3600000, breaker });
const consecutive = ofCockatiel(new ConsecutiveBreaker(5));
const sampling = ofCockatiel(new SamplingBreaker({ threshold: 0.5, duration: 10000 }));
const counting = ofCockatiel(new CountBreaker({ threshold: 0.5, size: 100 }));
const broken = ofCockatiel(new ConsecutiveBreaker(1));
await broken.execute(async () => { throw new Error('down'); }).catch(() => {});
const places = bulkhead(25);

// Each row is one loop: an indirection inside it would be measured too.
const rows = {
  'floor: bare await': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await call();
  },
  'opossum fire, defaults': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await fired.fire();
  },
  'opossum fire, no timeout, no percentiles': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await bare.fire();
  },
  'opossum fire, rejected': async (calls) => {
    for (let i = 0; i < calls; i++) {
      try {
        await opened.fire();
      } catch (error) {
        answers += error.code === 'EOPENBREAKER';
      }
    }
  },
  'cockatiel ConsecutiveBreaker': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await consecutive.execute(call);
  },
  'cockatiel SamplingBreaker, 10 s': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await sampling.execute(call);
  },
  'cockatiel CountBreaker, 100': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await counting.execute(call);
  },
  'cockatiel, rejected': async (calls) => {
    for (let i = 0; i < calls; i++) {
      try {
        await broken.execute(call);
      } catch (error) {
        answers += error instanceof BrokenCircuitError;
      }
    }
  },
  'cockatiel bulkhead': async (calls) => {
    for (let i = 0; i < calls; i++) answers += await places.execute(call);
  },
};

// Milliseconds of a slice, and whether the process had a processor meanwhile.
async function slice(row, calls) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await row(calls);
  const ms = performance.now() - start;
  const used = process.cpuUsage(cpu);
  return { ms, undisturbed: ms <= ((used.user + used.system) / 1000) * 1.03 };
}

async function measure(name, row) {
  let calls = 64;
  let asked = 0;
  answers = 0;
  const run = () => ((asked += calls), slice(row, calls));
  const begin = performance.now();
  while (performance.now() - begin < WARM_UP_MS) {
    if ((await run()).ms < SLICE_MS) calls *= 2;
  }
  const kept = [];
  const every = [];
  while (kept.length < SLICES && performance.now() - begin < GIVE_UP_MS) {
    const { ms, undisturbed } = await run();
    every.push(ms);
    if (undisturbed) kept.push(ms);
  }
  if (answers !== asked) throw new Error(`${name}: ${answers} of ${asked} calls were answered as they should be`);
  const sorted = (kept.length > 0 ? kept : every).sort((a, b) => a - b);
  return [0.5, 0.1].map((quantile) => (sorted[Math.floor(quantile * sorted.length)] * 1e6) / calls);
}

const figures = {};
for (const [name, row] of Object.entries(rows)) figures[name] = await measure(name, row);
for (const breaker of breakers) breaker.shutdown();
console.log(JSON.stringify(figures));
