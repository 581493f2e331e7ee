// Protections from end to end: a policy declares one of each, HTTP and the command line look at them and set them, they
// are scraped, and what a person has set outlives SIGKILL until its time is over or it is lifted.
//
//   node protection.mjs BUILD

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Engine, buildDir, check, main, now, poll, project } from './rig.mjs';

const build = buildDir();
// Names of the seed that promtool would have otherwise: see prometheus.mjs.
const LET_BE = /^(detection_critical_path_latency_ms|detection_critical_path_success_rate|mitigation_\w+)\b/;

const policy = `local gateway = breaker "payment_gateway" { window_calls = 10, min_calls = 5, failure_rate = 50, open_for = "1h", ignore = { "not_found" } }
breaker "tenants" { keys = 16, failures = 3 }
local search = limiter "search" { rate = 1, burst = 2 }
bulkhead "reports" { max = 4 }
adaptive_limit "db" { min = 3, max = 50, initial = 7 }
shedder "api" { latency_target = "200ms" }
retry "gateway" { attempts = 3 }
timeout "gateway" { limit = "750ms" }
fallback "cache" { max = 2 }
flag "fail" { default = false }
every("100ms", function()
  search:ask()
  gateway:call(function()
    if flag "fail":enabled() then return nil, "no route to bank" end
    return true
  end)
end)
`;

const project_files = {
  'nines.yaml': 'listen: 127.0.0.1:0\n',
  'policies/shop.lua': policy,
};

