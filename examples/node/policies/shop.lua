critical_path "checkout" { success_rate = 99.9, latency_p99 = "250ms", window = "5m" }
