--- The seed's automated rollback: deployed lately and broken now, so back to the version before.
local payments = critical_path "payment_processing" {
  service = "payment-service", success_rate = 99.9, window = "10s", recovery_window = "5s", severity = "P0",
}

payments:on("breached", function(breach)
  local deploy = payments.service:deployed_within "10m"
  if deploy and deploy:rollback(breach.summary) then
    return notify { title = "rolled back " .. deploy.version .. ": " .. breach.summary }
  end
  page { about = payments, title = breach.summary }
end)
