// Records and asks, counted: as a process, as a worker of node:cluster (--cluster N) or as a thread of node:worker_threads.
//   node crew.cjs BINDING NAME CALLS [--cluster N]
'use strict';

const cluster = require('node:cluster');
const { isMainThread, workerData } = require('node:worker_threads');

const [binding, name, calls, , workers] = isMainThread ? process.argv.slice(2) : workerData;

async function work() {
  const nines = require(binding);
  nines.attach();
  const pay = nines.track(name, async (i) => {
    if (i % 10 === 0) throw new Error('declined');
  });
  const gateway = nines.breaker(name, { failureRate: -1 });
  const served = nines.counter(name);
  for (let i = 0; i < calls; i++) {
    await gateway.call(pay, i).catch(() => {});
    served.add(2);
  }
}

if (workers && cluster.isPrimary) {
  let failed = 0;
  for (let i = 0; i < workers; i++) cluster.fork();
  cluster.on('exit', (worker, code) => {
    failed += code !== 0;
    if (Object.keys(cluster.workers).length === 0) process.exitCode = failed;
  });
} else {
  work().then(() => cluster.isWorker && process.disconnect());
}
