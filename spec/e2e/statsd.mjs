// Three real StatsD clients from npm against the engine's port, to the count.
//
//   node statsd.mjs BUILD [N=200]
//
// Exit 77 when npm cannot get the clients.

import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import { Engine, buildDir, check, child, main, poll, project, skip, tempDir } from './rig.mjs';

const build = buildDir();
const count = Number(process.argv[3] || 200);

function install() {
  const source = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), 'statsd_clients');
  const dir = path.join(tempDir('statsd-clients'), 'clients');
  fs.cpSync(source, dir, { recursive: true, filter: (file) => !file.includes('node_modules') });
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: dir, encoding: 'utf8', timeout: 120000 });
  if (npm.status !== 0) skip(`npm ci: ${npm.error ? npm.error.message : npm.stderr.trim().split('\n').pop()}`);
  return dir;
}

await main(async () => {
  const clients = install();
  const dir = project('statsd', {
    'nines.yaml': 'listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\n',
    'policies/paths.lua': `critical_path "timed" { success_rate = 99.9, window = "1h" }
critical_path "counted" { success_rate = 99.9, window = "1h" }
`,
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const port = await engine.port('statsd');

  const sender = child('node', ['send.js', '127.0.0.1', String(port), String(count)], { cwd: clients });
  const end = await sender.ended;
  if (!check(end.code === 0, `the clients ended with ${end.code}${end.code ? `: ${sender.output}` : ''}`)) return;
  const report = JSON.parse(sender.output);
  const lines = async () => (await engine.metrics())('nines_statsd_lines_total');
  await poll('all lines', 5000, async () => (await lines()) >= report.lines).catch(() => {});
  const metrics = await engine.metrics();
  const drops = metrics('nines_statsd_dropped_packets_total');
  check(metrics('nines_statsd_lines_total') === report.lines && drops === 0,
    `hot-shots, node-statsd and statsd-client sent ${report.lines} lines in ${metrics('nines_statsd_packets_total')} packets; counted ${metrics('nines_statsd_lines_total')}, lost ${drops}`);
  const { text } = await engine.ask('GET', '/metrics');
  const bad = text.split('\n').filter((line) => line.startsWith('nines_statsd_bad_lines_total{') && !line.endsWith(' 0'));
  check(bad.length === 0, `no line was refused ${bad.join(' ')}`);
  const names = new Set(report.series.map((item) => `${item.name} ${item.tags}`));
  check(metrics('nines_series') === names.size, `${metrics('nines_series')} series of ${names.size}`);

  // Lines with the name of a critical path are its observations.
  const socket = dgram.createSocket('udp4');
  const send = (data) => new Promise((resolve, reject) => socket.send(data, port, '127.0.0.1', (error) => (error ? reject(error) : resolve())));
  for (let i = 0; i < count; i++) {
    await send(`timed:${i}|ms|#ok:${i % 10 ? 'true' : 'false'}`);
    await send('counted.ok:3|c\ncounted.error:1|c');
  }
  socket.close();
  const seen = (m, name) => [m('nines_path_requests_total', { path: name }), m('nines_path_failures_total', { path: name })];
  await poll('the observations', 5000, async () => seen(await engine.metrics(), 'counted')[0] === 4 * count).catch(() => {});
  const after = await engine.metrics();
  const [timed, timedBad] = seen(after, 'timed');
  const [counted, countedBad] = seen(after, 'counted');
  check(timed === count && timedBad === Math.ceil(count / 10), `timer lines: ${timed} observations, ${timedBad} failures`);
  check(counted === 4 * count && countedBad === count, `counter lines: ${counted} observations, ${countedBad} failures`);
  await engine.stop();
});
