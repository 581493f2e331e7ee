/* Who owns a number, and what happens to what a dead owner held: engine/base/writer.c (take_free), engine/guard/clients.c
 * (sweep, set_free), engine/core/bulkhead.c (the cell of a number).
 *
 * Clients claim one of NUMBERS numbers, enter and leave (the cell counts), and may be killed before any step; a killed one
 * comes again as another process. The engine looks owners up, one step at a time: gone? forget the cell, then free the
 * number. Each statement outside of an atomic is one access to shared memory, and all orders of them are tried.
 *
 *   never two living owners of one number; a living owner's cell counts what it holds, whatever the engine is doing
 *   in the end, when nobody is left and the engine has looked once more, every number is free and every cell zero
 *
 * PLANTED: frees the number first and forgets the cell after that, as an engine must not.
 */
#define NUMBERS 2
#define CLIENTS 2
#define LIVES 3 /* of each client, killed or not */

byte owner[NUMBERS]; /* identity; 0: free */
byte cell[NUMBERS];
bool alive[CLIENTS * LIVES + 1];
byte running = CLIENTS;

proctype client(byte place)
{
  byte life = 0, me, number, held;
  bool claimed;
  do
  :: life < LIVES ->
     me = place * LIVES + life + 1;
     alive[me] = true;
     number = 0;
     held = 0;
     claimed = false;
     do
     :: number < NUMBERS && !claimed ->
        if
        :: atomic { owner[number] == 0 -> owner[number] = me }; claimed = true /* compare-and-swap */
        :: owner[number] != 0 -> number++
        :: break /* killed, or nothing free */
        fi
     :: claimed ->
        assert(owner[number] == me);
        if
        :: held == 0 -> cell[number]++; held++
        :: held > 0 -> assert(cell[number] == held); cell[number]--; held--
        :: break /* killed, with what it holds */
        fi
     :: number == NUMBERS -> break
     od;
     alive[me] = false;
     life++
  :: else -> break
  od;
  running--
}

inline look(n)
{
  seen = owner[n];
  if
  :: seen != 0 ->
     if
     :: !alive[seen] ->
#ifdef PLANTED
        atomic { if :: owner[n] == seen -> owner[n] = 0 :: else fi };
        cell[n] = 0
#else
        cell[n] = 0;
        atomic { if :: owner[n] == seen -> owner[n] = 0 :: else fi } /* compare-and-swap */
#endif
     :: else
     fi
  :: else
  fi
}

proctype engine()
{
  byte seen;
  do
  :: running > 0 ->
     look(0);
     look(1)
  :: running == 0 -> break
  od;
  look(0);
  look(1);
  assert(owner[0] == 0 && owner[1] == 0 && cell[0] == 0 && cell[1] == 0)
}

init
{
  atomic {
    run client(0);
    run client(1);
    run engine()
  }
}
