// Policies edited under load.
//
//   node reload.mjs BUILD [EDITS=200]
//
// 5,000 observations a second arrive over HTTP while policies are edited, a third of the edits broken in four ways. All
// observations are counted, the hour's window goes on, an alert that is held pages when its hold is over, a broken
// version leaves the old one running and says why, and no turn takes more than 5 ms of the loop thread's CPU.

import path from 'node:path';
import { Engine, buildDir, check, isSanitized, main, now, poll, project, sleep, webhook, writeWhole } from './rig.mjs';

const build = buildDir();
const edits = Number(process.argv[3] || 200);
const sanitized = isSanitized(build);
const RATE = 5000;
const BATCH = 50;
const HOLD_MS = 6000;
const TURN_S_MAX = 0.005;

const good = (number) => `-- edit ${number}
local counted = critical_path "counted" { success_rate = 10, window = "1h" }
local edits = keep { edits = 0 }
edits.edits = edits.edits + 1
every("1s", function() counted:is "success_rate < 50" end)
`;
const broken = [
  ['a syntax error', (n) => `-- ${n}\ncritical_path "counted" { success_rate = = 1 }\n`],
  ['an unknown name', (n) => `-- ${n}\ncritical_path "counted" { success_rat = 10 }\n`],
  ['an error at load', (n) => `-- ${n}\nlocal nothing\nprint(nothing.field)\n`],
  ['an endless loop at load', (n) => `-- ${n}\nwhile true do end\n`],
];

await main(async () => {
  const hook = await webhook();
  const dir = project('reload', {
    'nines.yaml': `listen: 127.0.0.1:0\nnotify:\n  hook: { webhook: { url: "${hook.url}" } }\n`,
    'policies/edited.lua': good(0),
    'policies/held.lua': `local held = critical_path "held" {
  success_rate = 99.9, window = "10s", recovery_window = "2s", page_after = "${HOLD_MS}ms",
}
held:on("breached", function() sleep "1h" end)
`,
  });
  const engine = new Engine(build, dir);
  await engine.start();
  const before = (await engine.metrics())('nines_turn_seconds_max');

  // --- the load: so many batches are due by now; as many are sent
  let sent = 0;
  let acknowledged = 0;
  let over = false;
  const body = JSON.stringify(Array.from({ length: BATCH }, (_, i) => ({ path: 'counted', ok: i % 10 > 0, duration_ms: 3 })));
  const from = now();
  async function load() {
    while (!over) {
      if (sent >= ((now() - from) / 1000) * RATE) {
        await sleep(2);
        continue;
      }
      sent += BATCH;
      const answer = await engine.ask('POST', '/v1/observations', body);
      if (answer.status === 202) acknowledged += BATCH;
      else check(false, `a batch got ${answer.status} ${answer.text}`);
    }
  }
  const loads = [load(), load(), load(), load()];

  // --- an alert with a hold, which no reload may lengthen
  await engine.ask('POST', '/v1/observations', Array.from({ length: 100 }, () => ({ path: 'held', ok: false })));
  const breachedAt = now();

  // --- the edits
  const file = path.join(dir, 'policies/edited.lua');
  const policy = async (name) => (await engine.status()).policies.find((item) => item.file === name);
  let refused = 0;
  let taken = 0;
  let worst = 0;
  for (let edit = 1; edit <= edits; edit++) {
    const at = now();
    if (edit % 3 === 0) {
      const [what, text] = broken[(edit / 3) % broken.length];
      writeWhole(file, text(edit));
      const answer = await engine.ask('POST', '/v1/reload', {});
      const now_ = await policy('edited.lua');
      if (answer.status !== 422 || !now_.error || now_.loads !== taken + 1)
        throw new Error(`edit ${edit} with ${what}: ${answer.status} ${answer.text} ${JSON.stringify(now_)}`);
      if (edit <= 12) console.log(`      ${what}: ${now_.error.split('\n')[0]}`);
      refused++;
    } else {
      writeWhole(file, good(edit));
      // Half of them by the file watch, half by asking.
      if (edit % 2) await engine.ask('POST', '/v1/reload', {});
      await poll('an edit to be loaded', 10000, async () => (await policy('edited.lua')).loads === taken + 2, 10);
      taken++;
    }
    worst = Math.max(worst, now() - at);
    if (edit % 50 === 0) console.log(`      ${edit} edits in ${((now() - from) / 1000).toFixed(1)} s, ${sent} observations`);
    await sleep(30);
  }
  const last = await policy('edited.lua');
  check(taken + refused === edits, `${taken} edits taken, ${refused} refused with the old version running on; slowest ${worst.toFixed(0)} ms`);
  check(last.state !== 'failed' && last.loads === taken + 1, `the policy is ${last.state} after ${last.loads} loads`);

  const page = await poll('the page of the held alert', HOLD_MS + 10000, () => hook.of('held', 'firing')[0]);
  const held = page.arrived - breachedAt;
  check(held > HOLD_MS - 100 && held < HOLD_MS + 1000, `the held alert paged after ${held.toFixed(0)} ms; hold ${HOLD_MS} ms`);
  check(hook.of('held', 'firing').length === 1, 'and once');

  over = true;
  await Promise.all(loads);
  const seconds = (now() - from) / 1000;
  await poll('the last observations to be counted', 5000, async () => (await engine.metrics())('nines_path_requests_total', { path: 'counted' }) === sent).catch(() => {});
  const metrics = await engine.metrics();
  const counted = metrics('nines_path_requests_total', { path: 'counted' });
  check(sent / seconds > RATE * (sanitized ? 0.1 : 0.9), `${(sent / seconds).toFixed(0)} observations a second for ${seconds.toFixed(1)} s`);
  check(acknowledged === sent && counted === sent, `sent ${sent} = acknowledged ${acknowledged} = counted ${counted}`);
  const hour = (await engine.status()).paths.find((item) => item.path === 'counted').requests;
  check(hour === sent, `the window of an hour has ${hour}`);
  const turn = metrics('nines_turn_seconds_max');
  check(sanitized || turn <= TURN_S_MAX, `longest turn ${(turn * 1000).toFixed(2)} ms of CPU (${(before * 1000).toFixed(2)} ms at start; limit ${TURN_S_MAX * 1000} ms)`);
  const end = await engine.stop();
  check(end.code === 0, `SIGTERM: exit ${end.code} after ${end.ms.toFixed(0)} ms`);
});
