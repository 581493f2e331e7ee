/* A probe's slot while a breaker is half-open: engine/core/circuit_probe.c, one word with status and serial that changes by
 * compare-and-swap alone.
 *
 * CALLERS callers ask for the one slot, tell how it went, or are killed with it; a lease may be over at any moment, and is
 * then taken by the next caller, or freed by the fold, under the next serial. A late result must find another word.
 *
 *   a serial's result is counted once, and it is that of whoever holds the lease
 *
 * PLANTED: a lease that is over is taken without a new serial.
 */
#define CALLERS 3
#define SERIALS 4
#define FREE 0
#define LEASED 1
#define ENDED 2
#define WORD(serial, status) ((serial) * 4 + (status))

byte slot;
byte counted[SERIALS + 1]; /* results, by serial */
byte holder[SERIALS + 1];  /* who leased it last */
byte over;                 /* the serial up to which leases are over */
byte running = CALLERS;

proctype caller()
{
  byte word, mine = 0, next;
  word = slot;
  if
  :: word % 4 == FREE || (word % 4 == LEASED && word / 4 <= over) ->
#ifdef PLANTED
     next = word / 4;
#else
     next = word / 4 + 1;
#endif
     if
     :: next <= SERIALS ->
        if
        :: atomic { slot == word -> slot = WORD(next, LEASED); holder[next] = _pid }; mine = next + 1
        :: slot != word
        fi
     :: else
     fi
  :: else
  fi;
  if
  :: mine != 0 ->
     if
     :: true -> skip /* killed */
     :: true ->
        word = slot;
        if
        :: word == WORD(mine - 1, LEASED) ->
           if
           :: atomic { slot == word -> slot = WORD(mine - 1, ENDED); counted[mine - 1]++ };
              assert(counted[mine - 1] == 1 && holder[mine - 1] == _pid)
           :: slot != word
           fi
        :: else /* late */
        fi
     fi
  :: else
  fi;
  running--
}

proctype time()
{
  do
  :: running > 0 && over < SERIALS && slot % 4 == LEASED -> over = slot / 4
  :: running == 0 -> break
  od
}

proctype fold()
{
  byte word;
  do
  :: running > 0 ->
     word = slot;
     if
     :: word % 4 == LEASED && word / 4 <= over -> atomic { if :: slot == word -> slot = word - LEASED + FREE :: else fi }
     :: else
     fi
  :: running == 0 -> break
  od
}

init
{
  atomic {
    run caller();
    run caller();
    run caller();
    run time();
    run fold()
  }
}
