// What an engine costs that has nothing to do, and one with many policies.
//
//   node idle.mjs BUILD [SECONDS=5]

import fs from 'node:fs';
import path from 'node:path';
import { Engine, buildDir, check, isSanitized, main, now, poll, project, sleep } from './rig.mjs';

const build = buildDir();
const seconds = Number(process.argv[3] || 5);
const sanitized = isSanitized(build);
const POLICIES = 200;
const TICKS_PER_S = 100; // of /proc, whatever the kernel's own

function memory(pid) {
  const text = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (key) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)[1]) / 1024;
  return { rss: mib('VmRSS'), anon: mib('RssAnon'), file: mib('RssFile'), shared: mib('RssShmem') };
}
const shown = (m) => `VmRSS ${m.rss.toFixed(1)} MiB (anonymous ${m.anon.toFixed(1)}, files ${m.file.toFixed(1)}, shared ${m.shared.toFixed(1)})`;

function cpuSeconds(pid) {
  const words = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(words[11]) + Number(words[12])) / TICKS_PER_S;
}

const policy = (number, version) => `-- ${version}
local path = critical_path "path-${number}" { success_rate = 99.9, latency_p95 = "2s", window = "5m" }
path:on("breached", function(breach) page { about = path, title = breach.summary } end)
`;

await main(async () => {
  const yaml = 'listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\n';
  const idle = new Engine(build, project('idle', { 'nines.yaml': yaml, 'policies/one.lua': policy(1, 0) }));
  await idle.start();
  await sleep(500); // not for luck: start-up's own work is not idleness
  const cpuBefore = cpuSeconds(idle.process.pid);
  const from = now();
  await sleep(seconds * 1000);
  const percent = ((cpuSeconds(idle.process.pid) - cpuBefore) / ((now() - from) / 1000)) * 100;
  const used = memory(idle.process.pid);
  check(sanitized || used.rss < 15, `idle: ${shown(used)}; limit 15`);
  check(sanitized || percent < 1, `idle: ${percent.toFixed(2)} % of a core over ${seconds} s; limit 1`);
  await idle.stop();

  const files = { 'nines.yaml': yaml };
  for (let i = 0; i < POLICIES; i++) files[`policies/p${i}.lua`] = policy(i, 0);
  const dir = project('many', files);
  const many = new Engine(build, dir);
  const startMs = await many.start();
  const loaded = memory(many.process.pid);
  console.log(`      ${POLICIES} policies: started in ${startMs.toFixed(0)} ms, ${shown(loaded)}, ${(((loaded.rss - used.rss) * 1024) / POLICIES).toFixed(0)} KiB each`);
  const arena = (await many.metrics())('nines_arena_bytes');
  console.log(`      arena: ${(arena / POLICIES / 1024).toFixed(1)} KiB a critical path`);
  for (let i = 0; i < POLICIES; i++) fs.writeFileSync(path.join(dir, `policies/p${i}.lua`), policy(i, 1));
  const reloadFrom = now();
  await many.ask('POST', '/v1/reload', {});
  await poll('all policies to be loaded again', 20000, async () => {
    const policies = (await many.status()).policies;
    return policies.length === POLICIES && policies.every((item) => item.loads === 2 && !item.error);
  });
  const reloaded = memory(many.process.pid);
  check(true, `${POLICIES} policies reloaded in ${(now() - reloadFrom).toFixed(0)} ms; ${shown(reloaded)}`);
  const turn = (await many.metrics())('nines_turn_seconds_max') * 1000;
  console.log(`      longest turn since the start, with the load and the reload of all at once: ${turn.toFixed(1)} ms of CPU`);
  check(reloaded.rss < loaded.rss * 1.5 + 5, 'the old versions are gone');
  const end = await many.stop();
  check(end.code === 0 && (sanitized || end.ms < 1000), `SIGTERM: exit ${end.code} after ${end.ms.toFixed(0)} ms`);
});
