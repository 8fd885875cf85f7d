"""A metric that ends the process that measures it, as the kernel does when memory runs out."""

import os
import signal
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgewise.metrics.base import OVERLAP, Metric


@dataclass(frozen=True, kw_only=True)
class Deadly(Metric):
    kind: Literal["deadly"] = "deadly"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar = OVERLAP
    definition: ClassVar = "none"
    source: ClassVar = "none"

    def of(self, comparison):
        del comparison
        os.kill(os.getpid(), signal.SIGKILL)
