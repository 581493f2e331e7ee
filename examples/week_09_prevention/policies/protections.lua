--- The seed's protections: a breaker of five failures and a minute, ten places for payments and twenty for searches.
breaker "payment_gateway" { failures = 5, open_for = "60s" }
bulkhead "payments" { max = 10 }
bulkhead "search" { max = 20 }
retry "inventory" { attempts = 3, wait = "10ms" }
flag "real_time_inventory" { default = true }

-- A gateway that is down is somebody's business; a flag takes the costly part out meanwhile.
breaker "payment_gateway":on("opened", function(event)
  log.info("gateway refused from now on: " .. event.cause)
  flag "real_time_inventory":disable "the gateway is down"
end)
