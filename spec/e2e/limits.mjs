// Bad input against the running engine: a clear error, nothing lost, nothing half applied.
//
//   node limits.mjs BUILD

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Engine, buildDir, check, child, freePort, main, now, poll, project, request, webhook } from './rig.mjs';

const build = buildDir();
const program = path.join(build, 'nines');
const ONE_PATH = 'critical_path "pay" { success_rate = 99.9, window = "10s", recovery_window = "1s" }\n';

// Bytes as they are; the answer's status, or 0 when there is none.
function raw(port, bytes) {
  return new Promise((resolve) => {
    let text = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    const end = () => (socket.destroy(), resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0)));
    socket.setTimeout(15000, end);
    socket.on('data', (data) => {
      text += data;
      if (text.includes('\r\n\r\n')) end();
    });
    socket.on('error', end);
    socket.on('close', end);
  });
}

async function http() {
  const engine = new Engine(build, project('limits-http', { 'nines.yaml': 'listen: 127.0.0.1:0\n', 'policies/pay.lua': ONE_PATH }));
  await engine.start();
  const port = await engine.port();
  const get = (headers) => `GET /v1/status HTTP/1.1\r\n${headers}\r\n`;
  const host = `Host: 127.0.0.1:${port}\r\n`;
  const post = (headers, body) => `POST /v1/observations HTTP/1.1\r\n${host}${headers}\r\n${body}`;
  const json = 'Content-Type: application/json\r\n';
  const sized = (body, type = json) => post(`${type}Content-Length: ${Buffer.byteLength(body)}\r\n`, body);
  const many = JSON.stringify(Array.from({ length: 100001 }, () => ({ path: 'pay' })));
  const cases = [
    ['a plain question', get(host), [200]],
    ['TLS on the plain port', Buffer.from('1603010200010001fc0303', 'hex').toString('latin1') + '\r\n\r\n', [400, 0]],
    ['20 KiB of headers', get(`${host}X: ${'x'.repeat(20000)}\r\n`), [431]],
    ['200 headers', get(host + Array.from({ length: 200 }, (_, i) => `X${i}: 1\r\n`).join('')), [431]],
    ['a foreign Host (DNS rebinding)', get('Host: evil.example\r\n'), [403, 421]],
    ['no Host', get(''), [400, 403, 421]],
    ['a foreign Origin (CSRF)', get(`${host}Origin: http://evil.example\r\n`), [403]],
    ['Origin null', get(`${host}Origin: null\r\n`), [403]],
    ['Content-Length and chunked', post(`${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n`, '0\r\n\r\n'), [400]],
    ['two Content-Lengths', post(`${json}Content-Length: 5\r\nContent-Length: 6\r\n`, 'abcde'), [400]],
    ['a negative Content-Length', post(`${json}Content-Length: -1\r\n`, ''), [400]],
    ['a bad chunk size', post(`${json}Transfer-Encoding: chunked\r\n`, 'zz\r\n'), [400]],
    ['a body of 9 MiB, announced', post(`${json}Content-Length: ${9 << 20}\r\n`, '{'), [413]],
    ['a form', sized('path=pay', 'Content-Type: application/x-www-form-urlencoded\r\n'), [415]],
    ['text/plain (what a browser may send)', sized('{"path":"pay"}', 'Content-Type: text/plain\r\n'), [415]],
    ['no Content-Type', sized('{"path":"pay"}', ''), [415]],
    ['half an object', sized('{"path":"pay"'), [400]],
    ['a number', sized('17'), [400]],
    ['no path', sized('{"ok":true}'), [400]],
    ['a negative duration', sized('{"path":"pay","duration_ms":-3}'), [400]],
    ['a duration that is a text', sized('{"path":"pay","duration_ms":"3"}'), [400]],
    ['a path of 300 bytes', sized(JSON.stringify({ path: 'p'.repeat(300) })), [400]],
    ['no UTF-8', Buffer.from(post(`${json}Content-Length: 14\r\n`, '{"path":"p\xff\xfe"}'), 'latin1'), [400]],
    ['depth 10,000', sized('{"path":"pay","x":' + '['.repeat(10000) + ']'.repeat(10000) + '}'), [400]],
    ['100,001 observations', sized(many), [413]],
    ['a good batch with one bad at its end', sized('[{"path":"pay"},{"path":"pay"},{"path":17}]'), [400]],
    ['a path that is not there', `GET /v1/nothing HTTP/1.1\r\n${host}\r\n`, [404]],
    ['a method that is not there', `DELETE /v1/observations HTTP/1.1\r\n${host}${json}Content-Length: 0\r\n\r\n`, [405]],
    ['climbing out', `GET /../../etc/passwd HTTP/1.1\r\n${host}\r\n`, [400, 404]],
  ];
  let wrong = 0;
  for (const [what, bytes, expected] of cases) {
    const status = await raw(port, bytes);
    if (!expected.includes(status)) wrong += !check(false, `${what}: ${status}, expected ${expected.join(' or ')}`);
  }
  check(wrong === 0, `HTTP: ${cases.length} bad requests, each answered as it should be`);
  const metrics = await engine.metrics();
  check(!metrics('nines_path_requests_total', { path: 'pay' }), 'HTTP: no observation of a refused batch was counted');
  const { text } = await engine.ask('GET', '/metrics');
  const reasons = text.split('\n').filter((line) => line.startsWith('nines_http_refused_total{') && !line.endsWith(' 0'));
  check(reasons.length >= 5, `HTTP: refusals by reason: ${reasons.map((line) => line.replace(/.*reason="(\w+)"} (\d+)/, '$1 $2')).join(', ')}`);

  const names = await engine.ask('POST', '/v1/observations', Array.from({ length: 1100 }, (_, i) => ({ path: `name-${i}` })));
  check(names.status === 422 && names.json.detail.includes('1000'), `1,100 new paths: ${names.status} ${names.json?.detail}`);
  const change = await engine.ask('POST', '/v1/services/shop/deployments', '[1]');
  check(change.status === 400, `a deployment that is no object: ${change.status} ${change.json?.detail}`);
  const alien = await engine.ask('POST', '/v1/services/shop/deployments', { version: 'v1', colour: 'red' });
  check(alien.status >= 400 && alien.status < 500, `a deployment with an unknown key: ${alien.status} ${alien.json?.detail}`);
  const deploy = await engine.ask('POST', '/v1/services/shop/deployments', { version: 'v1' });
  check(deploy.status >= 400 && deploy.status < 500, `a deploy without a command: ${deploy.status} ${deploy.json?.detail}`);

  // --- a slow client, and more connections than allowed
  const idle = [];
  for (let i = 0; i < 600; i++) idle.push(net.connect(port, '127.0.0.1').on('error', () => {}));
  await poll('connections to be refused', 10000, async () => (await engine.metrics())('nines_http_refused_total', { reason: 'too_many_connections' }) > 0);
  check((await engine.ask('GET', '/readyz').catch(() => ({}))).status !== undefined, 'HTTP: 600 connections: those over 512 are refused, those open go on being served');
  idle.forEach((socket) => socket.destroy());
  const after = await poll('a new connection', 5000, async () => (await request({ host: '127.0.0.1', port }, 'GET', '/readyz').catch(() => ({}))).status === 200);
  check(after, 'HTTP: and new ones are taken when they are gone');
  await engine.stop();
  return engine;
}

