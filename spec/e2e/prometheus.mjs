// A real Prometheus scrapes /metrics; a real Alertmanager holds the alert that nines sent, and its resolution.
//
//   node prometheus.mjs BUILD
//
// Exit 77 when Debian's prometheus and prometheus-alertmanager are not installed.

import { spawnSync } from 'node:child_process';
import { Engine, buildDir, check, child, freePort, main, now, poll, project, request, skip } from './rig.mjs';

const build = buildDir();
// Names of the seed that promtool would have otherwise: units not in base form.
const LET_BE = /^(detection_critical_path_latency_ms|detection_critical_path_success_rate|mitigation_\w+)\b/;

function missing(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0;
}

await main(async () => {
  const absent = ['prometheus', 'promtool', 'prometheus-alertmanager'].filter(missing);
  if (absent.length) skip(`not installed: ${absent.join(', ')}`);
  const [prometheusPort, alertmanagerPort] = [await freePort(), await freePort()];
  const dir = project('prometheus', {
    'nines.yaml': `listen: 127.0.0.1:0
statsd: 127.0.0.1:0
notify:
  am: { alertmanager: { url: "http://127.0.0.1:${alertmanagerPort}" } }
`,
    'policies/pay.lua': `critical_path "payment-processing" {
  service = "payment-service", success_rate = 99.9, latency_p95 = "2s", window = "10s", recovery_window = "1s",
  severity = "P0", runbook = "https://example.org/runbook",
}
flag "recommendations" { default = true }
`,
    'alertmanager.yml': 'route: { receiver: nobody, group_wait: 1s }\nreceivers: [{ name: nobody }]\n',
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const port = await engine.port();
  const tcp = { host: '127.0.0.1', port };
  const home = project('prometheus-server', {
    'prometheus.yml': `global: { scrape_interval: 1s }
scrape_configs: [{ job_name: nines, static_configs: [{ targets: ["127.0.0.1:${port}"] }] }]
`,
  });
  const prometheus = child('prometheus', [`--config.file=${home}/prometheus.yml`, `--storage.tsdb.path=${home}/data`, `--web.listen-address=127.0.0.1:${prometheusPort}`], { cwd: home });
  const alertmanager = child('prometheus-alertmanager', [`--config.file=${dir}/alertmanager.yml`, `--storage.path=${home}/alerts`, `--web.listen-address=127.0.0.1:${alertmanagerPort}`, '--cluster.listen-address='], { cwd: home });
  const atPrometheus = { host: '127.0.0.1', port: prometheusPort };
  const atAlertmanager = { host: '127.0.0.1', port: alertmanagerPort };
  const readyAt = (target) => async () => (await request(target, 'GET', '/-/ready').catch(() => ({}))).status === 200;
  await poll(() => `Prometheus: ${prometheus.output.slice(-500)}`, 30000, readyAt(atPrometheus), 100);
  await poll(() => `Alertmanager: ${alertmanager.output.slice(-500)}`, 30000, readyAt(atAlertmanager), 100);

  // --- the scrape
  const query = async (expression) => {
    const answer = await request(atPrometheus, 'GET', `/api/v1/query?query=${encodeURIComponent(expression)}`);
    return answer.json.data.result.map((item) => Number(item.value[1]));
  };
  await engine.ask('POST', '/v1/observations', Array.from({ length: 300 }, () => ({ path: 'payment-processing', ok: true, duration_ms: 12 })));
  await poll('a scrape', 20000, async () => (await query('up{job="nines"}'))[0] === 1, 100).catch(() => {});
  check((await query('up{job="nines"}'))[0] === 1, 'Prometheus: up == 1');
  const requests = 'nines_path_requests_total{path="payment-processing"}';
  await poll('the requests', 10000, async () => (await query(requests))[0] === 300, 100).catch(() => {});
  check((await query(requests))[0] === 300, `Prometheus: ${requests} == ${(await query(requests))[0]}`);
  const p95 = await query('detection_critical_path_latency_ms{quantile="0.95"}');
  check(Math.abs(p95[0] - 12) < 1, `Prometheus: detection_critical_path_latency_ms{quantile="0.95"} == ${p95[0]}`);
  const targets = (await request(atPrometheus, 'GET', '/api/v1/targets')).json.data.activeTargets;
  check(targets.every((target) => target.lastError === ''), `Prometheus: no scrape error ${targets.map((target) => target.lastError).join('')}`);

  for (const accept of ['text/plain', 'application/openmetrics-text; version=1.0.0']) {
    const { text, headers } = await request(tcp, 'GET', '/metrics', undefined, { accept });
    check(headers['content-type'].startsWith(accept.split(';')[0]), `/metrics for ${accept}: ${headers['content-type']}, ${text.split('\n').length} lines`);
    if (accept !== 'text/plain') {
      check(text.endsWith('# EOF\n'), 'OpenMetrics ends with # EOF');
      continue;
    }
    const lint = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    const complaints = (lint.stdout + lint.stderr).split('\n').filter((line) => line && !LET_BE.test(line));
    check(complaints.length === 0 && lint.status !== 1, `promtool check metrics: ${complaints.length} complaints about our own names ${complaints.slice(0, 5).join(' | ')}`);
  }

  // --- the alert
  const alerts = async () => (await request(atAlertmanager, 'GET', '/api/v2/alerts')).json;
  const from = now();
  await engine.ask('POST', '/v1/observations', Array.from({ length: 200 }, () => ({ path: 'payment-processing', ok: false })));
  await poll(() => `the alert; the engine said ${engine.log.slice(-800)}`, 10000, async () => (await alerts()).length === 1);
  const [alert] = await alerts();
  console.log(`      Alertmanager has the alert ${(now() - from).toFixed(0)} ms after the first failure: ${JSON.stringify(alert.labels)}`);
  check(alert.labels.alertname === 'critical_path_breached' && alert.labels.severity === 'P0' && alert.labels.service === 'payment-service' &&
    alert.labels.critical_path === 'payment-processing' && alert.status.state === 'active', 'Alertmanager: labels and state');
  check(Boolean(alert.annotations.summary && alert.annotations.runbook_url), `Alertmanager: ${alert.annotations.summary}`);
  check(Date.parse(alert.endsAt) > Date.now() + 60000, 'Alertmanager: it lasts until it is repeated');

  // --- its resolution: an ended alert is no longer listed, or listed with its end in the past
  await poll('the resolution', 20000, async () => {
    await engine.ask('POST', '/v1/observations', Array.from({ length: 50 }, () => ({ path: 'payment-processing', ok: true })));
    return (await alerts()).every((item) => Date.parse(item.endsAt) <= Date.now());
  }, 50);
  await poll('the outbox to be empty', 5000, async () => (await engine.metrics())('nines_outbox_letters') === 0);
  const left = await alerts();
  check(left.every((item) => Date.parse(item.endsAt) <= Date.now()), `Alertmanager: resolved (${left.length} listed)`);
  const failures = (await engine.metrics())('nines_delivery_failures_total');
  check(failures === 0, `${failures} failed deliveries`);
  await engine.stop();
});
