-- Payments from stock Lua: two hundred go well, then the gateway is down.
local nines = require "nines"

assert(nines.attach(os.getenv "NINES_ARENA"))
local payments = nines.path "payment_processing"
for i = 1, 260 do
  payments:track(function() if i > 200 then return nil, "the gateway is down" end return "paid" end)
end
