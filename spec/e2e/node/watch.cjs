// Prints when a flag changed, in ms of CLOCK_MONOTONIC, which all processes share.
//   node watch.cjs BINDING FLAG
'use strict';

const [binding, name] = process.argv.slice(2);
const nines = require(binding);
nines.attach();
const flag = nines.flag(name);
let was = flag.on;
console.log('ready');
setInterval(() => {
  if (flag.on === was) return;
  was = !was;
  console.log(`${was} ${Number(process.hrtime.bigint()) / 1e6}`);
}, 1);
