--- The paths that users came for, and how good they have to be. Copy, rename, and keep it short: what is not worth
--- waking up for is not a critical path.
---
--- Without a handler a breach pages at once; with one (mitigation/rollback_on_breach.lua) the page waits for it.

critical_path "user_signup" {
  service      = "signup-service",
  endpoint     = "/api/v1/signup",
  success_rate = 99.5,              -- percent
  latency_p95  = "500ms",
  window       = "5m",
  severity     = "P0",
  runbook      = "runbooks/user_signup.md",
}

critical_path "service_booking" {
  service      = "booking-service",
  endpoint     = "/api/v1/bookings",
  success_rate = 99.5,
  latency_p95  = "1s",
  window       = "5m",
  severity     = "P0",
  runbook      = "runbooks/service_booking.md",
}

critical_path "payment_processing" {
  service      = "payment-service",
  endpoint     = "/api/v1/payments",
  success_rate = 99.9,
  latency_p95  = "2s",
  window       = "5m",
  severity     = "P0",
  runbook      = "runbooks/payment_processing.md",
}

critical_path "order_confirmation" {
  service      = "confirmation-service",
  endpoint     = "/api/v1/confirmations",
  success_rate = 99.0,
  latency_p95  = "500ms",
  window       = "5m",
  severity     = "P1",
  runbook      = "runbooks/order_confirmation.md",
}
