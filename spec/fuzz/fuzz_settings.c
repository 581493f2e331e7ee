// Any bytes as nines.yaml: settings that hold what their header promises, or a sentence with file and line.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct settings *settings;
  struct status status = { 0 };
  int code = settings_parse(&settings, (struct view){ (const char *)data, size }, "f", "", &status);
  if (code < 0) {
    CHECK(!settings && status.code == code && strncmp(status.text, "f:", 2) == 0);
    return 0;
  }
  CHECK(settings->data && settings->data[0] && settings->policies && settings->page_after_ns >= 0);
  CHECK(!settings->listen || strncmp(settings->listen, "127.", 4) == 0 || settings->listen[0] == '[');
  for (uint32_t i = 0; i < settings->notifier_count; i++) {
    const struct notifier_settings *notifier = &settings->notifiers[i];
    CHECK(settings_notifier(settings, notifier->name) && notifier->timeout_ns > 0);
    CHECK(notifier->type == NOTIFIER_COMMAND ? notifier->argv[0][0] != '\0' : strncmp(notifier->url, "http", 4) == 0);
  }
  for (uint32_t i = 0; i < settings->route_count; i++) {
    CHECK(settings->routes[i].to[0]);
    for (const char *const *to = settings->routes[i].to; *to; to++) CHECK(settings_notifier(settings, *to));
  }
  for (uint32_t i = 0; i < settings->service_count; i++) {
    const struct service_settings *service = &settings->services[i];
    CHECK(settings_service(settings, service->name) && service->tier && service->dependencies);
    CHECK(!service->deploy || service->deploy[0][0] != '\0');
  }
  settings_free(settings);
  return 0;
}
