// Attached C and C++ programs with a real engine: a pre-forked server under load, one opens and all refuse, no system call
// on the request path, an engine that is killed again and again, an installation that stands by itself.
//
//   node attach.mjs BUILD [KILLS=10]

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine, buildDir, check, child, main, now, poll, project, random, sleep, tempDir } from './rig.mjs';

const build = path.resolve(buildDir());
const kills = Number(process.argv[3] || 10);
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '../..');

function compile(dir, name, source, flags) {
  const program = path.join(dir, name);
  const cc = spawnSync(source.endsWith('pp') ? 'g++' : 'gcc', ['-O2', '-Wall', '-Wextra', '-Wconversion', '-Werror', source, ...flags, '-o', program], { encoding: 'utf8' });
  check(cc.status === 0, `${path.basename(source)} compiles ${cc.stderr || cc.error || ''}`);
  return program;
}

const requests = async (engine, name) => (await engine.metrics())('nines_path_requests_total', { path: name }) ?? 0;

async function prefork(engine, arena) {
  const server = child(path.join(build, 'prefork'), [arena, '0']);
  await poll(() => `the workers: ${server.output}`, 5000, () => server.output.includes('listen'));
  const port = Number(server.output.match(/:(\d+)\//)[1]);
  const agents = Array.from({ length: 4 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const get = (agent, url) => new Promise((resolve, reject) => {
    http.get({ port, path: url, agent }, (answer) => {
      let text = '';
      answer.on('data', (part) => (text += part));
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
    }).on('error', reject);
  });
  const each = 1000;
  await Promise.all(agents.map(async (agent) => {
    for (let i = 0; i < each; i++) await get(agent, '/pay');
  }));
  const sent = each * agents.length;
  await poll('the counts', 3000, async () => (await requests(engine, 'pay')) === sent).catch(() => {});
  const counted = await requests(engine, 'pay');
  check(counted === sent, `four forked workers: ${sent} requests were answered, the engine counted ${counted}`);
  const workers = new Set();
  for (const agent of agents) workers.add((await get(agent, '/state')).text.match(/worker (\d+)/)[1]);
  check(workers.size === 4, `by ${workers.size} workers`);

  const program = path.join(build, 'nines');
  const before = await get(agents[0], '/pay');
  spawnSync(program, ['flag', 'on', 'new_gateway'], { cwd: engine.dir });
  const after = await Promise.all(agents.map((agent) => get(agent, '/pay')));
  check(before.text === 'paid\n' && after.every(({ text }) => text.includes('the new way')), 'a flag switched by the command line holds in every worker at its end');
  for (let i = 0; i < 5; i++) await get(agents[0], '/pay?broken');
  const refused = await Promise.all(agents.map((agent) => get(agent, '/pay')));
  check(refused.every(({ status }) => status === 503), 'the breaker that one worker opened refuses in all');
  const list = spawnSync(program, ['breaker', 'list'], { cwd: engine.dir, encoding: 'utf8' }).stdout;
  check(/gateway +open/.test(list), '`nines breaker list` has it');
  check(/1 process(es)? attached|[2-9] processes attached/.test(spawnSync(program, ['status'], { cwd: engine.dir, encoding: 'utf8' }).stdout), '`nines status` tells who is attached');
  server.kill('SIGTERM');
  await server.ended;
}

async function service(engine, arena) {
  const server = child(path.join(build, 'service'), [arena, '0']);
  await poll(() => `the service: ${server.output}`, 5000, () => server.output.includes('listens'));
  const port = Number(server.output.match(/:(\d+)\//)[1]);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  const get = () => new Promise((resolve, reject) => {
    http.get({ port, path: '/', agent }, (answer) => answer.resume().on('end', () => resolve(answer.statusCode))).on('error', reject);
  });
  const answers = await Promise.all(Array.from({ length: 1000 }, get));
  await poll('the counts', 3000, async () => (await requests(engine, 'lookup')) === 1000).catch(() => {});
  const counted = await requests(engine, 'lookup');
  check(answers.every((status) => status === 200) && counted === 1000, `a service of threads: 1000 requests over eight connections, the engine counted ${counted}`);
  agent.destroy();
  server.kill('SIGTERM');
  await server.ended;
}

// Between two system calls that mark the begin and the end there must be none.
async function silent(dir, arena) {
  const source = path.join(dir, 'silent.c');
  fs.writeFileSync(source, `#include <nines.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **arguments)
{
  nines_arena *arena;
  nines_path *path;
  nines_breaker *breaker;
  nines_limiter *limiter;
  nines_bulkhead *bulkhead;
  nines_flag *flag;
  nines_fault *fault;
  const nines_limiter_config rate = { .size = sizeof rate, .rate = 1e6 };
  if (count < 2 || nines_attach(&arena, arguments[1], 0, 0, 0) < 0) return 1;
  if (nines_arena_path(arena, "silent", &path) || nines_breaker_get(arena, "silent", 0, &breaker)) return 2;
  if (nines_limiter_get(arena, "silent", &rate, &limiter) || nines_bulkhead_get(arena, "silent", 0, &bulkhead)) return 3;
  if (nines_flag_get(arena, "silent", 1, &flag) || nines_fault_get(arena, "silent", &fault)) return 4;
  int64_t begun_ns = nines_now_ns(), longest_ns = 0, now_ns = begun_ns;
  nines_path_record(path, 1, 1); // a thread's first call claims its number, once
  write(1, "BEGIN\\n", 6);
  for (int i = 0; i < 1000000; i++) {
    int64_t then_ns = now_ns;
    nines_permit inside = nines_bulkhead_enter(bulkhead, now_ns), permit = nines_breaker_ask(breaker, now_ns);
    nines_limiter_ask(limiter, 1, now_ns);
    nines_flag_on(flag, now_ns);
    nines_fault_ask(fault, "key", now_ns);
    now_ns = nines_now_ns();
    nines_breaker_done(breaker, permit, i % 100 ? NINES_SUCCESS : NINES_FAILURE, now_ns);
    nines_bulkhead_leave(bulkhead, inside, now_ns);
    nines_path_record(path, 1, now_ns - then_ns);
    if (now_ns - then_ns > longest_ns) longest_ns = now_ns - then_ns;
  }
  write(1, "END\\n", 4);
  printf("%.1f %.3f\\n", (double)(nines_now_ns() - begun_ns) / 1e6, (double)longest_ns / 1e6);
  return 0;
}
`);
  const program = compile(dir, 'silent', source, ['-Wno-unused-result', `-I${root}/engine`, `-L${build}`, '-lnines-core', `-Wl,-rpath,${build}`]);
  const plain = spawnSync(program, [arena], { encoding: 'utf8' }).stdout.split('\n')[2];
  const traced = spawnSync('strace', ['-f', '-o', path.join(dir, 'trace'), program, arena], { encoding: 'utf8' });
  if (traced.error) throw new Error('strace is missing: apt-get install strace');
  const lines = fs.readFileSync(path.join(dir, 'trace'), 'utf8').split('\n');
  const from = lines.findIndex((line) => line.includes('BEGIN')), to = lines.findIndex((line) => line.includes('"END'));
  const between = lines.slice(from + 1, to);
  check(from > 0 && to === from + 1, `a million turns of all primitives made ${to - from - 1} system calls ${between[0] ?? ''} (${plain.split(' ')[0]} ms untraced, the longest turn ${plain.split(' ')[1]} ms)`);
}

async function killed(engine, dir, arena) {
  const source = path.join(dir, 'survivor.c');
  fs.writeFileSync(source, `#include <nines.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static volatile sig_atomic_t stop;
static void on_term(int signal) { (void)signal; stop = 1; }
int main(int count, char **arguments)
{
  nines_arena *arena;
  nines_path *path;
  nines_breaker *breaker;
  const nines_breaker_config never = { .size = sizeof never, .failure_rate = -1, .slow_rate = -1 };
  const nines_attach_config config = { .size = sizeof config, .keep_ns = 100000000 };
  if (count < 2 || nines_attach(&arena, arguments[1], &config, 0, 0) < 0) return 1;
  if (nines_arena_path(arena, "survivor", &path) || nines_breaker_get(arena, "survivor", &never, &breaker)) return 2;
  signal(SIGTERM, on_term);
  puts("ready");
  fflush(stdout);
  unsigned long long turns = 0;
  int64_t longest_ns = 0;
  while (!stop) {
    for (int i = 0; i < 1000; i++, turns++) {
      int64_t then_ns = nines_now_ns();
      nines_permit permit = nines_breaker_ask(breaker, then_ns);
      nines_path_record(path, 1, 1000);
      nines_breaker_done(breaker, permit, NINES_SUCCESS, then_ns);
      int64_t took_ns = nines_now_ns() - then_ns;
      if (took_ns > longest_ns) longest_ns = took_ns;
    }
    usleep(500);
  }
  printf("%llu %.3f\\n", turns, (double)longest_ns / 1e6);
  return 0;
}
`);
  const program = compile(dir, 'survivor', source, [`-I${root}/engine`, `-L${build}`, '-lnines-core', `-Wl,-rpath,${build}`]);
  const clients = Array.from({ length: 4 }, () => child(program, [arena]));
  await poll('the clients', 5000, () => clients.every(({ output }) => output.includes('ready')));
  const rng = random(kills);
  for (let i = 0; i < kills; i++) {
    await sleep(rng.between(5, 120));
    await engine.kill();
    await engine.start();
  }
  for (const client of clients) client.kill('SIGTERM');
  await Promise.all(clients.map(({ ended }) => ended));
  const said = clients.map(({ output }) => output.trim().split('\n').pop().split(' ').map(Number));
  const turns = said.reduce((sum, [n]) => sum + n, 0), longest = Math.max(...said.map(([, ms]) => ms));
  await poll('the counts', 3000, async () => (await requests(engine, 'survivor')) === turns).catch(() => {});
  const counted = await requests(engine, 'survivor');
  const { json } = await engine.ask('GET', '/v1/breakers/survivor');
  check(counted === turns, `the engine was killed ${kills} times under four processes: it counted ${counted} of ${turns} observations`);
  check(json.total <= turns && json.in_flight === 0, `the breaker ${json.total} of them (others were admitted while the engine was lost), none in flight`);
  check(longest < 1000, `none ever waited: the longest turn took ${longest} ms`);
}

function cpp(dir, arena) {
  const program = compile(dir, 'service', path.join(root, 'examples/c/service.cpp'), ['-std=c++17', `-I${root}/engine`, `-I${root}/bindings/cpp`, `-L${build}`, '-lnines-core', `-Wl,-rpath,${build}`]);
  const run = spawnSync(program, [arena, '100'], { encoding: 'utf8' });
  check(run.stdout === '50 paid, 3 failed, 47 refused, breaker 1\n', `C++: ${run.stdout.trim()} ${run.stderr.trim()}`);
  const none = spawnSync(program, [`${arena}.none`], { encoding: 'utf8' });
  check(none.status === 1 && /is its engine running/.test(none.stderr), `C++: ${none.stderr.trim().replace(/^.* at \S+/, '... at it')}`);
}

// What is installed is enough: ten lines, pkg-config, nothing of the source tree.
function installed(dir, arena) {
  const prefix = path.join(dir, 'prefix'), source = path.join(dir, 'ten.c');
  const install = spawnSync('cmake', ['--install', build, '--prefix', prefix], { encoding: 'utf8' });
  if (!check(install.status === 0, `cmake --install ${install.stderr}`)) return;
  fs.writeFileSync(source, `#include <nines.h>
#include <stdio.h>
int main(int count, char **arguments)
{
  nines_arena *arena;
  nines_breaker *gateway;
  char error[300];
  if (count < 2 || nines_attach(&arena, arguments[1], 0, error, sizeof error) < 0) return puts(error), 1;
  if (nines_breaker_get(arena, "gateway", 0, &gateway) < 0) return puts(nines_arena_errmsg(arena)), 1;
  nines_permit permit = nines_breaker_ask(gateway, nines_now_ns());
  puts(nines_permitted(permit) ? "granted" : "refused");
  nines_breaker_done(gateway, permit, NINES_SUCCESS, nines_now_ns());
  return 0;
}
`);
  const files = spawnSync('find', [prefix, '-name', 'nines-core.pc'], { encoding: 'utf8' }).stdout.trim();
  const config = spawnSync('pkg-config', ['--cflags', '--libs', 'nines-core'], { encoding: 'utf8', env: { ...process.env, PKG_CONFIG_PATH: path.dirname(files) } });
  const flags = config.stdout.trim().split(/\s+/).map((flag) => flag.replaceAll('/usr/local', prefix));
  const lib = path.dirname(path.dirname(files));
  const program = compile(dir, 'ten', source, [...flags, `-Wl,-rpath,${lib}`]);
  const run = spawnSync(program, [arena], { encoding: 'utf8' });
  check(/^(granted|refused)\n$/.test(run.stdout), `installed with pkg-config nines-core: ${run.stdout.trim()}`);
}

await main(async () => {
  const dir = project('attach', {
    'nines.yaml': 'listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\ndata: ./nines-data\npolicies: [policies]\n',
    'policies/one.lua': 'flag "new_gateway" { default = false }\n',
  });
  const arena = path.join(dir, 'nines-data/arena'), work = tempDir('attach-work');
  const engine = new Engine(build, dir);
  await engine.start();
  await prefork(engine, arena);
  await service(engine, arena);
  await silent(work, arena);
  cpp(work, arena);
  installed(work, arena);
  await killed(engine, work, arena);
  await engine.stop();
});
