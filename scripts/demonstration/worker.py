"""A worker of the demo: trains for some steps, each guarded by ``expires``. worker.py NAME STEPS STUCK-AT

The one that gets stuck ignores SIGTERM, as a process stuck in a collective does, so its lease's grace is seen to pass.
"""

import signal
import sys
import time

import leasetimer as timer

STEP = 0.7
AFTER = 1.5

name, steps, stuck_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
timer.configure(timer.LeaseTimerClient(signal=signal.SIGTERM, grace=2.0))
for step in range(1, steps + 1):
    with timer.expires(after=AFTER, scope="forward"):
        time.sleep(STEP / 2)
    with timer.expires(after=AFTER, scope="all_reduce") as lease:
        if step == stuck_at:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        time.sleep(STEP / 4)
        lease.renew()
        time.sleep(STEP / 4)
