"""The payment service: version v2.3.1 fails every other payment, until somebody takes it back."""
import time

import nines

nines.attach()


@nines.track("payment_processing")
def process_payment(number, version):
    time.sleep(0.002)
    if version == "v2.3.1" and number % 2:
        raise RuntimeError("a bug of v2.3.1")


deadline, number, after = time.monotonic() + 20, 0, 0
while time.monotonic() < deadline and after < 300:
    with open("version") as file:
        version = file.read().strip()
    after += number > 200 and version == "v2.3.0"
    if number == 200:
        open("warm", "w").close()
        while time.monotonic() < deadline and open("version").read().strip() != "v2.3.1":
            time.sleep(0.01)
    try:
        process_payment(number, version)
    except RuntimeError:
        pass
    number += 1
print(f"{number} payments, the last {after} by v2.3.0 again")
