// What every end-to-end program needs: a project in a temporary directory, the real engine as a child process, a
// webhook that remembers, and waiting by condition with a deadline. Everything made here is gone when the program ends.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const cleanups = [];
const dirs = [];
const engines = [];
const children = new Set();

export function atEnd(fn) {
  cleanups.push(fn);
}

export function tempDir(name) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `nines-${name}-`));
  dirs.push(dir);
  return dir;
}

export function child(command, args, options = {}) {
  const started = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(started);
  started.output = '';
  const keep = (data) => (started.output = (started.output + data).slice(-200000));
  if (started.stdout) started.stdout.on('data', keep);
  if (started.stderr) started.stderr.on('data', keep);
  started.ended = new Promise((resolve) => {
    started.on('error', (error) => resolve({ error }));
    started.on('exit', (code, signal) => resolve({ code, signal }));
  }).then((end) => (children.delete(started), end));
  return started;
}

class Skip extends Error {}

// Ends the program with 77: what it needs is not here.
export function skip(sentence) {
  throw new Skip(sentence);
}

let failures = 0;
export function check(fine, sentence) {
  if (!fine) failures++;
  console.log(`${fine ? 'ok  ' : 'FAIL'}  ${sentence}`);
  return fine;
}

function fail(error) {
  failures++;
  console.log(`FAIL  ${error.stack || error}`);
  for (const engine of engines) if (engine.log) console.log(`--- the engine's last lines\n${engine.log.slice(-3000)}`);
}

async function cleanUp() {
  for (const running of children) running.kill('SIGKILL');
  for (const fn of cleanups.reverse()) {
    try {
      await fn();
    } catch (error) {
      console.log(`cleanup: ${error.message}`);
    }
  }
}

// Also when a deadline or a person ends the program.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));
process.on('exit', () => {
  for (const running of children) running.kill('SIGKILL');
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
});

// Runs the program; prints what went wrong; leaves nothing behind.
export async function main(run) {
  let skipped = false;
  try {
    await run();
  } catch (error) {
    skipped = error instanceof Skip;
    if (skipped) console.log(`skipped: ${error.message}`);
    else fail(error);
  }
  await cleanUp();
  process.exit(failures ? 1 : skipped ? 77 : 0);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const now = () => performance.now();

// The first true answer of `fn`; an error when there is none in `ms`.
export async function poll(what, ms, fn, every = 20) {
  const deadline = now() + ms;
  for (;;) {
    const result = await fn();
    if (result) return result;
    if (now() > deadline) throw new Error(`waited ${ms} ms in vain for ${typeof what === 'function' ? what() : what}`);
    await sleep(every);
  }
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Mulberry32: the same seed, the same numbers.
export function random(seed) {
  let state = seed >>> 0;
  const unit = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { unit, between: (low, high) => low + unit() * (high - low), pick: (list) => list[Math.floor(unit() * list.length)] };
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Readers never see half a file.
export function writeWhole(file, text, mode = 0o644) {
  fs.writeFileSync(`${file}.new`, text, { mode });
  fs.renameSync(`${file}.new`, file);
}

// {"nines.yaml": "...", "policies/a.lua": "...", "deploy.sh": "#!/bin/sh ..."}
export function project(name, files) {
  const dir = tempDir(name);
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, file)), { recursive: true });
    fs.writeFileSync(path.join(dir, file), text, { mode: file.endsWith('.sh') ? 0o755 : 0o644 });
  }
  return dir;
}

export function request(target, method, url, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const sent = data === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) };
    const asked = http.request({ ...target, method, path: url, headers: { ...sent, ...headers } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => (text += part));
      answer.on('end', () => {
        let json;
        try {
          json = JSON.parse(text);
        } catch {
          json = undefined;
        }
        resolve({ status: answer.statusCode, text, json, headers: answer.headers });
      });
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.setTimeout(20000, () => asked.destroy(new Error(`no answer to ${method} ${url}`)));
    asked.end(data);
  });
}

// Samples of the text format: metric(text, "nines_path_requests_total", { path: "pay" }).
export function metric(text, name, labels = {}) {
  for (const line of text.split('\n')) {
    if (!line.startsWith(name) || (line[name.length] !== '{' && line[name.length] !== ' ')) continue;
    if (Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) return Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return undefined;
}

export class Engine {
  constructor(build, dir) {
    this.program = path.resolve(build, 'nines');
    this.dir = dir;
    this.socket = path.join(dir, 'nines-data', 'nines.sock');
    this.log = '';
    engines.push(this);
    atEnd(() => this.agent && this.agent.destroy());
  }

  // Resolves to the milliseconds from spawn to the first "ready".
  async start({ deadline = 10000, wrap = [] } = {}) {
    const [command, ...args] = [...wrap, this.program, 'run', this.dir];
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
    this.target = { socketPath: this.socket, agent: this.agent };
    const from = now();
    this.process = child(command, args, { cwd: this.dir });
    this.process.stderr.on('data', (data) => (this.log += data));
    this.process.stdout.on('data', (data) => (this.log += data));
    let ended;
    this.process.ended.then((end) => (ended = end));
    await poll('the engine to be ready', deadline, async () => {
      if (ended) throw new Error(`the engine ended: ${JSON.stringify(ended)}: ${this.process.output.slice(-2000)}`);
      if (!fs.existsSync(this.socket)) return false;
      try {
        return (await this.ask('GET', '/readyz')).status === 200;
      } catch {
        return false;
      }
    }, 2);
    return now() - from;
  }

  ask(method, url, body, headers) {
    return request(this.target, method, url, body, headers);
  }

  async metrics() {
    const { text } = await this.ask('GET', '/metrics');
    return (name, labels) => metric(text, name, labels);
  }

  async status() {
    return (await this.ask('GET', '/v1/status')).json;
  }

  // The port that the engine was given for port 0.
  async port(key = 'listen') {
    const address = (await this.status())[key];
    return Number(address.slice(address.lastIndexOf(':') + 1));
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.process.ended;
    this.agent.destroy();
  }

  // Resolves to how it ended, and how long that took.
  async stop() {
    const from = now();
    this.process.kill('SIGTERM');
    const end = await this.process.ended;
    this.agent.destroy();
    return { ...end, ms: now() - from };
  }
}

// A webhook that keeps every message, with the time of its arrival. `answer` may be set to a function that gives a status.
export async function webhook() {
  const hook = { messages: [], answer: () => 200 };
  const server = http.createServer((asked, answer) => {
    let text = '';
    asked.on('data', (part) => (text += part));
    asked.on('end', () => {
      const message = { ...JSON.parse(text), arrived: now() };
      const status = hook.answer(message);
      if (status < 300) hook.messages.push(message);
      answer.writeHead(status).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  hook.url = `http://127.0.0.1:${server.address().port}/page`;
  hook.of = (pathName, status) => hook.messages.filter((m) => m.labels && m.labels.critical_path === pathName && m.status === status);
  atEnd(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return hook;
}

// Built with a sanitizer: times mean nothing.
export function isSanitized(build) {
  try {
    return /^NINES_SANITIZE:[A-Z]+=.+$/m.test(fs.readFileSync(path.join(build, 'CMakeCache.txt'), 'utf8'));
  } catch {
    return false;
  }
}

export function buildDir() {
  const dir = process.argv[2];
  if (!dir || !fs.existsSync(path.join(dir, 'nines'))) {
    console.error(`usage: node ${path.basename(process.argv[1])} BUILD_DIRECTORY ...   (which holds the program nines)`);
    process.exit(2);
  }
  return path.resolve(dir);
}
