// SIGKILL at random points, again and again, in one data directory.
//
//   node kill.mjs BUILD [ROUNDS=50] [SEED]
//
// Three things go on while the engine is killed and started: observations over HTTP, counted by acknowledgement;
// breaches of a path without a handler (it must page, then tell of the recovery); bad deploys of a shop whose requests
// fail as long as the bad version runs (the policy must roll back, once). Policies are edited all the time.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Engine, buildDir, check, isSanitized, main, median, now, poll, project, random, sleep, webhook, writeWhole } from './rig.mjs';

const build = buildDir();
const rounds = Number(process.argv[3] || 50);
const seed = Number(process.argv[4] || Date.now() % 1e9);
const sanitized = isSanitized(build);
const START_MS_MAX = 300;

const policy = (note) => `-- ${note}
critical_path "bare" { success_rate = 99.9, window = "10s", recovery_window = "1s", severity = "P1" }
critical_path "long" { success_rate = 10, window = "1h" }
local shop = critical_path "shop" {
  service = "shop", success_rate = 99.9, window = "10s", recovery_window = "1s", severity = "P0", page_after = "8s",
}
shop:on("breached", function(breach)
  local deploy = shop.service:deployed_within("15m")
  if deploy and deploy:rollback(breach.summary) and shop:recovers_within("4s") then return end
  page { about = shop, title = breach.summary }
end)
`;

