// The web shop of app.js with nines, in three lines. `./run` starts it with an engine beside it.
'use strict';

const { answer, start } = require('./app');
const nines = require('../../bindings/node'); // require('nines') where it is installed
nines.attach();
start(nines.handler('checkout', answer));
