"""The web shop of app.py with nines, in three lines; `./run` starts it with an engine beside it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bindings/python"))  # as if installed

import app
import nines

nines.attach()
app.Shop.checkout = staticmethod(nines.track("checkout")(app.checkout))
app.start(app.Shop)