await main(async () => {
  const { unit, between } = random(seed);
  const hook = await webhook();
  const dir = project('kill', {
    'nines.yaml': `listen: 127.0.0.1:0
services:
  shop:
    deploy: { command: ["./deploy.sh"], current: ["./current.sh"], timeout: 20s }
notify:
  hook: { webhook: { url: "${hook.url}" } }
  book: { command: ["./page.sh"] }
routes:
  - { to: [hook, book] }
`,
    'policies/shop.lua': policy('first'),
    // One write each, so that a line is whole or not there.
    'deploy.sh': '#!/bin/sh\necho "$NINES_FROM $NINES_TO ${NINES_REASON:+rollback}" >> deploys.txt\nsleep 0.0$(( $$ % 10 ))\necho "$NINES_TO" > version.$$ && mv version.$$ version\n',
    'current.sh': '#!/bin/sh\ncat version\n',
    'page.sh': '#!/bin/sh\ncat >> pages.txt\n',
    version: 'good-0\n',
    'deploys.txt': '',
    'pages.txt': '',
  });
  console.log(`seed ${seed}, ${rounds} rounds${sanitized ? ', sanitized: times are not judged' : ''}`);
  const engine = new Engine(build, dir);
  const runs = () => fs.readFileSync(path.join(dir, 'deploys.txt'), 'utf8').split('\n').filter(Boolean).map((line) => line.split(' '));
  const version = () => fs.readFileSync(path.join(dir, 'version'), 'utf8').trim();
  let over = false; // no new breaches and deploys
  let quiet = false; // no observations
  let up = false;

  // --- observations
  const paths = ['bare', 'long', 'shop'];
  const totals = Object.fromEntries(paths.map((name) => [name, { sent: 0, acknowledged: 0 }]));
  const history = []; // of "long": when, how many, acknowledged
  let bareFails = false;
  async function traffic(name) {
    const size = name === 'long' ? 20 : 5;
    while (!quiet) {
      await sleep(15);
      if (!up) continue;
      const ok = name === 'bare' ? !bareFails : name === 'shop' ? !version().startsWith('bad') : true;
      const entry = { at: now(), count: size, acknowledged: false };
      totals[name].sent += size;
      if (name === 'long') history.push(entry);
      try {
        const answer = await engine.ask('POST', '/v1/observations', Array.from({ length: size }, () => ({ path: name, ok, duration_ms: 5 })));
        if (answer.status === 202) {
          totals[name].acknowledged += size;
          entry.acknowledged = true;
        } else if (answer.status !== 503) {
          check(false, `an observation got ${answer.status} ${answer.text}`);
        }
      } catch {
        entry.acknowledged = false; // killed: it may have arrived
      }
    }
  }

  // --- a path without a handler: bad until its page has come, good until its recovery was told
  const breaches = [];
  async function breach() {
    const told = new Set();
    while (!over) {
      const from = now();
      bareFails = true;
      const page = await poll('the page of a breach', 30000, () => hook.of('bare', 'firing').find((m) => !told.has(m.dedup_key)));
      told.add(page.dedup_key);
      bareFails = false;
      await poll('the resolution of a page', 30000, () => hook.of('bare', 'resolved').find((m) => m.dedup_key === page.dedup_key));
      breaches.push(now() - from);
    }
  }

  // --- the shop: a bad version, until something has put a good one back
  const acknowledgedDeploys = [];
  let deploys = 0;
  let people = 0;
  async function post(versionName) {
    if (!up) return false;
    try {
      const answer = await engine.ask('POST', '/v1/services/shop/deployments', { version: versionName });
      if (answer.status >= 400) return answer.status !== 503 && check(false, `deploy got ${answer.status} ${answer.text}`);
      acknowledgedDeploys.push({ id: answer.json.id, version: versionName });
      return true;
    } catch {
      return true; // killed: it may have been taken
    }
  }
  async function deploy() {
    while (!over) {
      await sleep(between(50, 300));
      if (!(await post(`good-${++deploys}`))) continue;
      if (!(await post(`bad-${++deploys}`))) continue;
      const name = `bad-${deploys}`;
      const pages = new Set(hook.of('shop', 'firing').map((m) => m.dedup_key));
      // Either it never took effect (interrupted), or it is rolled back, or a page calls a person, who mends it by hand.
      const started = now();
      await poll(`an end of the shop's outage with ${name}`, 60000, async () => {
        if (version() !== name) return now() - started > 2000;
        if (!hook.of('shop', 'firing').some((m) => !pages.has(m.dedup_key))) return false;
        people++;
        await post(`good-${++deploys}`);
        await poll('the deployment of a person', 5000, () => version() !== name).catch(() => false);
        return false;
      });
    }
  }

  // --- what must hold of the totals whenever the engine is up
  async function totalsFit() {
    // Read in this order: what is acknowledged before the question is in the answer after two beats.
    const before = Object.fromEntries(paths.map((name) => [name, totals[name].acknowledged]));
    await poll(() => `the totals: ${JSON.stringify(totals)}`, 5000, async () => {
      const metrics = await engine.metrics();
      return paths.every((name) => {
        const seen = metrics('nines_path_requests_total', { path: name });
        if (seen > totals[name].sent) throw new Error(`${name}: ${seen} counted, ${totals[name].sent} sent`);
        return seen >= before[name];
      });
    });
    const status = await engine.status();
    const hour = status.paths.find((item) => item.path === 'long').requests;
    if (hour < before.long || hour > totals.long.sent)
      throw new Error(`the window of an hour has ${hour}, acknowledged ${before.long}, sent ${totals.long.sent}`);
    const known = (await engine.ask('GET', '/v1/services/shop')).json;
    const last = acknowledgedDeploys[acknowledgedDeploys.length - 1];
    if (last && known && known.deployments && !known.deployments.some((item) => item.id === last.id) &&
        acknowledgedDeploys[acknowledgedDeploys.length - 1] === last)
      throw new Error(`the acknowledged deployment ${last.id} (${last.version}) is gone: ${JSON.stringify(known.deployments.map((item) => item.id))}`);
  }

  const starts = [];
  const visitors = paths.map(traffic);
  const actors = [breach(), deploy()];
  let broken;
  for (const actor of [...actors, ...visitors]) actor.catch((error) => (broken = broken || error));
  for (let round = 0; round <= rounds && !broken; round++) {
    starts.push(await engine.start());
    up = true;
    if (round > 0) await totalsFit();
    if (round === rounds) break;
    const until = now() + between(0, 1500);
    while (now() < until && !broken) {
      await sleep(Math.max(0, Math.min(between(20, 200), until - now())));
      if (unit() < 0.3) writeWhole(path.join(dir, 'policies/shop.lua'), policy(`edit ${round} ${unit()}`));
    }
    up = false;
    await engine.kill();
  }
  if (broken) throw broken;
  // The last life: let every actor come to its end.
  over = true;
  await Promise.all(actors);
  await poll('all alerts to be resolved', 30000, async () => {
    if (version().startsWith('bad')) await post(`good-${++deploys}`);
    return (await engine.ask('GET', '/v1/alerts')).json.length === 0;
  }).catch((error) => check(false, error.message));
  await poll('the outbox to be empty', 20000, async () => (await engine.metrics())('nines_outbox_letters') === 0);
  quiet = true;
  await Promise.all(visitors);
  if (broken) throw broken;
  await totalsFit();
  const metrics = await engine.metrics();
  for (const name of paths) {
    const { sent, acknowledged } = totals[name];
    const seen = metrics('nines_path_requests_total', { path: name });
    check(seen >= acknowledged && seen <= sent, `${name}: acknowledged ${acknowledged} <= counted ${seen} <= sent ${sent}`);
  }

  const alerts = (await engine.ask('GET', '/v1/alerts?all=1')).json;
  const paged = alerts.filter((alert) => alert.paged_ns);
  const keys = (status) => new Set(hook.messages.filter((m) => m.status === status).map((m) => m.dedup_key));
  const firing = keys('firing');
  const resolved = keys('resolved');
  const booked = fs.readFileSync(path.join(dir, 'pages.txt'), 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const inBook = new Set(booked.filter((m) => m.status === 'firing').map((m) => m.dedup_key));
  check(breaches.length > 0, `${breaches.length} breaches without a handler: each paged and resolved; median ${median(breaches).toFixed(0)} ms, slowest ${Math.max(...breaches).toFixed(0)} ms with the engine killed in between`);
  check(alerts.filter((alert) => alert.object === 'bare').every((alert) => alert.paged_ns), 'every alert without a handler was paged');
  check(paged.every((alert) => firing.has(alert.id)), `${paged.length} of ${alerts.length} alerts were paged; every page reached the webhook`);
  check(paged.every((alert) => inBook.has(alert.id)), `every page reached the command (${booked.length} runs)`);
  check(paged.every((alert) => resolved.has(alert.id)), 'every resolution reached the webhook');
  const pageTimes = hook.messages.filter((m) => m.status === 'firing').length;
  console.log(`      ${pageTimes} deliveries of ${firing.size} pages: ${pageTimes - firing.size} repeated after a kill`);

  const commands = runs();
  const rollbacks = commands.filter((words) => words[2] === 'rollback').map((words) => words[0]);
  check(new Set(rollbacks).size === rollbacks.length, `${rollbacks.length} rollbacks, no deployment rolled back twice; ${people} times a person was called`);
  check(rollbacks.length > 0, 'some deployments were rolled back');
  const plain = commands.filter((words) => words[2] !== 'rollback').map((words) => words[1]);
  check(new Set(plain).size === plain.length, `${plain.length} deploy commands for ${acknowledgedDeploys.length} acknowledged deployments, none run twice`);
  const status = await engine.status();
  check(status.services.find((item) => item.service === 'shop').version === version(), `the engine knows what runs: ${version()}`);

  const end = await engine.stop();
  check(end.code === 0 && (sanitized || end.ms < 1000), `SIGTERM: exit ${end.code} after ${end.ms.toFixed(0)} ms`);
  const audit = spawnSync(engine.program, ['audit', 'verify', dir], { encoding: 'utf8' });
  check(audit.status === 0, `audit verify: ${(audit.stdout + audit.stderr).trim()}`);
  const worst = Math.max(...starts);
  check(sanitized || worst < START_MS_MAX, `${starts.length} starts: median ${median(starts).toFixed(0)} ms, slowest ${worst.toFixed(0)} ms (limit ${START_MS_MAX})`);
});