async function refused(dir) {
  const started = child(program, ['run', dir], { cwd: dir });
  const timer = setTimeout(() => started.kill('SIGKILL'), 10000);
  const { code } = await started.ended;
  clearTimeout(timer);
  return { code, output: started.output.trim() };
}

async function starting() {
  const port = await freePort();
  const files = { 'nines.yaml': `listen: 127.0.0.1:${port}\n`, 'policies/pay.lua': ONE_PATH };
  const engine = new Engine(build, project('limits-first', files));
  await engine.start();
  const second = await refused(project('limits-second', files));
  check(second.code > 0 && second.output.includes(String(port)) && second.output.includes(String(engine.process.pid)), `a taken port: exit ${second.code}: ${second.output}`);
  const same = await refused(engine.dir);
  check(same.code > 0 && same.output.includes(String(engine.process.pid)), `a taken data directory: exit ${same.code}: ${same.output}`);
  check((await engine.ask('GET', '/readyz')).status === 200, 'the first engine goes on');
  const unknown = await refused(project('limits-key', { 'nines.yaml': 'listen: 127.0.0.1:0\nnotifi: {}\n', 'policies/pay.lua': ONE_PATH }));
  check(unknown.code > 0 && unknown.output.includes('notifi') && unknown.output.includes(':2'), `an unknown key: exit ${unknown.code}: ${unknown.output}`);

  // --- damage
  await engine.ask('POST', '/v1/observations', Array.from({ length: 100 }, () => ({ path: 'pay' })));
  await engine.kill();
  const data = path.join(engine.dir, 'nines-data');
  for (const [file, harm] of [
    ['arena', (name) => fs.writeSync(fs.openSync(name, 'r+'), Buffer.alloc(4096, 0x5a), 0, 4096, 0)],
    ['nines.db', (name) => (fs.rmSync(`${name}-wal`, { force: true }), fs.rmSync(`${name}-shm`, { force: true }), fs.writeFileSync(name, Buffer.alloc(20000, 0x5a)))],
  ]) {
    const before = new Set(fs.readdirSync(data));
    harm(path.join(data, file));
    engine.log = '';
    await engine.start();
    const aside = fs.readdirSync(data).filter((name) => !before.has(name) && name.startsWith(file) && !/-(wal|shm)$/.test(name));
    const line = engine.log.split('\n').find((text) => text.includes('damaged') || text.includes('set aside')) ?? '';
    check(aside.length === 1 && line, `a damaged ${file}: kept as ${aside.join(', ')}: ${line.slice(0, 300)}`);
    await engine.ask('POST', '/v1/observations', [{ path: 'pay' }]);
    await engine.kill();
  }
  for (const name of fs.readdirSync(path.join(data, 'recording'))) fs.writeFileSync(path.join(data, 'recording', name), Buffer.alloc(5000, 0x5a));
  await engine.start();
  check((await engine.ask('GET', '/readyz')).status === 200, 'a damaged recording: the engine starts');
  await engine.stop();
}

