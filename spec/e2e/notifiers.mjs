// PagerDuty, Slack and Datadog: what nines sends has the shape of what their official npm clients send for the same.
//
//   node notifiers.mjs BUILD
//
// Exit 77 when npm cannot get the clients.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Engine, atEnd, buildDir, check, child, main, poll, project, skip, tempDir } from './rig.mjs';

const build = buildDir();
const key = '0123456789abcdef0123456789abcdef';

function install() {
  const source = path.join(path.dirname(new URL(import.meta.url).pathname), 'notifier_clients');
  const dir = path.join(tempDir('notifier-clients'), 'clients');
  fs.cpSync(source, dir, { recursive: true, filter: (file) => !file.includes('node_modules') });
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: dir, encoding: 'utf8', timeout: 180000 });
  if (npm.status !== 0) skip(`npm ci: ${npm.error ? npm.error.message : npm.stderr.trim().split('\n').pop()}`);
  return dir;
}

// Keeps requests, answers as the services do.
async function services() {
  const requests = [], busy = new Set(), refused = new Map();
  const answers = { pagerduty: [202, '{"status":"success","message":"Event processed","dedup_key":"x"}'], slack: [200, 'ok'], datadog: [202, '{"status":"ok"}'] };
  const server = http.createServer((asked, answer) => {
    let text = '';
    asked.on('data', (part) => (text += part));
    asked.on('end', () => {
      const service = asked.url.split('/')[1];
      if (busy.delete(service)) return refused.set(service, performance.now()), answer.writeHead(429, { 'Retry-After': '2' }).end('slow down');
      requests.push({ at: performance.now(), service, method: asked.method, url: asked.url, headers: asked.headers, body: JSON.parse(text) });
      answer.writeHead(answers[service][0], { 'content-type': service === 'slack' ? 'text/html' : 'application/json' }).end(answers[service][1]);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return { requests, busy, refused, base: `http://127.0.0.1:${server.address().port}` };
}

// Keys and types; lists by their first item; free tables (details, labels) by their type alone.
function shape(value, name = '') {
  if (Array.isArray(value)) return [value.length ? shape(value[0]) : null];
  if (value === null || typeof value !== 'object') return typeof value;
  if (name === 'custom_details') return 'object';
  return Object.fromEntries(Object.keys(value).sort().map((item) => [item, shape(value[item], item)]));
}

await main(async () => {
  const clients = install();
  const { requests, busy, refused, base } = await services();
  const sender = child('node', ['send.js', base], { cwd: clients });
  const end = await sender.ended;
  if (!check(end.code === 0, `the clients ended with ${end.code}${end.code ? `: ${sender.output}` : ''}`)) return;
  const theirs = Object.fromEntries(requests.splice(0).map((item) => [item.service, item]));

  const dir = project('notifiers', {
    'nines.yaml': `listen: 127.0.0.1:0
public_url: https://n.test
notify:
  oncall: { pagerduty: { routing_key: "\${PAGERDUTY_KEY}", url: "${base}/pagerduty/v2/enqueue" } }
  team: { slack: { url: "file:slack.url" } }
  events: { datadog: { api_key: "${key}", url: "${base}/datadog" } }
`,
    'slack.url': `${base}/slack\n`,
    'policies/shop.lua': 'critical_path "checkout" { service = "shop", success_rate = 99.9, severity = "P0", window = "10s", recovery_window = "1s" }\n',
  });
  process.env.PAGERDUTY_KEY = key;
  const engine = new Engine(build, dir);
  await engine.start();
  const observe = (ok) => engine.ask('POST', '/v1/observations', Array.from({ length: 200 }, () => ({ path: 'checkout', ok })));
  busy.add('slack');
  await observe(false);
  const of = (service, at = 0) => requests.filter((item) => item.service === service)[at];
  await poll('all three are told', 10000, () => of('pagerduty') && of('slack') && of('datadog'));

  for (const service of ['pagerduty', 'slack', 'datadog']) {
    const ours = of(service), their = theirs[service];
    check(ours.method === their.method && ours.url === their.url, `${service}: ${ours.method} ${ours.url}, as ${their.method} ${their.url}`);
    check(ours.headers['content-type'].startsWith('application/json') && their.headers['content-type'].startsWith('application/json'), `${service}: JSON`);
    const [a, b] = [JSON.stringify(shape(ours.body)), JSON.stringify(shape(their.body))];
    check(a === b, `${service}: the same shape ${a === b ? a : `\nours   ${a}\ntheirs ${b}`}`);
  }
  const waited = of('slack').at - refused.get('slack');
  check(waited >= 1950 && waited < 8000, `slack: came back ${(waited / 1000).toFixed(1)} s after a 429 with Retry-After: 2`);
  check(of('datadog').headers['dd-api-key'] === key && theirs.datadog.headers['dd-api-key'] === key, 'datadog: the key in the same header');
  check(of('pagerduty').body.routing_key === key && of('pagerduty').body.payload.severity === 'critical', 'pagerduty: routing key and severity');

  while (!of('pagerduty', 1)) {
    await observe(true);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const [trigger, resolve] = [of('pagerduty'), of('pagerduty', 1)];
  check(resolve.body.event_action === 'resolve' && resolve.body.dedup_key === trigger.body.dedup_key, 'pagerduty: resolved under the same dedup_key');
  await poll('the resolutions', 10000, () => of('slack', 1) && of('datadog', 1));
  check(/^Resolved /.test(of('slack', 1).body.text), `slack: ${of('slack', 1).body.text}`);
  check(of('datadog', 1).body.alert_type === 'success' && of('datadog', 1).body.aggregation_key === of('datadog').body.aggregation_key, 'datadog: success under the same aggregation_key');
  const log = engine.log + (await engine.ask('GET', '/metrics')).text + JSON.stringify(await engine.status());
  check(!log.includes(key) && !log.includes(`${base}/slack`), 'no key and no secret URL in log, metrics or status');
});
