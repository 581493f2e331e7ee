// Effects that the host does: asked for by nines_turn, answered from any thread, a result like any other.
//
// The engine's side of the door only leaves word here; the host hears of it outside of the engine's turns, so that it
// may call what it likes. What it does not answer in time has failed, and what the engine does not want any more is
// answered into the void.
#ifndef NINES_APP_LIVE_HOST_H
#define NINES_APP_LIVE_HOST_H

#include "live.h"

struct live_host *live_host_open(struct live *live);
void live_host_close(struct live_host *host); // NULL is fine
void live_host_deliver(struct live_host *host, uint64_t op, const struct message *message);
void live_host_command(struct live_host *host, uint64_t op, const struct door_command *command);
void live_host_cancel(struct live_host *host, uint64_t op); // its answer is dropped; unknown ones are fine
void live_host_turn(struct live_host *host);                // asks for what is new, takes the answers
void live_host_beat(struct live_host *host);                // takes the answers, gives up what has none in time
int live_host_answer(struct live_host *host, const char *id, int code, const char *sentence); // [any]

#endif
