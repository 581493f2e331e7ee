// A small web shop on node:http and node:cluster that knows nothing of nines.
//   PORT=8080 WORKERS=2 node app.js
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const prices = new Map([['tea', 4.5], ['cup', 12], ['pot', 30]]);

async function charge(amount) {
  await new Promise((resolve) => setImmediate(resolve));
  return { paid: amount, at: new Date().toISOString() };
}

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://shop');
  const price = prices.get(searchParams.get('item') ?? 'tea');
  const status = pathname !== '/checkout' || !price ? 404 : searchParams.has('broken') ? 500 : 200;
  const receipt = status === 200 ? await charge(price) : { error: http.STATUS_CODES[status] };
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(receipt));
}

function start(handler) {
  const workers = Number(process.env.WORKERS ?? 2);
  if (cluster.isPrimary && workers > 1) {
    for (let i = 0; i < workers; i++) cluster.fork();
    let ready = 0;
    cluster.on('listening', (worker, { port }) => {
      if (++ready === workers) console.log(`the shop listens: http://127.0.0.1:${port}/checkout?item=tea`);
    });
    return;
  }
  const server = http.createServer(handler).listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
    if (cluster.isPrimary) console.log(`the shop listens: http://127.0.0.1:${server.address().port}/checkout?item=tea`);
  });
}

module.exports = { answer, start };
if (require.main === module) start(answer);
