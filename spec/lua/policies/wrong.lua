-- A typo in a handler, which nobody would see until the night it runs.
critical_path "checkout" { success_rate = 99 }
on("critical_path.breached", function() burn_rate() end)
