// The Python binding with a real engine: every call, tasks, forks, an engine that is killed, and a pre-forked web shop under
// wrk.
//
//   node python.mjs BUILD [ROUNDS=2]     rounds of wrk, a second each

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine, buildDir, check, child, main, median, poll, project, sleep, tempDir } from './rig.mjs';

const build = buildDir();
const rounds = Number(process.argv[3] || 2);
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '../..');
const CONNECTIONS = 8;
const env = { ...process.env, NINES_LIBRARY: path.resolve(build, 'libnines-core.so'), PYTHONDONTWRITEBYTECODE: '1' };

const python = (args) => child('python3', args, { env });
const requests = async (engine, name) => (await engine.metrics())('nines_path_requests_total', { path: name }) ?? 0;

async function binding() {
  const dir = project('python', {
    'nines.yaml': 'listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\ndata: ./nines-data\npolicies: [policies]\n',
    'policies/one.lua': 'flag "new_ui" { default = true }\nflag "steady" { default = true }\n',
  });
  const arena = path.join(dir, 'nines-data/arena');
  const engine = new Engine(build, dir);
  await engine.start();
  const checks = python([path.join(here, 'python/checks.py'), arena, path.resolve(build), dir]);
  const end = await checks.ended;
  process.stdout.write(checks.output);
  check(end.code === 0, 'all checks of the binding');
  await poll('the counts', 3000, async () => (await requests(engine, 'forked')) === 160000).catch(() => {});
  const forked = await requests(engine, 'forked'), tracked = await requests(engine, 'tracked');
  check(forked === 160000 && tracked === 8, `the engine counted ${forked} of 160000 observations of forked threads, ${tracked} of 8 tracked calls`);

  const survivor = python([path.join(here, 'python/survivor.py'), arena]);
  await poll('the survivor', 5000, () => survivor.output.includes('ready'));
  for (let i = 0; i < 3; i++) {
    await sleep(300);
    await engine.kill();
    await sleep(i === 1 ? 800 : 50); // once for longer than decisions are kept
    await engine.start();
  }
  await sleep(300);
  survivor.kill('SIGTERM');
  await survivor.ended;
  const [count, longest, off, on] = survivor.output.trim().split('\n').pop().split(' ').map(Number);
  await poll('the counts', 3000, async () => (await requests(engine, 'survivor')) === count).catch(() => {});
  const counted = await requests(engine, 'survivor');
  check(counted === count, `the engine was killed 3 times: it counted ${counted} of ${count} observations made meanwhile`);
  check(off > 0 && on > off, `a flag had its default while the engine was lost (${off} times of ${off + on})`);
  check(longest < 1000, `no call ever waited for an engine; the longest step took ${longest} ms`);
  await engine.stop();
}

async function serve(program, more) {
  const shop = child('python3', [program], { env: { ...env, ...more, PORT: '0', WORKERS: '4' } });
  await poll(() => `the shop to listen: ${shop.output}`, 5000, () => shop.output.includes('listens'));
  return { shop, url: shop.output.match(/http:\S+/)[0] };
}

async function drive(url) {
  const wrk = child('wrk', ['-t', '1', '-c', String(CONNECTIONS), '-d', '1s', url]);
  const end = await wrk.ended;
  if (end.error || end.code !== 0) throw new Error(`wrk: ${end.error ? end.error.message : wrk.output}`);
  return {
    requests: Number(wrk.output.match(/(\d+) requests in/)[1]),
    rate: Number(wrk.output.match(/Requests\/sec:\s+([\d.]+)/)[1]),
    bad: /Non-2xx|Socket errors/.test(wrk.output),
  };
}

async function overhead() {
  if (spawnSync('wrk', ['-v']).error) throw new Error('wrk is missing: apt-get install wrk');
  const dir = tempDir('python-shop');
  for (const folder of ['bindings/python', 'examples/python']) {
    fs.cpSync(path.join(root, folder), path.join(dir, folder), { recursive: true, filter: (file) => !/nines-data/.test(file) });
  }
  const home = path.join(dir, 'examples/python');
  const engine = new Engine(build, home);
  await engine.start();
  const arena = { NINES_ARENA: path.join(home, 'nines-data/arena') };
  const shops = { without: await serve(path.join(home, 'app.py')), with: await serve(path.join(home, 'shop.py'), arena) };
  const runs = { without: [], with: [] };
  for (let round = 0; round < rounds; round++) {
    for (const kind of round % 2 ? ['with', 'without'] : ['without', 'with']) {
      const run = await drive(shops[kind].url);
      if (run.bad) check(false, `the shop ${kind} nines answered with errors`);
      runs[kind].push(run);
    }
  }
  const wrk = runs.with.reduce((sum, run) => sum + run.requests, 0);
  await poll('the counts', 3000, async () => (await requests(engine, 'checkout')) >= wrk).catch(() => {});
  const total = await requests(engine, 'checkout'), over = total - wrk;
  check(over >= 0 && over <= CONNECTIONS * rounds, `wrk got ${wrk} answers of four forked workers, the engine counted ${total}: ${over} were in flight when the ${rounds} runs ended (at most ${CONNECTIONS} each)`);
  const rate = (kind) => median(runs[kind].map((run) => run.rate));
  console.log(`ok    wrk: ${Math.round(rate('without'))} requests/s without nines, ${Math.round(rate('with'))} with; ` +
    `${(1e6 / rate('with') - 1e6 / rate('without')).toFixed(1)} us more a request (medians of ${rounds})`);
  for (const { shop } of Object.values(shops)) {
    shop.kill('SIGTERM');
    await shop.ended;
  }
  await engine.stop();
}

await main(async () => {
  await binding();
  await overhead();
});
