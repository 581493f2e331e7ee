"""Four workers of one service: the first ones pay for what the others then know."""
import os
import sys
import time

import nines

nines.attach()
gateway, payments, inventory = nines.breaker("payment_gateway"), nines.bulkhead("payments"), nines.retry("inventory")
real_time = nines.flag("real_time_inventory", otherwise=True)
calls = 0


def pay():
    global calls
    calls += 1
    raise ConnectionError("the gateway does not answer")


def look_up():
    return "from the database" if real_time else "from the cache"


def work(worker):
    refused = 0
    for _ in range(50):
        try:
            with payments, gateway:
                pay()
        except nines.Refused:
            refused += 1
        except ConnectionError:
            pass
        time.sleep(0.002)
    time.sleep(0.3)
    print(f"worker {worker}: the gateway was called {calls} times, refused {refused}; inventory {inventory.call(look_up)}",
          flush=True)


workers = []
for worker in range(4):
    child = os.fork()
    if child == 0:
        work(worker)
        os._exit(0)
    workers.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in workers))
