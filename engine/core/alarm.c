// First what is unknown becomes a truth, or stands still; then the flap history; then one of three states.

#include "alarm.h"

double alarm_flap_share(const struct alarm *alarm)
{
  if (alarm->known < ALARM_HISTORY) return 0;
  double changes = 0;
  for (int i = 0; i < ALARM_HISTORY - 1; i++) // i 0: the newest change
    if (((alarm->history >> i) ^ (alarm->history >> (i + 1))) & 1) changes += 1.2 - 0.4 * i / (ALARM_HISTORY - 2);
  return changes / (ALARM_HISTORY - 1);
}

static void remember(struct alarm *alarm, const struct alarm_rule *rule, enum truth fire)
{
  if (fire == TRUTH_UNKNOWN) return;
  alarm->last = fire;
  alarm->history = (alarm->history << 1 | (fire == TRUTH_TRUE)) & ((1u << ALARM_HISTORY) - 1);
  if (alarm->known < ALARM_HISTORY) alarm->known++;
  double share = alarm_flap_share(alarm);
  if (rule->flap_high <= 0)
    alarm->flapping = 0;
  else if (share > rule->flap_high)
    alarm->flapping = 1;
  else if (share < rule->flap_low)
    alarm->flapping = 0;
}

static enum truth settle(const struct alarm *alarm, int32_t no_data, enum truth fire)
{
  if (fire != TRUTH_UNKNOWN) return fire;
  switch (no_data) {
  case ALARM_NO_DATA_ALERT:
    return TRUTH_TRUE;
  case ALARM_NO_DATA_OK:
    return TRUTH_FALSE;
  case ALARM_NO_DATA_KEEP:
    return alarm->known ? (enum truth)alarm->last : TRUTH_UNKNOWN;
  default:
    return TRUTH_UNKNOWN;
  }
}

static enum alarm_change enter(struct alarm *alarm, enum alarm_state state, int64_t now_ns, enum alarm_change change)
{
  alarm->state = state;
  alarm->since_ns = now_ns;
  alarm->clear_ns = 0;
  if (state == ALARM_FIRING) alarm->episode++;
  return change;
}

static enum alarm_change while_firing(struct alarm *alarm, const struct alarm_rule *rule, int64_t now_ns,
                                      int64_t passed_ns, enum truth clears)
{
  if (clears == TRUTH_UNKNOWN) return ALARM_SAME;
  if (clears == TRUTH_FALSE || alarm->flapping) {
    alarm->clear_ns = 0;
    return ALARM_SAME;
  }
  bool began = alarm->clear_ns == 0;
  alarm->clear_ns += began ? 1 : passed_ns; // 1: it holds, and no time has passed yet
  if (alarm->clear_ns - 1 < rule->keep_firing_ns) return ALARM_SAME;
  return enter(alarm, ALARM_INACTIVE, now_ns, ALARM_RESOLVED);
}

enum alarm_change alarm_feed(struct alarm *alarm, const struct alarm_rule *rule, int64_t now_ns, enum truth fire,
                             enum truth clear)
{
  int64_t passed_ns = alarm->fed_ns && alarm->fed_ns < now_ns ? now_ns - alarm->fed_ns : 0;
  if (alarm->active_ns > now_ns) alarm->active_ns = now_ns; // the clock began anew
  alarm->fed_ns = now_ns;
  remember(alarm, rule, fire);
  fire = settle(alarm, rule->no_data, fire);
  if (alarm->state == ALARM_FIRING) {
    enum truth clears = rule->has_clear         ? clear
                        : fire == TRUTH_UNKNOWN ? TRUTH_UNKNOWN
                                                : (enum truth)(fire == TRUTH_FALSE);
    if (rule->has_clear && clear == TRUTH_UNKNOWN && rule->no_data == ALARM_NO_DATA_OK) clears = TRUTH_TRUE;
    return while_firing(alarm, rule, now_ns, passed_ns, clears);
  }
  if (fire != TRUTH_TRUE)
    return alarm->state == ALARM_PENDING ? enter(alarm, ALARM_INACTIVE, now_ns, ALARM_DROPPED) : ALARM_SAME;
  bool was_pending = alarm->state == ALARM_PENDING;
  if (!was_pending) alarm->active_ns = now_ns;
  if (now_ns - alarm->active_ns >= rule->for_ns) return enter(alarm, ALARM_FIRING, now_ns, ALARM_FIRED);
  return was_pending ? ALARM_SAME : enter(alarm, ALARM_PENDING, now_ns, ALARM_BECAME_PENDING);
}

void alarm_rebase(struct alarm *alarm, int64_t shift_ns)
{
  alarm->since_ns += shift_ns;
  alarm->active_ns += shift_ns;
  alarm->fed_ns += shift_ns;
}

bool alarm_valid(const struct alarm *alarm)
{
  return alarm->state <= ALARM_FIRING && alarm->known <= ALARM_HISTORY && alarm->last <= TRUTH_TRUE &&
         alarm->clear_ns >= 0 && alarm->history >> ALARM_HISTORY == 0 && alarm->flapping <= 1;
}
