// Sends known metrics with three real StatsD clients and prints what it sent, as JSON.
//
//   node send.js HOST PORT [N]        (N: metrics of each kind a client sends, default 200)
//
// {"lines": ..., "events": ..., "checks": ..., "series": [{"name", "tags", "type", "value", "count"}, ...]}
// `tags` are canonical as `a="b",c="d"`; `value` is a counter's sum, a gauge's last, a timer's sum in seconds, a set's
// true size; `count` is the number of samples by weight. No path of the engine may be named as one of the series.
'use strict';

const HotShots = require('hot-shots');
const NodeStatsd = require('node-statsd').StatsD;
const StatsdClient = require('statsd-client');

const [host, portText, countText] = process.argv.slice(2);
if (!host || !portText) {
  console.error('usage: node send.js HOST PORT [N]');
  process.exit(2);
}
const port = Number(portText);
const count = Number(countText || 200);
const members = 10;
const report = { lines: 0, events: 0, checks: 0, series: [] };

function sent(lines, name, tags, type, value, samples) {
  report.lines += lines;
  report.series.push({ name, tags, type, value, count: samples === undefined ? lines : samples });
}

// 1 + 2 + ... + n
const sum = (n) => (n * (n + 1)) / 2;

// DogStatsD: several lines a packet, tags, events and checks.
function hotShots() {
  const client = new HotShots({ host, port, prefix: 'hotshots.', globalTags: { env: 'test' }, maxBufferSize: 1432 });
  for (let i = 1; i <= count; i++) {
    client.increment('hits');
    client.increment('bytes', i, { region: i % 2 ? 'eu' : 'us' });
    client.decrement('balance', 2);
    client.timing('latency', i);
    client.histogram('size', i);
    client.distribution('spread', i + 0.5);
    client.gauge('depth', -i);
    client.set('users', `user:${i % members}|x`);
    client.event(`t\u00fct ${i}`, 'line one\nw\u00f6rld \u20ac | x', { alert_type: 'info' });
    client.check('db', client.CHECKS.WARNING, { message: 'slow' });
  }
  const env = 'env="test"';
  const odd = Math.ceil(count / 2);
  sent(count, 'hotshots.hits', env, 'counter', count);
  sent(odd, 'hotshots.bytes', `${env},region="eu"`, 'counter', odd * odd);
  sent(count - odd, 'hotshots.bytes', `${env},region="us"`, 'counter', (count - odd) * (count - odd + 1));
  sent(count, 'hotshots.balance', env, 'counter', -2 * count);
  sent(count, 'hotshots.latency', env, 'timer', sum(count) / 1000);
  sent(count, 'hotshots.size', env, 'timer', sum(count) / 1000);
  sent(count, 'hotshots.spread', env, 'timer', (sum(count) + count / 2) / 1000);
  sent(count, 'hotshots.depth', env, 'gauge', -count);
  sent(count, 'hotshots.users', env, 'set', Math.min(members, count));
  report.lines += 2 * count;
  report.events += count;
  report.checks += count;
  return new Promise((resolve, reject) => client.close((error) => (error ? reject(error) : resolve())));
}

// The same library in Telegraf's form: tags at the name.
function hotShotsTelegraf() {
  const client = new HotShots({ host, port, prefix: 'telegraf.', telegraf: true, globalTags: { env: 'test' } });
  for (let i = 1; i <= count; i++) {
    client.increment('hits', 3);
    client.timing('latency', i, { region: 'eu' });
  }
  sent(count, 'telegraf.hits', 'env="test"', 'counter', 3 * count);
  sent(count, 'telegraf.latency', 'env="test",region="eu"', 'timer', sum(count) / 1000);
  return new Promise((resolve, reject) => client.close((error) => (error ? reject(error) : resolve())));
}

// Etsy's form, one line a packet; its callbacks tell when a packet is out.
async function nodeStatsd() {
  const client = new NodeStatsd({ host, port, prefix: 'nodestatsd.' });
  const send = (method, ...args) =>
    new Promise((resolve, reject) => client[method](...args, (error) => (error ? reject(error) : resolve())));
  for (let i = 1; i <= count; i++) {
    await send('increment', 'hits', 1);
    await send('timing', 'latency', i);
    await send('gauge', 'depth', i);
    await send('unique', 'users', `user-${i % members}`);
  }
  client.close();
  sent(count, 'nodestatsd.hits', '', 'counter', count);
  sent(count, 'nodestatsd.latency', '', 'timer', sum(count) / 1000);
  sent(count, 'nodestatsd.depth', '', 'gauge', count);
  sent(count, 'nodestatsd.users', '', 'set', Math.min(members, count));
}

// Etsy's form again, several lines a packet, with deltas of gauges; close() sends what it still holds.
function statsdClient() {
  const client = new StatsdClient({ host, port, prefix: 'statsdclient' });
  client.gauge('depth', 1000);
  for (let i = 1; i <= count; i++) {
    client.increment('hits', 2);
    client.timing('latency', i);
    client.gaugeDelta('depth', i % 2 ? 5 : -3);
    client.set('users', `user-${i % members}`);
  }
  const odd = Math.ceil(count / 2);
  sent(count, 'statsdclient.hits', '', 'counter', 2 * count);
  sent(count, 'statsdclient.latency', '', 'timer', sum(count) / 1000);
  sent(count + 1, 'statsdclient.depth', '', 'gauge', 1000 + 5 * odd - 3 * (count - odd));
  sent(count, 'statsdclient.users', '', 'set', Math.min(members, count));
  client.close();
}

async function main() {
  await hotShots();
  await hotShotsTelegraf();
  await nodeStatsd();
  statsdClient();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
process.on('exit', (code) => {
  if (code === 0) console.log(JSON.stringify(report));
});
