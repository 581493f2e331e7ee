// SLOs and alerts in a running engine: what StatsD and HTTP send makes them fire; Prometheus' shapes; a SIGKILL changes nothing.
//
//   node alerts.mjs BUILD

import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { Engine, buildDir, check, main, poll, project, webhook } from './rig.mjs';

const build = buildDir();
const policy = `local checkout = critical_path "checkout" { service = "shop", success_rate = 1 }
slo "shop" { of = checkout, objective = 99.9 }
slo "queue lag" { measure = "queue_lag", better = "lower", target = 60, objective = 99 }
alert "lagging" { when = "queue_lag > 60 for 2s", severity = "P1", labels = { team = "shop" }, message = "the queue lags {{ queue_lag }} s" }
alert "waits" { on = checkout, when = "error_rate(1m) > 5 for 1h", keep_firing = "10m" }
`;

// Keys as in Prometheus' documentation of its HTTP API.
function shaped(what, value, keys) {
  const missing = keys.filter((key) => !(key in value));
  check(missing.length === 0, `${what} has ${missing.length ? `no ${missing}` : `all of ${keys}`}`);
}

await main(async () => {
  const receiver = await webhook();
  const dir = project('alerts', {
    'nines.yaml': `listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\nnotify: { hook: { webhook: { url: "${receiver.url}" } } }\n`,
    'policies/shop.lua': policy,
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const get = async (url) => (await engine.ask('GET', url)).json;
  const cli = (...args) =>
    spawnSync(engine.program, args, { cwd: dir, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1', NINES_ENGINE: '' } });
  const rule = async (name) => (await get('/api/v1/rules')).data.groups[0].rules.find((item) => item.name === name);

  const port = Number((await get('/v1/status')).statsd.split(':').pop());
  const socket = dgram.createSocket('udp4');
  socket.send('queue_lag:90|g', port, '127.0.0.1');
  const bad = Array.from({ length: 200 }, (_, i) => ({ path: 'checkout', ok: i % 2 === 0, duration_ms: 5 }));
  check((await engine.ask('POST', '/v1/observations', bad)).status === 202, 'observations are taken');

  await poll('"lagging" fires', 10000, async () => (await rule('lagging'))?.state === 'firing');
  const firing = await rule('lagging');
  shaped('a rule', firing, ['state', 'name', 'query', 'duration', 'keepFiringFor', 'labels', 'annotations', 'alerts', 'health', 'evaluationTime', 'lastEvaluation', 'type']);
  shaped('its alert', firing.alerts[0], ['labels', 'annotations', 'state', 'activeAt', 'value']);
  check(firing.type === 'alerting' && firing.duration === 2 && firing.health === 'ok', 'its kind, duration and health');
  check(firing.alerts[0].labels.team === 'shop' && firing.alerts[0].value === '9.000000e+01', 'its labels and value');
  await poll('the page arrives', 10000, () => receiver.messages.some((page) => page.title === 'lagging: the queue lags 90 s'));
  await poll('"shop burning" fires', 10000, async () => (await rule('shop burning'))?.state === 'firing');

  const pending = await rule('waits');
  check(pending.state === 'pending', '"waits" is pending');
  await engine.kill();
  await engine.start();
  await poll('the rules are back', 10000, async () => (await rule('waits'))?.state === 'pending');
  const again = await rule('waits');
  const apart = Math.abs(Date.parse(again.alerts[0].activeAt) - Date.parse(pending.alerts[0].activeAt));
  check(apart < 1000, `after a SIGKILL "waits" is pending since the same moment (${apart} ms apart)`);
  check((await rule('shop burning')).state === 'firing', '"shop burning" still fires');
  const pages = receiver.messages.filter((page) => page.status === 'firing' && page.labels.alertname === 'lagging');
  check(new Set(pages.map((page) => page.dedup_key)).size === 1, '"lagging" was paged under one key');

  const alerts = (await get('/api/v1/alerts')).data.alerts;
  check(alerts.some((item) => item.state === 'pending') && alerts.some((item) => item.state === 'firing'), '/api/v1/alerts lists both');
  const table = cli('slo');
  check(table.status === 0 && /shop +exhausted +99\.9%/.test(table.stdout), `nines slo prints it:\n${table.stdout}`);
  const explained = cli('explain', 'shop burning');
  check(explained.status === 0 && /14\.4/.test(explained.stdout), 'nines explain shows the pairs of windows');
  const metrics = (await engine.ask('GET', '/metrics')).text;
  check(/nines_slo_budget_left_percent\{slo="shop"\} -/.test(metrics) && /reliability_mttd_seconds /.test(metrics), 'and the metrics');
  socket.close();
});
