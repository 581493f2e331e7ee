-- The month of spec/lua/month.lua as a table.
--
--   LUA_CPATH="build/?.so;;" lua5.4 spec/bench/bench_month.lua [days]
package.path = "spec/lua/?.lua;" .. package.path
local month = require "month"

local days = tonumber(arg[1] or 30)
local began = os.clock()
local alerts, pages = month.run(days)
print(("%-24s %-4s %10s %16s %12s"):format("alert", "", "at", "after its onset", "open for"))
for _, alert in ipairs(alerts) do
  print(("%-24s %-4s %8.3f h %14.1f s %12s"):format(alert.name, alert.severity, alert.opened, alert.detected or 0,
    alert.open and ("%.1f min"):format(alert.open) or alert.state))
end
print(("%d days of 6 services: %d alerts, %d pages and tickets, in %.1f s"):format(days, #alerts, pages, os.clock() - began))