async function policies() {
  const hook = await webhook();
  const handler = (name, body) => `local p = critical_path "${name}" { success_rate = 99.9, window = "10s", recovery_window = "1s", page_after = "1h" }
p:on("breached", function() ${body} end)
`;
  const engine = new Engine(build, project('limits-policies', {
    'nines.yaml': `listen: 127.0.0.1:0\nnotify:\n  hook: { webhook: { url: "${hook.url}" } }\n`,
    'policies/loops.lua': handler('loops', 'while true do end'),
    'policies/eats.lua': handler('eats', 'local all = {} for i = 1, 1e9 do all[i] = { i, i, i } end'),
    'policies/fails.lua': handler('fails', 'local nothing = nil; nothing.field = 1'),
    'policies/well.lua': ONE_PATH,
  }));
  await engine.start();
  for (const name of ['loops', 'eats', 'fails', 'pay'])
    await engine.ask('POST', '/v1/observations', Array.from({ length: 100 }, () => ({ path: name, ok: false })));
  for (const name of ['loops', 'eats', 'fails', 'pay']) {
    const page = await poll(`the page of ${name}`, 10000, () => hook.of(name, 'firing')[0]);
    const alert = (await engine.ask('GET', '/v1/alerts')).json.find((item) => item.object === name);
    check(page && alert.why_paged, `a handler that ${name}: paged, because ${alert.why_paged}`);
  }
  const metrics = await engine.metrics();
  check(metrics('nines_policy_kills_total', { policy: 'loops.lua', limit: 'instructions' }) > 0, 'the loop is counted as a kill by instructions');
  check(metrics('nines_policy_kills_total', { policy: 'eats.lua', limit: 'memory' }) > 0, 'the eater is counted as a kill by memory');
  await engine.stop();
}

