"""What the Python binding promises, asked of a real engine: checks.py ARENA PROGRAM_DIR. Prints a line for each check."""
import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../bindings/python"))
import nines

ARENA, BUILD, DATA = sys.argv[1:4]
INCLUDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../engine")
failures = 0


def check(fine, sentence):
    global failures
    failures += not fine
    print(("ok  " if fine else "FAIL"), "", sentence, flush=True)


def caught(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        return error
    return None


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def boom(*unused):
    raise ValueError("boom")


def layout():
    lines, ours = [], []
    for kind, config in nines._CONFIGS.items():
        ours.append(f"{kind} {ctypes.sizeof(config)}")
        lines.append(f'printf("{kind} %zu\\n", sizeof(nines_{kind}_config));')
        for name, _ in config._fields_:
            field = getattr(config, name)
            ours.append(f"{kind}.{name} {field.offset} {field.size}")
            lines.append(f'printf("{kind}.{name} %zu %zu\\n", offsetof(nines_{kind}_config, {name}), '
                         f"sizeof(((nines_{kind}_config *)0)->{name}));")
    source = os.path.join(DATA, "layout.c")
    with open(source, "w") as out:
        out.write("#include <nines.h>\n#include <stdio.h>\nint main(void)\n{\n" + "\n".join(lines) + "\n}\n")
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-I", INCLUDE, source, "-o", source + ".x"], check=True)
    theirs = subprocess.run([source + ".x"], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    differ = [line for line, other in zip(ours, theirs) if line != other]
    check(not differ and len(ours) == len(theirs), f"{len(ours)} sizes and offsets as in the header {differ}")


def sentences():
    missing = caught(nines.Arena, ARENA + ".none", wait=0)
    check(isinstance(missing, nines.Error) and "is its engine running?" in str(missing), str(missing))
    foreign = caught(nines.Arena, os.path.abspath(__file__))
    check(isinstance(foreign, nines.Error) and "not an arena of nines" in str(foreign), str(foreign)[-60:])
    unknown = caught(nines.breaker, "b", failure_rat=1)
    check(isinstance(unknown, TypeError) and "failure_rate" in str(unknown), "an unknown setting names the known ones")
    wrong = caught(nines.breaker, "b", failure_rate="all")
    check(isinstance(wrong, TypeError) and "'all'" in str(wrong), str(wrong))
    check("0.01 to 100 percent" in str(caught(nines.breaker, "b", failure_rate=300)), "a bad value has nines' sentence")
    check("1 to 184 bytes" in str(caught(nines.path, "x" * 185)), "so has a bad name")
    check("has no default rate" in str(caught(nines.limiter, "none")), "and a limiter without a rate")


async def tasks():
    @nines.track("tracked")
    async def later(seconds, fail=False):
        await asyncio.sleep(seconds)
        if fail:
            boom()
        return seconds

    done = await asyncio.gather(later(0.02), later(0.01), later(0.01, True), return_exceptions=True)
    check(done[:2] == [0.02, 0.01] and isinstance(done[2], ValueError), "async functions are tracked as they are")
    gateway = nines.breaker("async", failures_in_a_row=3, failure_rate=-1, open=60)

    async def call(seconds):
        async with gateway:
            await asyncio.sleep(seconds)

    # Blocks of tasks that interleave: each gives its own permit back.
    await asyncio.gather(call(0.03), call(0.01), call(0.02))
    waiting = asyncio.ensure_future(call(10))
    await asyncio.sleep(0.01)
    for _ in range(5):
        waiting.cancel()
        caught(lambda: None)
        try:
            await waiting
        except asyncio.CancelledError:
            pass
        waiting = asyncio.ensure_future(call(10))
        await asyncio.sleep(0)
    waiting.cancel()
    check(gateway.state == "closed", "cancelled tasks count as never called")


def protections():
    @nines.track("tracked")
    def add(a, b=1):
        """Adds."""
        return a + b

    check(add(1, b=2) == 3 and add.__doc__ == "Adds." and add.__name__ == "add", "a tracked function is itself")
    check(isinstance(caught(nines.track("tracked")(boom)), ValueError), "what it raises comes through")
    gateway = nines.breaker("gateway", failures_in_a_row=3, failure_rate=-1, open=60)
    check(gateway.call(add, 2) == 3, "breaker.call")
    for _ in range(3):
        caught(gateway.call, boom)
    refused = caught(gateway.call, add, 1)
    check(isinstance(refused, nines.Refused) and 50 < refused.wait < 60.1 and gateway.state == "open", str(refused))
    other = nines.Arena(ARENA)
    check(other.breaker("gateway").state == "open", "open in another attachment too")
    other.close()
    tenants = nines.breaker("tenants", keys=8, failures_in_a_row=2, open=60)
    for _ in range(2):
        try:
            with tenants.key("münchen"):
                boom()
        except ValueError:
            pass

    def enter(key):
        with tenants.key(key):
            return True

    check(isinstance(caught(enter, "münchen"), nines.Refused) and enter("kiel"), "a key refuses alone")
    limiter = nines.limiter("search", rate=1, burst=3)
    waits = [limiter.ask() for _ in range(3)]
    over = caught(limiter.ask)
    check(waits == [0, 0, 0] and 0 < over.wait <= 1 and caught(limiter.ask, 4).wait is None, "limiter: a burst, then no")
    reports = nines.bulkhead("reports", concurrent_max=2)
    with reports, reports:
        full = caught(reports.call, add, 1)
        inside = reports.inside
    check(isinstance(full, nines.Refused) and inside == 2 and reports.inside == 0, "bulkhead: two, nested, the third refused")
    pool = nines.adaptive_limit("db", initial=5, min=5)
    check(pool.call(add, 1) == 2 and pool.limit == 5, "adaptive limit")
    door = nines.shedder("door")
    door.load(0.8)
    sheddable = caught(lambda: door.at(nines.SHEDDABLE).__enter__())
    check(isinstance(sheddable, nines.Refused) and door.call(add, 1) == 2, "shedder: the least important first")
    door.load(0)
    tries = []

    def third():
        tries.append(1)
        if len(tries) < 3:
            boom()
        return "at last"

    check(nines.retry("r", wait=0.001).call(third) == "at last" and len(tries) == 3, "retry")
    check(isinstance(caught(nines.retry("r").call, gateway.call, add, 1), nines.Refused), "retry: a refusal is an answer")
    config = nines._settings("retry", {"budget": 20, "budget_seconds": 5})
    check(config.budget == 20 and config.budget_ns == 5e9, "retry: a budget in percent, and its window")
    check(0.4 < nines.timeout("t", limit=0.5).left() <= 0.5, "timeout")
    check(nines.fault("nothing").strike() is None, "fault point")
    counter, histogram = nines.counter("n"), nines.histogram("h")
    counter.add(3)
    for _ in range(100):
        histogram.record(0.01)
    check(counter.total == 3 and until(lambda: 0.009 < (histogram.quantile(0.5) or 0) < 0.011), "counter, histogram")


def flags():
    flag, other = nines.flag("new_ui"), nines.flag("nobody", otherwise=True)
    check(bool(flag) and bool(other), "flags: declared on, and unknown with a default")
    nines_program = os.path.join(BUILD, "nines")
    switched = subprocess.run([nines_program, "flag", "off", "new_ui", "--reason", "test"], cwd=DATA, capture_output=True,
                              text=True)
    from_ns = time.monotonic_ns()
    check(switched.returncode == 0 and until(lambda: not flag, 1.0), f"`nines flag off`: {switched.stdout.strip()} "
          f"{switched.stderr.strip()} seen {(time.monotonic_ns() - from_ns) / 1e6:.1f} ms after the command's end")


def processes():
    def work(path):
        for i in range(20000):
            path.record(i % 4 != 0, 0.001)

    path = nines.path("forked")
    workers = []
    for _ in range(4):
        worker = os.fork()
        if worker == 0:
            threads = [threading.Thread(target=work, args=(path,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os._exit(0)
        workers.append(worker)
    check(all(os.waitpid(worker, 0)[1] == 0 for worker in workers), "four forked workers of two threads each")


def costs():
    @nines.track("costs")
    def nothing():
        pass

    breaker, n = nines.breaker("costs"), 20000
    begun = time.perf_counter_ns()
    for _ in range(n):
        nothing()
    track_ns = (time.perf_counter_ns() - begun) / n
    begun = time.perf_counter_ns()
    for _ in range(n):
        with breaker:
            pass
    print(f"ok    a tracked call costs {track_ns / 1000:.2f} us, a block under a breaker "
          f"{(time.perf_counter_ns() - begun) / n / 1000:.2f} us")


nines.attach(ARENA)
layout()
sentences()
protections()
asyncio.run(tasks())
flags()
processes()
costs()
check(nines._arena().engine == "there", "the engine is there")
sys.exit(1 if failures else 0)
