// The programs of docs/embedding.md that attach, as they stand there, with a real engine: C, C++, Python, Node and Lua.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine, buildDir, check, main, poll, project, tempDir } from './rig.mjs';

const build = path.resolve(buildDir());
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');
const page = fs.readFileSync(path.join(root, 'docs/embedding.md'), 'utf8');
const section = page.slice(page.indexOf('## Attach'));

function snippets(language) {
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text);
}

function run(what, command, args, options, expected) {
  const ended = spawnSync(command, args, { encoding: 'utf8', timeout: 60000, ...options });
  const fine = ended.status === 0 && expected.test(ended.stdout);
  check(fine, `${what}: ${ended.stdout.trim().split('\n').pop()}${fine ? '' : ` ${ended.status} ${ended.stderr} ${ended.error ?? ''}`}`);
}

await main(async () => {
  const dir = project('attach-docs', { 'nines.yaml': 'listen: 127.0.0.1:0\nstatsd: 127.0.0.1:0\ndata: ./nines-data\npolicies: [policies]\n', 'policies/one.lua': '' });
  const work = tempDir('attach-docs-work');
  const engine = new Engine(build, dir);
  await engine.start();
  const env = { ...process.env, NINES_LIBRARY: path.join(build, 'libnines-core.so'), LD_LIBRARY_PATH: build, LUA_CPATH: `${build}/?.so`, PYTHONPATH: path.join(root, 'bindings/python'), PYTHONDONTWRITEBYTECODE: '1' };
  const here = { cwd: dir, env };
  const write = (name, text) => (fs.writeFileSync(path.join(work, name), text), path.join(work, name));

  const flags = [`-I${root}/engine`, `-I${root}/bindings/cpp`, `-L${build}`, '-lnines-core', '-o'];
  const c = write('attach.c', snippets('c')[0]), cpp = write('attach.cpp', snippets('cpp')[0]);
  run('gcc', 'gcc', ['-std=c11', '-Wall', '-Wextra', '-Wpedantic', '-Werror', c, ...flags, path.join(work, 'c')], {}, /^$/);
  run('C', path.join(work, 'c'), ['nines-data/arena'], here, /^paid\n$/);
  for (const compiler of ['g++', 'clang++']) {
    run(compiler, compiler, ['-std=c++17', '-Wall', '-Wextra', '-Wconversion', '-Werror', cpp, ...flags, path.join(work, 'cpp')], {}, /^$/);
    run('C++', path.join(work, 'cpp'), ['nines-data/arena'], here, /^$/);
  }
  run('Python', 'python3', [write('attach.py', snippets('python')[0])], here, /^\('paid', 1, False\)\n$/);
  const [attach, whole] = snippets('lua');
  run('Lua, attached', 'lua5.4', [write('attach.lua', attach)], here, /^paid\t1\n$/);
  run('Lua, the whole engine', 'lua5.4', [write('whole.lua', whole)], { ...here, cwd: work }, /^/);
  const binding = path.join(work, 'node_modules/nines');
  fs.cpSync(path.join(root, 'bindings/node'), binding, { recursive: true, filter: (file) => !file.includes(`${path.sep}node_modules${path.sep}`) });
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: binding, encoding: 'utf8', timeout: 120000 });
  if (npm.status !== 0) throw new Error(`npm ci: ${npm.error ?? npm.stderr}`);
  run('Node', 'node', [write('attach.cjs', snippets('js')[0])], here, /^\[ 'paid', 1 \]\n$/);
  const counted = async (name) => (await engine.metrics())('nines_path_requests_total', { path: name });
  await poll('the counts', 3000, async () => (await counted('payment_processing')) === 3).catch(() => {});
  check(await counted('pay') === 3 && await counted('payment_processing') === 3, `the engine counted what they recorded: ${await counted('pay')} and ${await counted('payment_processing')}`);
  await engine.stop();
});
