--- The other critical path of week 1; payment_processing is rollback.lua's.
critical_path "user_signup" {
  endpoint = "/api/v1/signup", success_rate = 99.5, latency_p95 = "500ms", window = "5m", severity = "P0",
}
