"""Every loss with its maps prepared compiles into one graph, as `torch.compile` users need it.

In a process of its own: the run-time checks of shapes in this one would break any graph.
"""

import subprocess
import sys

from edgewise.losses import LOSSES

PROGRAM = """
import sys, torch
from edgewise.losses import LOSSES
from edgewise.truth import Truth

generator = torch.Generator().manual_seed(0)
for space in ((8, 8), (5, 6, 7)):
    for kind, cls in LOSSES.items():
        loss = cls()
        logits = torch.randn(2, 3, *space, generator=generator, requires_grad=True)
        labels = torch.randint(3, (2, *space), generator=generator)
        truth = Truth.of(labels, classes=3, needs=loss.needs)
        torch._dynamo.reset()
        try:
            value = torch.compile(loss, backend="eager", fullgraph=True)(logits, truth)
            torch.testing.assert_close(value, loss(logits, truth))
            value.backward()
        except Exception as error:
            print(f"{kind} in {len(space)}D: {type(error).__name__}: {str(error)[:300]}")
        else:
            print(kind)
"""


def test_every_prepared_loss_compiles_without_a_graph_break():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [*LOSSES, *LOSSES]
