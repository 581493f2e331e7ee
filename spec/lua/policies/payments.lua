-- luacheck: read globals critical_path flag page notify every
--- Payments: notice within seconds, undo the last deploy, page only when that did not help.

local payments = critical_path "payment_processing" {
  service      = "payment-service",
  endpoint     = "/api/v1/payments",
  success_rate = 99.9,              -- percent
  latency_p95  = "2s",
  window       = "5m",
  severity     = "P0",
  runbook      = "runbooks/payments.md",
}
local recommendations = flag "recommendations" { default = true }

payments:on("breached", function(breach)
  local deploy = payments.service:deployed_within("15m")
  if deploy and deploy:rollback(breach.summary) and payments:recovers_within("2m") then
    return notify { to = "team", title = "rolled back " .. deploy.version .. ", payments recovered" }
  end
  page { about = payments, title = breach.summary }
end)

every("10s", function()
  recommendations:set(not payments:is "burn(1h) > 6", "payments are burning budget")
end)
