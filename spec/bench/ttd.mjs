// Time to detect: from the instant at which a path's requests begin to fail, to the page at a local webhook.
//
//   node ttd.mjs BUILD [WARM_SECONDS=60] [ROUNDS=20] [PROMETHEUS_ROUNDS=3]
//
// Each round is a fresh path with 200 observations a second over HTTP, all well while it warms up. Then all of them fail,
// or every other one. Ten rounds of either kind run side by side in one engine. Beside them, at the same rate and from
// the same program, counters for a real Prometheus and Alertmanager: scrape and evaluation each 15 s, group_wait 30 s,
// rule: success ratio over 5 m under 99.9 %. PROMETHEUS_ROUNDS 0, or no Debian packages: without them.

import { spawnSync } from 'node:child_process';
import http from 'node:http';
import { Engine, atEnd, buildDir, check, child, freePort, isSanitized, main, median, now, poll, project, random, request, sleep, webhook } from '../e2e/rig.mjs';

const build = buildDir();
const warmMs = Number(process.argv[3] || 60) * 1000;
const rounds = Number(process.argv[4] || 20);
const prometheusRounds = Number(process.argv[5] || 3);
const TICK_MS = 10;
const EACH_TICK = 2; // 200 a second
const AT_ONCE = 10;

// A source of requests: `share` of them fails from `onset` on.
class Traffic {
  constructor(name, share) {
    Object.assign(this, { name, share, onset: Infinity, first: 0, total: 0, failed: 0, owed: 0 });
  }

  next() {
    this.total++;
    if (now() < this.onset) return true;
    if (!this.first) this.first = now();
    this.owed += this.share;
    if (this.owed < 1) return true;
    this.owed--;
    this.failed++;
    return false;
  }
}

// Keeps all of them at their rate until `over()`.
async function drive(sources, send, over) {
  const from = now();
  for (let tick = 0; !over(); tick++) {
    const observations = sources.flatMap((source) => Array.from({ length: EACH_TICK }, () => ({ path: source.name, ok: source.next(), duration_ms: 20 })));
    await send(observations);
    const due = from + (tick + 1) * TICK_MS;
    if (due > now()) await sleep(due - now());
  }
}

const shown = (times) => `median ${(median(times) / 1000).toFixed(2)} s, from ${(Math.min(...times) / 1000).toFixed(2)} to ${(Math.max(...times) / 1000).toFixed(2)} s, ${times.length} rounds`;

async function nines(seed) {
  const { between } = random(seed);
  const hook = await webhook();
  const names = Array.from({ length: rounds }, (_, i) => [`all-${i}`, `half-${i}`]);
  const engine = new Engine(build, project('ttd', {
    'nines.yaml': `listen: 127.0.0.1:0\nnotify:\n  hook: { webhook: { url: "${hook.url}" } }\n`,
    'policies/paths.lua': names.flat().map((name) => `critical_path "${name}" { success_rate = 99.9, window = "5m" }\n`).join(''),
  }));
  await engine.start();
  const times = { all: [], half: [] };
  for (let at = 0; at < rounds; at += AT_ONCE) {
    const sources = names.slice(at, at + AT_ONCE).flatMap(([all, half]) => [new Traffic(all, 1), new Traffic(half, 0.5)]);
    const begin = now();
    for (const source of sources) source.onset = begin + warmMs + between(0, 2000);
    const page = (source) => hook.of(source.name, 'firing')[0];
    await drive(sources, (body) => engine.ask('POST', '/v1/observations', body), () => sources.every(page) || now() - begin > warmMs + 30000);
    for (const source of sources) {
      if (!page(source)) throw new Error(`no page for ${source.name}`);
      if (page(source).arrived < source.first) throw new Error(`a page for ${source.name} before it failed`);
      times[source.share === 1 ? 'all' : 'half'].push(page(source).arrived - source.first);
    }
  }
  await engine.stop();
  return times;
}

