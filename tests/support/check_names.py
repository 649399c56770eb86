"""Names of checks that a dashboard can group by."""

import re

STABLE = re.compile(r"[a-z]+(_[a-z]+)*")