async function fullDisk() {
  if (process.getuid() !== 0) {
    console.log('      skipped: a full disk needs root, to mount a small one');
    return;
  }
  const hook = await webhook();
  const dir = project('limits-disk', {
    'nines.yaml': `listen: 127.0.0.1:0
services: { shop: { deploy: { command: ["./deploy.sh"] } } }
notify:
  hook: { webhook: { url: "${hook.url}" } }
`,
    'policies/pay.lua': ONE_PATH,
    'deploy.sh': '#!/bin/sh\necho "$NINES_TO" >> deploys.txt\n',
    'deploys.txt': '',
  });
  const data = path.join(dir, 'nines-data');
  fs.mkdirSync(data);
  const engine = new Engine(build, dir);
  // The mount is seen by the engine only, and goes with it; its files are reached through /proc.
  const wrap = ['unshare', '-m', 'sh', '-c', `mount -t tmpfs -o size=16m,mode=700 none '${data}' && exec "$@"`, 'sh'];
  const probe = child('unshare', ['-m', 'sh', '-c', `mount -t tmpfs -o size=1m none '${data}'`]);
  if ((await probe.ended).code !== 0) {
    console.log('      skipped: no mount namespaces here, so no full disk');
    return;
  }
  const starting = engine.start({ wrap });
  engine.socket = `/proc/${engine.process.pid}/root${data}/nines.sock`;
  engine.target.socketPath = engine.socket;
  await starting;
  const deploy = (version) => engine.ask('POST', '/v1/services/shop/deployments', { version });
  check((await deploy('v1')).status < 300, 'a deploy while there is space');
  await poll('the deploy', 5000, () => fs.readFileSync(path.join(dir, 'deploys.txt'), 'utf8') === 'v1\n');

  const filler = `/proc/${engine.process.pid}/root${data}/filler`;
  const fill = () => {
    const fd = fs.openSync(filler, 'a');
    try {
      for (let size = 1 << 20; size >= 1; size >>= 1)
        for (;;)
          try {
            fs.writeSync(fd, Buffer.alloc(size));
          } catch {
            break;
          }
    } finally {
      fs.closeSync(fd);
    }
  };
  fill();
  let answer;
  await poll('a deploy to be refused', 10000, async () => {
    fill();
    answer = await deploy('v2');
    return answer.status >= 400;
  });
  check(answer.status === 503, `disk full: a deploy gets ${answer.status} ${answer.json?.detail}`);
  const ready = await engine.ask('GET', '/readyz');
  check(ready.status === 503, `disk full: /readyz ${ready.status} ${ready.json?.detail}`);
  const runsThen = fs.readFileSync(path.join(dir, 'deploys.txt'), 'utf8');
  const from = now();
  const observed = await engine.ask('POST', '/v1/observations', Array.from({ length: 100 }, () => ({ path: 'pay', ok: false })));
  check(observed.status === 202, `disk full: observations get ${observed.status}`);
  await poll('the page', 5000, () => hook.of('pay', 'firing')[0]);
  check(true, `disk full: paged ${(now() - from).toFixed(0)} ms after the first failure`);
  const fresh = await engine.ask('POST', '/v1/observations', Array.from({ length: 900 }, (_, i) => ({ path: `fresh-${i}` })));
  check((await engine.ask('GET', '/healthz')).status === 200, `disk full: 900 new paths get ${fresh.status}, the engine lives`);

  fs.rmSync(filler);
  await poll('/readyz to be well again', 30000, async () => {
    await engine.ask('POST', '/v1/observations', [{ path: 'pay', ok: true }]);
    return (await engine.ask('GET', '/readyz')).status === 200;
  });
  check((await deploy('v3')).status < 300, 'space again: /readyz is well and a deploy is taken');
  await poll('the deploy', 5000, () => fs.readFileSync(path.join(dir, 'deploys.txt'), 'utf8').endsWith('v3\n'));
  check(runsThen === fs.readFileSync(path.join(dir, 'deploys.txt'), 'utf8').replace('v3\n', '') && !runsThen.endsWith('v2\nv2\n'), 'no refused deploy was run');
  await engine.stop();
}

await main(async () => {
  for (const part of [http, starting, policies, fullDisk]) {
    try {
      await part();
    } catch (error) {
      check(false, `${part.name}: ${error.stack}`);
    }
  }
});
