// Debian's amtool against nines: it lists alerts, adds a silence, sees it work, expires it.
//
//   node amtool.mjs BUILD

import { spawnSync } from 'node:child_process';
import { Engine, buildDir, check, main, poll, project, request, skip, webhook } from './rig.mjs';

const build = buildDir();

await main(async () => {
  if (spawnSync('sh', ['-c', 'command -v amtool']).status !== 0) skip('not installed: amtool');
  const receiver = await webhook();
  const dir = project('amtool', {
    'nines.yaml': `listen: 127.0.0.1:0\nnotify: { hook: { webhook: { url: "${receiver.url}" } } }\n`,
    'policies/shop.lua': `critical_path "checkout" { service = "shop", success_rate = 99.9, severity = "P0" }
critical_path "search" { service = "shop", success_rate = 99.9, severity = "P1" }
`,
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const url = `http://127.0.0.1:${await engine.port()}`;
  const amtool = (...args) => {
    const { status, stdout, stderr } = spawnSync('amtool', [`--alertmanager.url=${url}`, ...args], { encoding: 'utf8', timeout: 20000 });
    return { status, text: stdout || stderr };
  };
  const fails = (path) => engine.ask('POST', '/v1/observations', Array.from({ length: 100 }, () => ({ path, ok: false })));

  const added = amtool('silence', 'add', '--author=ann', '--comment=maintenance', '--duration=1h', 'critical_path=checkout', 'severity=~P.');
  check(added.status === 0 && /^[0-9a-f-]{36}\s*$/.test(added.text), `amtool silence add: ${added.text.trim()}`);
  const id = added.text.trim();
  await fails('checkout');
  await fails('search');
  const alerts = () => amtool('-o', 'json', 'alert', 'query', '--silenced', '--active');
  const list = () => amtool('-o', 'json', 'alert', 'query');
  await poll('the alerts open', 10000, () => /search/.test(list().text), 200);
  check(!/"checkout"/.test(list().text), 'amtool alert query hides what is silenced');
  const all = amtool('-o', 'json', 'alert', 'query', '--silenced');
  check(all.status === 0 && /checkout/.test(all.text) && all.text.includes(id), 'amtool alert query --silenced shows it and by what');
  const matched = amtool('alert', 'query', 'critical_path=search');
  check(matched.status === 0 && /critical_path_breached/.test(matched.text), `amtool alert query MATCHER:\n${matched.text}`);
  const one = JSON.parse(list().text)[0];
  check(/^[0-9a-f]{16}$/.test(one.fingerprint) && one.status.state === 'active', 'a fingerprint and a state');
  await poll('the page for search', 10000, () => receiver.of('search', 'firing').length === 1);
  check(receiver.of('checkout', 'firing').length === 0, 'no page for what is silenced');

  const silences = amtool('silence', 'query');
  check(silences.status === 0 && silences.text.includes(id) && /ann/.test(silences.text), `amtool silence query:\n${silences.text}`);
  const shown = await request({ host: '127.0.0.1', port: await engine.port() }, 'GET', `/api/v2/silence/${id}`);
  check(shown.status === 200 && shown.json.status.state === 'active' && shown.json.matchers.length === 2, 'GET /api/v2/silence/ID');
  const expired = amtool('silence', 'expire', id);
  check(expired.status === 0, `amtool silence expire ${expired.text.trim()}`);
  await poll('what still fires is paged at once', 5000, () => receiver.of('checkout', 'firing').length === 1);
  check(!amtool('silence', 'query').text.includes(id), 'it is no longer listed as active');
  check(amtool('silence', 'query', '--expired').text.includes(id), 'but as expired');
  check(alerts().status === 0, 'amtool alert query --silenced --active');
  const wrong = { matchers: [{ name: 'a', value: '(', isRegex: true }], startsAt: '2026-01-05T00:00:00Z', endsAt: '2099-01-05T00:00:00+01:00', createdBy: 'ann', comment: 'x' };
  const refused = await engine.ask('POST', '/api/v2/silences', wrong);
  check(refused.status === 422 && /not a regular expression/.test(refused.text), `what is no regular expression is refused: ${refused.text.trim()}`);
});