await main(async () => {
  const dir = project('protection', project_files);
  const engine = new Engine(build, dir);
  await engine.start();
  const get = async (url) => (await engine.ask('GET', url)).json;
  const breaker = (name = 'payment_gateway') => get(`/v1/breakers/${name}`);
  const cli = (...args) => {
    const { status, stdout, stderr } = spawnSync(engine.program, args, {
      cwd: dir,
      encoding: 'utf8',
      env: { ...process.env, USER: 'ann', NO_COLOR: '1', NINES_ENGINE: '' },
    });
    return { status, text: stdout + stderr };
  };
  const expect = (status, pattern, ...args) => {
    const got = cli(...args);
    check(got.status === status && pattern.test(got.text), `nines ${args.join(' ')}: ${got.status} ${got.text.trim().split('\n').join(' | ').slice(0, 160)}`);
    return got.text;
  };

  // --- lists
  const all = await get('/v1/protections');
  const nouns = { breaker: 'breakers', limiter: 'limiters', bulkhead: 'bulkheads', adaptive_limit: 'adaptive_limits', shedder: 'shedders', retry: 'retries', timeout: 'timeouts', fallback: 'fallbacks' };
  check(all.length === 9 && new Set(all.map((item) => item.noun)).size === 8, `/v1/protections: ${all.map((item) => `${item.noun} ${item.name}`).join(', ')}`);
  for (const [noun, resource] of Object.entries(nouns)) {
    const list = await get(`/v1/${resource}`);
    const names = list.map((item) => item.name);
    const expected = all.filter((item) => item.noun === noun).map((item) => item.name);
    const one = await get(`/v1/${resource}/${names[0]}`);
    check(`${names}` === `${expected}` && one.name === names[0] && one.noun === noun && one.declared_by === 'shop.lua', `/v1/${resource}: ${names}`);
  }
  for (const resource of Object.values(nouns)) {
    const answer = await engine.ask('GET', `/v1/${resource}/nothing_like_it`);
    check(answer.status === 404 && /there is no \w+ "nothing_like_it"/.test(answer.json.detail), `/v1/${resource}/nothing_like_it: ${answer.status} ${answer.json.detail}`);
  }
  const near = await engine.ask('GET', '/v1/breakers/payment_gatway');
  check(near.status === 404 && near.json.detail.includes('did you mean "payment_gateway"') && near.headers['content-type'].includes('problem+json'), `${near.status} ${near.json.detail}`);

  // --- changes over HTTP
  const put = (url, body) => engine.ask('PUT', url, body, { 'nines-actor': 'bob' });
  let answer = await put('/v1/breakers/payment_gateway', { state: 'open', for: '10m', reason: 'their maintenance' });
  check(answer.status === 200 && answer.json.state === 'forced_open' && answer.json.by_person === true && answer.json.actor === 'person:bob' && answer.json.reason === 'their maintenance' && answer.json.expires_ns > 0, `PUT open: ${answer.text.trim().slice(0, 200)}`);
  for (const state of ['disabled', 'metrics_only', 'forced_open']) {
    answer = await put('/v1/breakers/payment_gateway', { state });
    check(answer.json.state === state && answer.json.by_person && !answer.json.expires_ns, `PUT ${state}: ${answer.json.state}, until lifted`);
  }
  answer = await engine.ask('DELETE', '/v1/breakers/payment_gateway', {});
  check(answer.status === 200 && answer.json.state === 'closed' && answer.json.by_person === false, `DELETE: ${answer.json.state}`);
  for (const [url, body, status, field] of [
    ['/v1/breakers/payment_gateway', { state: 'ajar' }, 422, /ajar/],
    ['/v1/breakers/payment_gateway', {}, 422, /"state" is missing/],
    ['/v1/breakers/payment_gateway', { state: 'open', for: 'a while' }, 422, /for/],
    ['/v1/breakers/payment_gateway', { state: 'open', until: '10m' }, 422, /until/],
    ['/v1/breakers/tennants', { state: 'open' }, 404, /did you mean "tenants"/],
    ['/v1/shedders/api', { percent: 120 }, 422, /percent/],
    ['/v1/shedders/api', {}, 422, /"percent" is missing/],
    ['/v1/shedders/apis', { percent: 1 }, 404, /did you mean "api"/],
  ]) {
    answer = await put(url, body);
    check(answer.status === status && field.test(answer.json.detail), `PUT ${url} ${JSON.stringify(body)}: ${answer.status} ${answer.json.detail}`);
  }
  answer = await put('/v1/shedders/api', { percent: 20, for: '1s', reason: 'slow' });
  check(answer.status === 200 && answer.json.by_hand === 20 && answer.json.actor === 'person:bob', `PUT shedder: ${answer.json.by_hand}%`);
  await poll('the shedding to end', 10000, async () => (await get('/v1/shedders/api')).by_hand === 0);
  const lifted = await get('/v1/shedders/api');
  check(lifted.by_person === false && lifted.actor === 'engine', `after its time nobody sheds: by ${lifted.actor}, ${lifted.reason}`);

  // --- a rule opens one, and it is explained
  cli('flag', 'on', 'fail');
  await poll('the breaker to open', 15000, async () => (await breaker()).state === 'open');
  expect(0, /breaker payment_gateway +open +.*failure rate/, 'status');
  await poll('a refused call', 5000, async () => (await breaker()).refused > 0);
  await poll('the event, a beat later', 5000, async () => /breaker\.opened/.test(cli('explain', 'payment_gateway').text));
  const text = expect(0, /breaker\n +summary: +open, because: failure rate; /, 'explain', 'payment_gateway');
  check(/since: +20\d\d-.*\((just now|.* ago)\)/.test(text), 'explain: since when');
  check(/rule_text: +opens when at least 50% of calls fail.*of the last 10 calls and with at least 5 calls/.test(text), 'explain: the rule');
  check(/history\nTIME[^]*breaker\.opened +failure rate/.test(text), 'explain: the history');
  expect(0, /payment_gateway +open +.* ago /, 'breaker');
  cli('flag', 'lift', 'fail');
  answer = await engine.ask('POST', '/v1/breakers/payment_gateway/reset', { reason: 'bank is back' });
  check(answer.status === 200 && answer.json.state === 'closed', `POST reset: ${answer.json.state}`);

  // --- the command line
  expect(0, /payment_gateway +closed.*\n.*tenants +closed|tenants +closed[^]*payment_gateway +closed/, 'breaker', 'list');
  expect(0, /search +1 +2 +[\d.e+-]+ +[1-9]\d* +shop\.lua/, 'limiter');
  expect(0, /reports +0 +4 +0 +shop\.lua/, 'bulkhead', 'list');
  expect(0, /api +0% +0% +0% +0% +0% +0/, 'shed');
  expect(0, /"noun":"shedder"/, 'shed', '--json');
  expect(0, /tenants is forced_open.*that ends in .*nines breaker lift tenants/, 'breaker', 'open', 'tenants', '--for', '10m', '--reason', 'their maintenance');
  expect(0, /tenants +forced_open.*person:ann +in .*their maintenance/, 'breaker');
  expect(0, /breaker tenants +forced_open .*person:ann: their maintenance/, 'status');
  expect(0, /in_charge: +person:ann, until 20/, 'explain', 'tenants');
  expect(0, /tenants is disabled.*until `nines breaker lift tenants`/, 'breaker', 'disable', 'tenants');
  expect(0, /tenants is closed, and left to/, 'breaker', 'close', 'tenants');
  expect(0, /tenants is forced_open/, 'breaker', 'force', 'tenants');
  expect(0, /tenants is closed, and left to/, 'breaker', 'lift', 'tenants');
  expect(0, /tenants is closed/, 'breaker', 'reset', 'tenants', '--reason', 'again');
  expect(1, /did you mean "tenants"/, 'breaker', 'open', 'tenant');
  expect(2, /--for is a duration/, 'breaker', 'open', 'tenants', '--for', 'soon');
  expect(2, /--for belongs to open, force and disable/, 'breaker', 'close', 'tenants', '--for', '1m');
  expect(2, /does not know "shut"/, 'breaker', 'shut', 'tenants');
  expect(2, /say which breaker/, 'breaker', 'open');
  expect(2, /no percentage/, 'shed', 'api', 'much');
  expect(2, /no percentage/, 'shed', 'api', '101');
  expect(0, /api sheds 20% of all requests/, 'shed', 'api', '20%', '--for', '10m', '--reason', 'slow');
  expect(0, /shedder api +sheds 20%/, 'status');
  expect(0, /summary: +sheds 20% of all requests \(set\)/, 'explain', 'api');
  expect(0, /api sheds 0% of all requests, and left to/, 'shed', 'lift', 'api');
  for (const name of ['search', 'reports', 'db', 'gateway', 'cache']) expect(0, /rule_text: +\w/, 'explain', name);
  expect(1, /did you mean "reports"/, 'explain', 'report');
  expect(0, /usage: nines breaker.*\n[^]*nines breaker open payment_gateway --for 10m/, 'breaker', '--help');

  // --- the scrape
  expect(0, /forced_open/, 'breaker', 'force', 'payment_gateway');
  const scrape = (await engine.ask('GET', '/metrics')).text;
  const metric = await engine.metrics();
  for (const [name, labels, expected] of [
    ['prevention_circuit_breakers_open', { dependency: 'payment_gateway' }, 1],
    ['prevention_circuit_breakers_open', { dependency: 'tenants' }, 0],
    ['nines_breaker_state', { name: 'payment_gateway' }, 4],
    ['nines_breaker_keys', { name: 'tenants' }, 0],
    ['nines_breaker_keys_max', { name: 'tenants' }, 16],
    ['nines_breaker_keys_evicted_total', { name: 'tenants' }, 0],
    ['nines_bulkhead_inside', { name: 'reports' }, 0],
    ['nines_bulkhead_limit', { name: 'reports' }, 4],
    ['nines_bulkhead_refused_total', { name: 'reports' }, 0],
    ['nines_adaptive_limit', { name: 'db' }, 7],
    ['nines_shedder_refused_total', { name: 'api', criticality: 'critical_plus' }, 0],
    ['nines_shedder_percent', { name: 'api' }, 0],
    ['nines_timeout_total', { name: 'gateway' }, 0],
    ['nines_protections_max', {}, 6144],
  ]) check(metric(name, labels) === expected, `${name}${JSON.stringify(labels)} ${metric(name, labels)}`);
  for (const name of ['nines_breaker_calls_total', 'nines_breaker_failed_total', 'nines_breaker_refused_total'])
    check(metric(name, { name: 'payment_gateway' }) > 0, `${name} ${metric(name, { name: 'payment_gateway' })}`);
  check(metric('nines_breaker_late_total', { name: 'payment_gateway' }) >= 0, 'nines_breaker_late_total');
  check(metric('nines_limiter_refused_total', { name: 'search' }) > 0, `nines_limiter_refused_total ${metric('nines_limiter_refused_total', { name: 'search' })}`);
  check(metric('nines_retry_budget', { name: 'gateway' }) > 0, `nines_retry_budget ${metric('nines_retry_budget', { name: 'gateway' })}`);
  check(metric('nines_protections') >= 9, `nines_protections ${metric('nines_protections')}`);
  check(metric('nines_breaker_keys', { name: 'payment_gateway' }) === undefined, 'no keys, no sample');
  if (spawnSync('sh', ['-c', 'command -v promtool']).status === 0) {
    const lint = spawnSync('promtool', ['check', 'metrics'], { input: scrape, encoding: 'utf8' });
    const complaints = (lint.stdout + lint.stderr).split('\n').filter((line) => line && !LET_BE.test(line));
    check(complaints.length === 0 && lint.status !== 1, `promtool check metrics: ${complaints.length} complaints ${complaints.slice(0, 5).join(' | ')}`);
  }

  // --- what a person has set outlives SIGKILL
  cli('breaker', 'open', 'payment_gateway', '--reason', 'until further notice');
  cli('breaker', 'disable', 'tenants', '--for', '3s');
  const ends = now() + 3000;
  cli('shed', 'api', '35', '--reason', 'slow');
  await engine.kill();
  await engine.start();
  const held = await breaker();
  check(held.state === 'forced_open' && held.by_person && held.actor === 'person:ann' && held.reason === 'until further notice', `after SIGKILL: ${held.state} by ${held.actor}, ${held.reason}`);
  const shed = await get('/v1/shedders/api');
  check(shed.by_hand === 35 && shed.by_person, `after SIGKILL: sheds ${shed.by_hand}%`);
  const disabled = await breaker('tenants');
  if (now() < ends - 500) check(disabled.state === 'disabled' && disabled.by_person, `after SIGKILL: ${disabled.state} for a while yet`);
  await poll('the hold to end', 10000, async () => (await breaker('tenants')).state === 'closed');
  check((await breaker('tenants')).by_person === false && now() > ends - 500, 'its time is over: closed');

  // Also when the arena is gone, and when a hold ends while no engine runs.
  cli('breaker', 'disable', 'tenants', '--for', '1s');
  await engine.kill();
  for (const file of fs.readdirSync(path.join(dir, 'nines-data'))) if (file.includes('arena')) fs.rmSync(path.join(dir, 'nines-data', file));
  await new Promise((resolve) => setTimeout(resolve, 1100));
  await engine.start();
  check((await breaker()).state === 'forced_open', `without the arena: ${(await breaker()).state}`);
  await poll('the hold to be over', 5000, async () => (await breaker('tenants')).by_person === false);
  check((await breaker('tenants')).state === 'closed', 'a hold that ended while no engine ran is over');
  expect(0, /payment_gateway is closed/, 'breaker', 'lift', 'payment_gateway');
  expect(0, /sheds 0%/, 'shed', 'lift', 'api');
  await engine.kill();
  await engine.start();
  check((await breaker()).state === 'closed' && (await get('/v1/shedders/api')).by_hand === 0, 'what was lifted stays lifted');

  const end = await engine.stop();
  check(end.code === 0, `SIGTERM: exit ${end.code}`);
  const audit = spawnSync(engine.program, ['audit', 'list', dir], { encoding: 'utf8' });
  check(/person:ann +breaker\.set +payment_gateway/.test(audit.stdout) && /person:bob +shedder\.set +api/.test(audit.stdout) && /engine +breaker\.lifted +tenants/.test(audit.stdout), 'the audit has who set and lifted what');
  const replayed = spawnSync(engine.program, ['replay', path.join(dir, 'nines-data', 'recording')], { cwd: dir, encoding: 'utf8' });
  check(replayed.status === 0, `replay: ${replayed.status} ${(replayed.stdout + replayed.stderr).trim().split('\n').slice(-3).join(' | ')}`);
});
