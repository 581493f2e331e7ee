// Every effect is copied when the door gets it: what it was made of is gone when the host hears of it. An answer names
// the effect by its id, waits in a queue under a lock, and enters as INPUT_RESULT with the operation's number; so a
// replay needs no host.

#include "live_host.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "duration.h"
#include "mem.h"
#include "payload.h"

enum { SENTENCE_BYTES_MAX = 64 << 10 };
#define LETTER_TIMEOUT_NS  (10 * NS_PER_S)
#define COMMAND_TIMEOUT_NS (5 * NS_PER_MIN)

struct errand {
  struct list node; // in `fresh`, then in `told`
  uint64_t op;      // 0: not wanted any more
  bool is_letter;
  int64_t due_ns; // once told
  char *id, *kind, *target, *subject, *details;
  struct nines_effect effect; // of the texts above
};

struct answer {
  struct list node;
  char *id, *sentence;
  int code;
};

struct live_host {
  struct live *live;
  struct map errands; // id -> struct errand
  struct list fresh, told;
  pthread_mutex_t lock;
  struct list answers; // guarded by lock
};

struct live_host *live_host_open(struct live *live)
{
  struct live_host *host = mem_must(sizeof *host);
  host->live = live;
  list_init(&host->fresh);
  list_init(&host->told);
  list_init(&host->answers);
  CHECK(pthread_mutex_init(&host->lock, NULL) == 0);
  return host;
}

static void errand_free(struct errand *errand)
{
  list_remove(&errand->node);
  mem_free(errand->id);
  mem_free(errand->kind);
  mem_free(errand->target);
  mem_free(errand->subject);
  mem_free(errand->details);
  mem_free(errand);
}

static void answer_free(struct answer *answer)
{
  list_remove(&answer->node);
  mem_free(answer->id);
  mem_free(answer->sentence);
  mem_free(answer);
}

void live_host_close(struct live_host *host)
{
  if (!host) return;
  list_each (node, &host->fresh) errand_free(list_entry(node, struct errand, node));
  list_each (node, &host->told) errand_free(list_entry(node, struct errand, node));
  list_each (node, &host->answers) answer_free(list_entry(node, struct answer, node));
  map_fini(&host->errands);
  pthread_mutex_destroy(&host->lock);
  mem_free(host);
}

// --- from the engine

static char *copy_of(const char *text)
{
  return mem_must_copy(text ? text : "");
}

// Takes what `effect` says, and the details.
static void leave_word(struct live_host *host, uint64_t op, struct nines_effect effect, struct buf *details)
{
  struct errand *errand = map_get(&host->errands, view_of(effect.id));
  if (errand) errand_free(errand); // nobody waits for its answer any more
  errand = mem_must(sizeof *errand);
  errand->op = op;
  errand->is_letter = strcmp(effect.kind, "page") == 0 || strcmp(effect.kind, "notify") == 0;
  errand->id = copy_of(effect.id);
  errand->kind = copy_of(effect.kind);
  errand->target = copy_of(effect.target);
  errand->subject = copy_of(effect.subject);
  errand->details = mem_must_copy_n(details->data, details->size);
  effect.size = sizeof effect;
  effect.id = errand->id;
  effect.kind = errand->kind;
  effect.target = errand->target;
  effect.subject = errand->subject;
  effect.details = errand->details;
  errand->effect = effect;
  list_append(&host->fresh, &errand->node);
  CHECK(map_put(&host->errands, view_of(errand->id), errand) == 0);
  loop_wake(host->live->loop); // nines_turn has something to do
}

static void refuse(struct live_host *host, uint64_t op)
{
  live_input(host->live, (struct input){ .kind = INPUT_RESULT,
                                         .op = op,
                                         .code = NINES_EIO,
                                         .body = view_of("out of memory for the message to the host") });
}

void live_host_deliver(struct live_host *host, uint64_t op, const struct message *message)
{
  const struct settings *settings = host->live->settings;
  const struct notifier_settings *notifier = settings_notifier(settings, message->notifier);
  struct nines_effect effect = { .id = message->id,
                                 .kind = message->kind,
                                 .target = message->notifier,
                                 .subject = message->title,
                                 .timeout_ns = notifier ? notifier->timeout_ns : LETTER_TIMEOUT_NS,
                                 .attempt = message->attempt };
  struct buf details = { 0 };
  payload_webhook(message, settings->public_url, &details);
  if (details.failed)
    refuse(host, op);
  else
    leave_word(host, op, effect, &details);
  buf_free(&details);
}

static void add_key(struct buf *out, const char *key, size_t size)
{
  if (out->size > 1) buf_byte(out, ',');
  buf_json_text(out, (struct view){ key, size });
  buf_byte(out, ':');
}

// "NINES_SERVICE=shop" becomes "service":"shop".
static void add_environment(struct buf *out, const char *const *env)
{
  for (const char *const *entry = env; entry && *entry; entry++) {
    const char *equals = strchr(*entry, '=');
    size_t prefix = strlen("NINES_"), size = (size_t)(equals - *entry) - prefix;
    char key[32];
    CHECK(size < sizeof key);
    for (size_t i = 0; i < size; i++) key[i] = (char)tolower((unsigned char)(*entry)[prefix + i]);
    add_key(out, key, size);
    buf_json_text(out, view_of(equals + 1));
  }
}

