"""What all tests share: no property test fails because the machine was slow, and no test takes another's core.

PyTorch computes on all cores where nobody says how many, and each of its threads waits for the others by spinning:
where the tests are spread over processes, half as much CPU again went into that.
"""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything loads PyTorch, here and in processes that tests start
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
