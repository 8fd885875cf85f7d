"""What the parts of a study will take, measured: a few steps of training, one prediction, one evaluation."""

import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from edgewise.data.batches import Batch, batches
from edgewise.data.images import read_case
from edgewise.data.splits import Split
from edgewise.experiment import Experiment
from edgewise.metrics.evaluation import evaluate
from edgewise.run.fit import plan_of, prepared_for, split_of
from edgewise.run.folder import RunFolder
from edgewise.run.trained import Trained
from edgewise.run.trainer import Trainer, setting
from edgewise.study.file import Part
from edgewise.study.settle import Ground
from edgewise.training.learner import Learner

STEPS = 3
"""Training steps that are timed, after one that is not."""
START = 12.0
"""Seconds of a part that are none of the others': importing, reading the checkpoint, drawing curves. As measured."""
CROWDED = 1.3
"""How much longer things take where several parts run at once: they share memory and caches."""
Seconds: TypeAlias = float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one part takes.

    Attributes:
        fixed: seconds, whatever the number of training steps.
        step: seconds of a training step.
        validation: seconds of a validation.
        validations: how many there are.
        steps: training steps.
        disk: bytes of its run folder.
    """

    fixed: Seconds
    step: Seconds
    validation: Seconds
    validations: int
    steps: int
    disk: int

    @property
    def moving(self) -> Seconds:
        """Seconds that grow with the number of steps."""
        return self.steps * self.step

    @property
    def seconds(self) -> Seconds:
        """All of it."""
        return self.fixed + self.moving + self.validations * self.validation


def measured(part: Part, ground: Ground, cache: Path, reading: Seconds) -> Cost:
    """Try a part out on two of its cases, of median size.

    Args:
        part: with a plan that is settled.
        ground: what the study stands on.
        cache: prepared cases; those two are added.
        reading: seconds that it takes to read and check the dataset, as every part does.

    Raises:
        EdgewiseError: it cannot be trained on this dataset.
    """
    split = split_of(part.experiment, ground.dataset)
    one = Split(train=(_median(split.train, ground),), validation=(_median(split.validation, ground),))
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(part.experiment, ground, cache, one, RunFolder(path=Path(folder)))
        return trial.cost(len(split.validation), reading)


class _Trial:
    def __init__(self, experiment: Experiment, ground: Ground, cache: Path, split: Split, folder: RunFolder) -> None:
        chosen = tuple(case for case in ground.dataset.cases if case.id in {*split.train, *split.validation})
        dataset = replace(ground.dataset, cases=chosen)
        self.plan = plan_of(experiment, dataset, ground.inspection)
        prepared = prepared_for(dataset, ground.inspection, self.plan, split, cache)
        self.judge = next(case for case in chosen if case.id in split.validation)
        self.trainer = Trainer(experiment, self.plan, dataset, split, prepared, folder)
        self.experiment, self.folder = experiment, folder

    def cost(self, validating: int, reading: Seconds) -> Cost:
        training = self.experiment.training
        with self.plan.arithmetic.applied():
            learner, before = self._learner()
            step = _paced(learner, self._rows(self.plan.batch))
            validation = _timed(lambda: self.trainer.validate(learner.predictor))
            mask = self.folder.predictions / "mask.nii.gz"
            looking = _timed(lambda: self._trained(learner).predict_file(self.judge, mask))
        return Cost(
            fixed=START + reading + before + validating * (looking + _timed(self._scored)),
            step=step,
            validation=validating * validation,
            validations=math.ceil(training.steps / training.validate_every),
            steps=training.steps,
            disk=_weight(learner) + validating * mask.stat().st_size,
        )

    def _learner(self) -> tuple[Learner, Seconds]:
        """What is trained; and how long that takes which has to be trained before."""
        trainer, seconds, laid = self.trainer, 0.0, {}
        own = setting(self.experiment, self.plan, len(trainer.dataset.classes), trainer.device)
        for work in self.experiment.method.groundwork(own):
            if work.file == "train":
                seconds += work.steps * _paced(work.learner, self._rows(work.batch))
            laid[work.name] = work.learner.predictor.state_dict()
        return self.experiment.method.learner(own, laid), seconds

    def _rows(self, size: int) -> Iterator[Batch]:
        return batches(self.trainer.patches, size=size, start=0, stop=STEPS + 1, workers=self.trainer.workers)

    def _trained(self, learner: Learner) -> Trained:
        return Trained(
            experiment=self.experiment,
            plan=self.plan,
            classes=self.trainer.dataset.classes,
            channels=self.trainer.dataset.channels,
            network=learner.predictor,
            device=self.trainer.device,
        )

    def _scored(self) -> None:
        """Score a mask that is nearly right: what an untrained network predicts is speckles, which take far longer."""
        case = read_case(self.judge)
        assert case.labels is not None
        evaluate(np.roll(case.labels, 1, axis=0), case.labels, case.spacing)


def _paced(learner: Learner, rows: Iterator[Batch]) -> Seconds:
    """Seconds of a training step, but for the first."""
    learner.step(next(rows), 0)
    begun, count = time.monotonic(), 0
    for count, batch in enumerate(rows, 1):
        learner.step(batch, count)
    return (time.monotonic() - begun) / count


def _timed(work: Callable[[], object]) -> Seconds:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _weight(learner: Learner) -> int:
    """Bytes of the two checkpoints of a run."""
    sizes = []
    for content in (learner.state(), learner.predictor.state_dict()):
        file = io.BytesIO()
        torch.save(content, file)
        sizes.append(file.tell())
    return sum(sizes)


def _median(names: Sequence[str], ground: Ground) -> str:
    """The case of median size."""
    sizes = {case.id: math.prod(case.shape) for case in ground.inspection.fingerprint.cases}
    return sorted(names, key=lambda name: (sizes[name], name))[len(names) // 2]
