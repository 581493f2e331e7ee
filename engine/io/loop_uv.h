// The libuv loop inside a struct loop: private to io/ and proxy/.
//
// Whoever opens handles on it closes them before loop_close; what is left then is closed without a callback, so memory
// that was to be freed by one leaks. uv_now is a cached time: deadlines are counted with clock_now_ns instead.
#ifndef NINES_IO_LOOP_UV_H
#define NINES_IO_LOOP_UV_H

#include <uv.h>

#include "loop.h"

uv_loop_t *loop_uv(struct loop *loop);

#endif
