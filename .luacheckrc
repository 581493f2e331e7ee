-- Policies see the vocabulary of the engine as globals; specs see busted's.
std = "lua54"
max_line_length = 140
local vocabulary = {
  "critical_path", "service", "flag", "breaker", "limiter", "bulkhead", "adaptive_limit", "shedder", "retry", "timeout", "fallback", "page", "notify", "exec", "http", "log",
  "on", "every", "at", "after", "sleep", "wait_for", "all", "spawn", "now", "each", "keep", "use",
  "seconds", "minutes", "hours", "days",
}
files["policies"] = { read_globals = vocabulary }
files["examples"] = { read_globals = vocabulary }
files["**/*_spec.lua"] = { std = "lua54+busted" }
exclude_files = { "**/node_modules", "build*" }
files["bindings/lua/library"] = { global = false, unused = false }
