--- When a critical path breaks shortly after its service was deployed, undo that deployment first and page only if that
--- did not help. Works for every critical path that names a service; the others are paged for at once.
---
--- The engine pages by itself if this file errs, hangs or is killed, and never rolls back twice for one breach.

local DEPLOYED_WITHIN = "15m"   -- older deployments are hardly the cause
local RECOVERS_WITHIN = "2m"

on("critical_path.breached", function(breach)
  local path = critical_path(breach.name)
  local deploy = breach.service and path.service:deployed_within(DEPLOYED_WITHIN)
  if not deploy then
    return page { about = path, title = breach.summary }
  end
  local done, why = deploy:rollback(breach.summary)
  if not done then
    return page { about = path, title = breach.summary, text = "could not roll back " .. deploy.version .. ": " .. why }
  end
  if not path:recovers_within(RECOVERS_WITHIN) then
    return page { about = path, title = breach.summary, text = "rolling back " .. deploy.version .. " did not help" }
  end
  notify { title = "rolled back " .. deploy.version .. " of " .. breach.service .. ", " .. breach.name .. " recovered" }
end)
