// The same small web shop with and without its three lines, under wrk: what a request costs more, and whether the engine
// counted what wrk did.

import fs from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { Engine, check, child, isSanitized, median, poll } from '../rig.mjs';

const CONNECTIONS = 16;

async function serve(program, env) {
  const shop = child(process.execPath, [program], { env: { ...process.env, ...env, PORT: '0', WORKERS: '1' } });
  await poll(() => `the shop to listen: ${shop.output}`, 5000, () => shop.output.includes('listens'));
  return { shop, url: shop.output.match(/http:\S+/)[0] };
}

// CPU time of a process in us.
function cpu(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 1e4;
}

async function drive(url, pid) {
  const before = cpu(pid);
  const wrk = child('wrk', ['-t', '1', '-c', String(CONNECTIONS), '-d', '1s', url]);
  const end = await wrk.ended;
  if (end.error || end.code !== 0) throw new Error(`wrk: ${end.error ? end.error.message : wrk.output}`);
  const requests = Number(wrk.output.match(/(\d+) requests in/)[1]);
  return { requests, rate: Number(wrk.output.match(/Requests\/sec:\s+([\d.]+)/)[1]), cpu: (cpu(pid) - before) / requests, bad: /Non-2xx|Socket errors/.test(wrk.output) };
}

export async function overhead(build, copy, rounds) {
  if (spawnSync('wrk', ['-v']).error) throw new Error('wrk is missing: apt-get install wrk');
  const dir = path.join(copy, 'examples/node');
  const engine = new Engine(build, dir);
  await engine.start();
  const arena = { NINES_ARENA: path.join(dir, 'nines-data/arena') };
  const shops = { without: await serve(path.join(dir, 'app.js')), with: await serve(path.join(dir, 'shop.js'), arena) };
  const runs = { without: [], with: [] };
  const counted = async () => (await engine.metrics())('nines_path_requests_total', { path: 'checkout' }) ?? 0;
  for (let round = -1; round < rounds; round++) {
    for (const kind of round % 2 ? ['with', 'without'] : ['without', 'with']) {
      const run = await drive(shops[kind].url, shops[kind].shop.pid);
      if (run.bad) check(false, `the shop ${kind} nines answered with errors`);
      if (round >= 0 || kind === 'with') runs[kind].push(run); // the first warms up, but its requests count
    }
  }
  const wrk = runs.with.reduce((sum, run) => sum + run.requests, 0);
  await poll('the counts', 3000, async () => (await counted()) >= wrk).catch(() => {});
  const total = await counted(), over = total - wrk;
  check(over >= 0 && over <= CONNECTIONS * runs.with.length, `wrk got ${wrk} answers, the engine counted ${total}: ${over} were in flight when the ${runs.with.length} runs ended (at most ${CONNECTIONS} each)`);
  runs.with.shift();
  const rate = (kind) => median(runs[kind].map((run) => run.rate));
  const more = 1e6 / rate('with') - 1e6 / rate('without');
  const cpuMore = median(runs.with.map((run) => run.cpu)) - median(runs.without.map((run) => run.cpu));
  const sentence = `wrk: ${Math.round(rate('without'))} requests/s without nines, ${Math.round(rate('with'))} with; overhead per request ${more.toFixed(2)} us, of CPU ${cpuMore.toFixed(2)} us (medians of ${rounds})`;
  // Medians of seconds on a shared machine are noisy; this finds what is wrong by an order of magnitude.
  check(isSanitized(build) || cpuMore < 20, sentence);
  for (const { shop } of Object.values(shops)) shop.kill('SIGTERM');
  await engine.stop();
}
