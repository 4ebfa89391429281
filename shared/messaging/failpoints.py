"""Named crash points, switched on by `C360_FAILPOINT=name` in tests of what survives a kill."""

import os
import signal

_ACTIVE = os.environ.get("C360_FAILPOINT")


def reached(name: str) -> None:
    """Kill this process if the test has asked for it here, as a power cut would."""
    if name == _ACTIVE:
        os.kill(os.getpid(), signal.SIGKILL)