async function prometheus(seed) {
  if (!prometheusRounds) return null;
  if (['prometheus', 'prometheus-alertmanager'].some((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)) {
    console.log('      without Prometheus: prometheus and prometheus-alertmanager are not installed');
    return null;
  }
  const { between } = random(seed + 1);
  const sources = Array.from({ length: prometheusRounds }, (_, i) => new Traffic(`all-${i}`, 1));
  const arrived = new Map();
  const server = http.createServer((asked, answer) => {
    if (asked.url === '/metrics') {
      const lines = sources.flatMap(({ name, total, failed }) => [`shop_requests_total{path="${name}"} ${total}`, `shop_failures_total{path="${name}"} ${failed}`]);
      answer.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(`${lines.sort().join('\n')}\n`);
      return;
    }
    let text = '';
    asked.on('data', (part) => (text += part));
    asked.on('end', () => {
      for (const alert of JSON.parse(text).alerts) if (alert.status === 'firing' && !arrived.has(alert.labels.path)) arrived.set(alert.labels.path, now());
      answer.writeHead(200).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => server.closeAllConnections());
  const own = server.address().port;
  const [prometheusPort, alertmanagerPort] = [await freePort(), await freePort()];
  const dir = project('ttd-prometheus', {
    'prometheus.yml': `global: { scrape_interval: 15s, evaluation_interval: 15s }
rule_files: [rules.yml]
alerting: { alertmanagers: [{ static_configs: [{ targets: ["127.0.0.1:${alertmanagerPort}"] }] }] }
scrape_configs: [{ job_name: shop, static_configs: [{ targets: ["127.0.0.1:${own}"] }] }]
`,
    'rules.yml': `groups:
  - name: shop
    rules:
      - alert: success
        expr: 1 - sum by (path) (rate(shop_failures_total[5m])) / sum by (path) (rate(shop_requests_total[5m])) < 0.999
`,
    'alertmanager.yml': `route: { receiver: hook, group_by: [path], group_wait: 30s }
receivers: [{ name: hook, webhook_configs: [{ url: "http://127.0.0.1:${own}/hook" }] }]
`,
  });
  const servers = [
    child('prometheus', [`--config.file=${dir}/prometheus.yml`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=127.0.0.1:${prometheusPort}`], { cwd: dir }),
    child('prometheus-alertmanager', [`--config.file=${dir}/alertmanager.yml`, `--storage.path=${dir}/alerts`, `--web.listen-address=127.0.0.1:${alertmanagerPort}`, '--cluster.listen-address='], { cwd: dir }),
  ];
  for (const port of [prometheusPort, alertmanagerPort])
    await poll('Prometheus and Alertmanager', 30000, async () => (await request({ host: '127.0.0.1', port }, 'GET', '/-/ready').catch(() => ({}))).status === 200, 100);
  const begin = now();
  // Spread over the interval of a scrape, so that three rounds see three phases of it.
  sources.forEach((source, i) => (source.onset = begin + warmMs + (i + between(0, 1)) * (15000 / prometheusRounds)));
  await drive(sources, async () => {}, () => arrived.size === sources.length || now() - begin > warmMs + 200000);
  for (const server_ of servers) server_.kill('SIGTERM');
  if (arrived.size < sources.length) throw new Error(`Alertmanager told of ${arrived.size} of ${sources.length} outages`);
  return sources.map((source) => arrived.get(source.name) - source.first);
}

await main(async () => {
  const seed = Date.now() % 1e9;
  const sanitized = isSanitized(build);
  console.log(`seed ${seed}; ${rounds} rounds of either kind, warmed up for ${warmMs / 1000} s`);
  const [ours, theirs] = await Promise.all([nines(seed), prometheus(seed)]);
  check(sanitized || median(ours.all) < 1000, `nines, all failing: ${shown(ours.all)}; limit 1 s`);
  check(sanitized || median(ours.half) < 2000, `nines, half failing: ${shown(ours.half)}; limit 2 s`);
  if (theirs) {
    console.log(`      Prometheus and Alertmanager, all failing: ${shown(theirs)}`);
    console.log(`      ratio of the medians: ${(median(theirs) / median(ours.all)).toFixed(0)}`);
  }
});
