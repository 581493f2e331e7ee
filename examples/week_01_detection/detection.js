// Signups from Node; the engine counts them with Python's.
'use strict';
const nines = require('nines');

nines.attach();
const signUp = nines.track('user_signup', async (user) => user);

(async () => {
  for (let user = 0; user < 200; user++) await signUp(user);
})();
