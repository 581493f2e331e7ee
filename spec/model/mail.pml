/* A client's wishes and the engine's answers through one mailbox: engine/guard/attach.c (post), engine/guard/clients.c
 * (read_mail, answer).
 *
 * The client posts WISHES wishes one after the other and may give up waiting for each at any moment; the engine copies a
 * wish field by field while the client may be writing the next one. Each statement is one access to shared memory.
 *
 *   the engine never grants a wish that nobody made (half of one and half of the next)
 *   an answer that the client takes is the answer to the wish it waits for
 *
 * PLANTED: the state has no serial, as in the first version.
 */
#define WISHES 3
#define NONE 0
#define POSTED 1
#define ANSWERED 2
#ifdef PLANTED
#define STATE(serial, step) (step)
#else
#define STATE(serial, step) ((serial) * 4 + (step))
#endif

byte state;      /* of the mailbox: the serial, and how far the wish is */
byte kind, name; /* the wish: both are its serial */
byte code;       /* the answer: the serial of the wish that it answers */
bool done;

proctype client()
{
  byte serial = 0;
  do
  :: serial < WISHES ->
     serial++;
     state = STATE(serial, NONE);
     kind = serial;
     name = serial;
     state = STATE(serial, POSTED);
     if
     :: state == STATE(serial, ANSWERED) -> assert(code == serial)
     :: true -> state = STATE(serial, NONE) /* gives up */
     fi
  :: else -> break
  od;
  done = true
}

proctype engine()
{
  byte posted, its_kind, its_name;
  do
  :: !done ->
     posted = state;
     if
     :: posted % 4 == POSTED ->
        its_kind = kind;
        its_name = name;
        if
        :: atomic { state == posted -> skip } -> /* compare-and-swap with itself */
           assert(its_kind == its_name);
           code = its_kind;
           atomic { if :: state == posted -> state = posted - POSTED + ANSWERED :: else fi }
        :: state != posted
        fi
     :: else
     fi
  :: done -> break
  od
}

init
{
  atomic {
    run client();
    run engine()
  }
}
