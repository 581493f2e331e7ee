// The schemas of the protections' declarations: canonical spellings, and those that people bring from Resilience4j and
// the seed. Sentences say where, what was found and what is allowed.
#ifndef NINES_APP_PROTECTION_SETTINGS_H
#define NINES_APP_PROTECTION_SETTINGS_H

#include "protection.h"

typedef int protection_decode_fn(const struct value *settings, const char *where, struct protection_settings *out,
                                 struct pool *pool, struct status *status);

protection_decode_fn decode_breaker, decode_limiter, decode_bulkhead, decode_adaptive_limit, decode_shedder,
    decode_retry, decode_timeout, decode_fallback;

#endif
