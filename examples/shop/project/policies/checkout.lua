--- Checkout: notice within seconds, undo the last deploy, page only when that did not help.
--
-- The windows are short, so that the demo is: in production a window of 5m (recovery 30s or more) is quieter and, as a
-- breach is a test of significance and not a mean over the window, hardly slower to notice.

local checkout = critical_path "checkout" {
  service         = "payments",
  endpoint        = "/checkout",
  success_rate    = 99.5,
  window          = "10s",
  recovery_window = "5s",
  severity        = "P0",
}

checkout:on("breached", function(breach)
  local deploy = checkout.service:deployed_within("5m")
  if deploy and deploy:rollback(breach.summary) and checkout:recovers_within("30s") then
    return notify { to = "team", title = "rolled back payments " .. deploy.version .. ", checkout recovered" }
  end
  page { about = checkout, title = breach.summary }
end)
