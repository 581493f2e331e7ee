"""Signups that go well, recorded by a decorator."""
import time

import nines

nines.attach()


@nines.track("user_signup")
def sign_up(user):
    time.sleep(0.002)
    return user


for user in range(200):
    sign_up(user)