static void add_words(struct buf *out, const char *const *argv)
{
  add_key(out, "argv", strlen("argv"));
  buf_byte(out, '[');
  for (const char *const *word = argv; *word; word++) {
    if (word != argv) buf_byte(out, ',');
    buf_json_text(out, view_of(*word));
  }
  buf_byte(out, ']');
}

void live_host_command(struct live_host *host, uint64_t op, const struct door_command *command)
{
  struct nines_effect effect = { .id = command->id,
                                 .kind = command->kind,
                                 .target = command->target,
                                 .subject = command->subject,
                                 .timeout_ns = command->timeout_ns ? command->timeout_ns : COMMAND_TIMEOUT_NS,
                                 .attempt = 1,
                                 .resumed = command->resume };
  struct buf details = { 0 };
  buf_byte(&details, '{');
  add_environment(&details, command->env);
  if (command->argv) add_words(&details, command->argv);
  if (command->input.size) {
    add_key(&details, "input", strlen("input"));
    buf_json_text(&details, command->input);
  }
  buf_byte(&details, '}');
  if (details.failed)
    refuse(host, op);
  else
    leave_word(host, op, effect, &details);
  buf_free(&details);
}

void live_host_cancel(struct live_host *host, uint64_t op)
{
  size_t at = 0;
  for (struct map_entry *entry; (entry = map_next(&host->errands, &at));) {
    struct errand *errand = entry->value;
    if (errand->op != op) continue;
    errand->op = 0; // the host may be reading it right now
    return;
  }
}

// --- to the engine

static void finish(struct live_host *host, struct errand *errand, int code, const char *sentence)
{
  struct buf body = { 0 };
  map_remove(&host->errands, view_of(errand->id));
  // Only of a resumed one can the host say that nobody knows.
  if (code == NINES_ENOTFOUND && !errand->effect.resumed) code = NINES_EIO;
  if (code == 0 && !errand->is_letter) {
    buf_text(&body, "{\"end\":\"exited\",\"status\":0,\"describe\":\"was done by the host\",\"output\":");
    buf_json_text(&body, view_of(sentence));
    buf_byte(&body, '}');
  } else {
    buf_text(&body, code && !sentence[0] ? nines_strerror(code) : sentence);
  }
  if (body.failed) code = code ? code : NINES_ENOMEM;
  if (errand->op)
    live_input(host->live, (struct input){ .kind = INPUT_RESULT,
                                           .op = errand->op,
                                           .code = code,
                                           .body = body.failed ? view_of("out of memory for the host's answer")
                                                               : buf_view(&body) });
  buf_free(&body);
  errand_free(errand);
}

int live_host_answer(struct live_host *host, const char *id, int code, const char *sentence)
{
  if (!id || code > 0) return NINES_EINVAL;
  struct answer *answer = mem_must(sizeof *answer);
  answer->code = code;
  answer->id = mem_must_copy(id);
  answer->sentence = mem_must_copy_n(sentence ? sentence : "", sentence ? strnlen(sentence, SENTENCE_BYTES_MAX) : 0);
  pthread_mutex_lock(&host->lock);
  list_append(&host->answers, &answer->node);
  pthread_mutex_unlock(&host->lock);
  loop_wake(host->live->loop);
  return 0;
}

// Those that are there now: what the host's own calls add has woken the loop, and is for the next turn.
static void tell(struct live_host *host)
{
  const struct live_config *config = &host->live->config;
  struct list now;
  list_init(&now);
  while (!list_empty(&host->fresh)) {
    struct list *node = host->fresh.next;
    list_remove(node);
    list_append(&now, node);
  }
  while (!list_empty(&now)) {
    struct errand *errand = list_entry(now.next, struct errand, node);
    list_remove(&errand->node);
    list_append(&host->told, &errand->node);
    if (!errand->op) {
      map_remove(&host->errands, view_of(errand->id));
      errand_free(errand);
      continue;
    }
    errand->due_ns = host->live->clock->now_ns(host->live->clock) + errand->effect.timeout_ns;
    int code = config->on_effect(config->userdata, &errand->effect);
    if (code != 0) live_host_answer(host, errand->id, code > 0 ? NINES_EINVAL : code, NULL);
  }
}

static struct answer *next_answer(struct live_host *host)
{
  struct answer *answer = NULL;
  pthread_mutex_lock(&host->lock);
  if (!list_empty(&host->answers)) {
    answer = list_entry(host->answers.next, struct answer, node);
    list_remove(&answer->node);
  }
  pthread_mutex_unlock(&host->lock);
  return answer;
}

static void take_answers(struct live_host *host)
{
  for (struct answer *answer; (answer = next_answer(host));) {
    struct errand *errand = map_get(&host->errands, view_of(answer->id));
    if (errand) finish(host, errand, answer->code, answer->sentence);
    answer_free(answer);
  }
}

void live_host_turn(struct live_host *host)
{
  tell(host);
  take_answers(host);
}

void live_host_beat(struct live_host *host)
{
  take_answers(host); // what was answered in time is not too late because we read it so
  int64_t now_ns = host->live->clock->now_ns(host->live->clock);
  list_each (node, &host->told) {
    struct errand *errand = list_entry(node, struct errand, node);
    char why[80], timeout[DURATION_TEXT_MAX];
    if (errand->due_ns > now_ns) continue;
    snprintf(why, sizeof why, "the host did not answer within %s", duration_format(errand->effect.timeout_ns, timeout));
    finish(host, errand, NINES_ETIMEOUT, why);
  }
}
