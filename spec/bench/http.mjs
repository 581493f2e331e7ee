// HTTP observations per CPU-second of the engine: in batches of 1,000, and one by one with keep-alive.
//
//   node http.mjs BUILD [SECONDS=5] [LOAD=BUILD/http_load]
//
// The load generator is built from http_load.c with cc when LOAD is not there.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine, buildDir, check, child, isSanitized, main, poll, project, tempDir } from '../e2e/rig.mjs';

const build = buildDir();
const seconds = process.argv[3] || '5';
let load = process.argv[4] || path.join(build, 'http_load');

await main(async () => {
  if (!fs.existsSync(load)) {
    load = path.join(tempDir('http-load'), 'http_load');
    const source = path.join(path.dirname(fileURLToPath(import.meta.url)), 'http_load.c');
    const made = spawnSync('cc', ['-O2', '-D_GNU_SOURCE', '-o', load, source], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(`cc: ${made.stderr}`);
  }
  const engine = new Engine(build, project('http-bench', {
    'nines.yaml': 'listen: 127.0.0.1:0\n',
    'policies/bench.lua': 'critical_path "bench" { success_rate = 99, latency_p95 = "2s", window = "5m" }\n',
  }));
  await engine.start();
  const port = await engine.port();
  let sent = 0;
  for (const [what, batch, connections, goal] of [['in batches of 1,000', 1000, 4, 1e6], ['one by one', 1, 32, 50000]]) {
    const run = child(load, [String(port), String(engine.process.pid), String(batch), String(connections), seconds]);
    const end = await run.ended;
    if (!check(end.code === 0, `${what}: the load generator ended with ${end.code} ${end.code ? run.output : ''}`)) continue;
    const result = JSON.parse(run.output);
    sent += result.observations;
    check(isSanitized(build) || result.per_cpu_second >= goal,
      `${what}: ${result.per_cpu_second.toLocaleString('en')} observations per CPU-second (goal ${goal.toLocaleString('en')}); ${result.per_second.toLocaleString('en')} a second, ${result.cpu_seconds} s of CPU in ${result.seconds} s`);
  }
  let counted;
  await poll('the last beat', 5000, async () => (counted = (await engine.metrics())('nines_path_requests_total', { path: 'bench' })) >= sent).catch(() => {});
  check(counted >= sent, `counted ${counted}, answered ${sent}`);
  await engine.stop();
});
