"""Records and asks without end, and writes down how often and what took longest: survivor.py ARENA NOTES."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../bindings/python"))
import nines

running = True


def stop(*unused):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
nines.attach(sys.argv[1], keep=0.5)
path, breaker, flag = nines.path("survivor"), nines.breaker("survivor"), nines.flag("steady", otherwise=False)
print("ready", flush=True)
count, longest, flags = 0, 0, [0, 0]
while running:
    begun = time.monotonic_ns()
    path.record(True, 0.001)
    count += 1
    with breaker:
        flags[bool(flag)] += 1
    longest = max(longest, time.monotonic_ns() - begun)
    if count % 100 == 0:
        time.sleep(0.001)
print(f"{count} {longest / 1e6:.3f} {flags[0]} {flags[1]}", flush=True)
