--- The seed's two critical paths, with its figures; nobody has to write a handler to be paged.
critical_path "user_signup" {
  endpoint = "/api/v1/signup", success_rate = 99.5, latency_p95 = "500ms", window = "5m", severity = "P0",
}
critical_path "payment_processing" {
  endpoint = "/api/v1/payments", success_rate = 99.9, latency_p95 = "2s", window = "5m", severity = "P0",
}
