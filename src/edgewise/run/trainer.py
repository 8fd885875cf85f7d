"""One training: everything it needs, and its files."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgewise import machine
from edgewise.console import progress, say
from edgewise.data.batches import Batch, batches
from edgewise.data.case import Dataset
from edgewise.data.patches import Patches
from edgewise.data.prepare import PreparedSet
from edgewise.data.splits import Split
from edgewise.errors import DivergedError, RunError
from edgewise.experiment import Experiment, identity
from edgewise.inference.apply import applied
from edgewise.inference.sliding import Inference, Window
from edgewise.methods.groundwork import Laid
from edgewise.networks.resnet import unread
from edgewise.plan import Plan
from edgewise.run import environment, groundwork
from edgewise.run.folder import Journal, RunFolder, Unwritten
from edgewise.run.groundwork import Masks
from edgewise.training import checkpoint
from edgewise.training.group import ALONE, Group, current
from edgewise.training.learner import Setting
from edgewise.training.loop import Limits, Progress, fit
from edgewise.training.records import Diverged, Ended, Record, Snapshot, Trained, Validated
from edgewise.types import Mask


def setting(experiment: Experiment, plan: Plan, classes: int, device: torch.device, group: Group = ALONE) -> Setting:
    """What a method needs to build its learner."""
    training = experiment.training
    return Setting(
        network=experiment.network,
        topology=plan.topology(classes),
        loss=experiment.loss,
        spacing=plan.patch_spacing,
        optimiser=training.optimiser,
        schedule=training.schedule,
        steps=training.steps,
        seed=experiment.seed,
        epoch=training.epoch,
        clip=training.clip,
        average=training.average,
        arithmetic=plan.arithmetic,
        device=device,
        group=group,
    )


class Trainer:
    """One training: everything it needs, and its files, which the first process writes."""

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        dataset: Dataset,
        split: Split,
        prepared: PreparedSet,
        folder: RunFolder,
    ) -> None:
        self.experiment, self.plan, self.dataset = experiment, plan, dataset
        self.split, self.prepared, self.folder = split, prepared, folder
        self.device, self.group = environment.device(), current()
        self.progress = Progress()

    def train(self, *, resume: bool) -> None:
        """Train to the end, writing journal and checkpoints."""
        # What an encoder once started from may be gone, and is no longer needed.
        begun = self.group.told(resume and self.folder.last.exists())
        experiment = unread(self.experiment) if begun else self.experiment
        self.setting = setting(experiment, self.plan, self._classes, self.device, self.group)
        checkpoint.seed_everything(self.experiment.seed)
        laid = self.group.led(lambda: self._laid(experiment))
        checkpoint.seed_everything(self.experiment.seed)  # whatever the groundwork has drawn
        self.learner = experiment.method.learner(self.setting, laid)
        if not self.group.leads:
            checkpoint.seed_everything(self.experiment.seed, self.group.rank)
        journal = Journal(self.folder.journal) if self.group.leads else Unwritten()
        if resume:
            if begun:
                self._restore()
            journal.back_to(self.progress.step)
            journal.note(f"resumed at step {self.progress.step}")
        with progress("training") as report, self.plan.arithmetic.applied():
            try:
                for record in self._records():
                    journal.record(record)
                    self._keep(record)
                    report(record.step, self.setting.steps, _remark(record, self.progress))
            except DivergedError as error:
                text = f"{error} {self._left()}"
                journal.note(text)
                raise DivergedError(text) from error

    def _laid(self, experiment: Experiment) -> Laid:
        """What goes before: little work, on masks alone, that the first process does by itself."""
        works = experiment.method.groundwork(replace(self.setting, group=ALONE))
        return groundwork.lay(works, self._masks(), self.folder, identity(self.experiment))

    def _records(self) -> Iterator[Record]:
        def validate(network: nn.Module) -> Mapping[str, float]:
            return self.group.led(lambda: self.validate(network))

        return fit(self.learner, self._batches(), validate, self._limits, self.progress, self.group)

    @property
    def _classes(self) -> int:
        return len(self.dataset.classes)

    def _left(self) -> str:
        """What a training that diverged leaves behind, and what to do."""
        best, left = self.progress.best_step, "No validation came before, so that there is no network to predict with."
        if best:
            left = f"`edgewise predict {self.folder.path}` uses the checkpoint of step {best}, which is good."
        return f"{left} Start a new run with a lower training.optimiser.rate{self.plan.arithmetic.safer}."

    def _batches(self) -> Iterator[Batch]:
        return batches(
            self.patches,
            size=self.plan.batch,
            start=self.progress.step,
            stop=self.setting.steps,
            workers=self.workers,
            places=self.group.share(self.plan.batch, "plan.batch"),
        )

    @property
    def _limits(self) -> Limits:
        training = self.experiment.training
        return Limits(
            steps=training.steps,
            minutes=training.minutes,
            validate_every=training.validate_every,
            patience=training.patience,
            report_every=training.report_every,
            snapshots=training.snapshots,
        )

    @property
    def patches(self) -> Patches:
        """The training patches."""
        return Patches(
            cases=self.prepared,
            ids=self.split.train,
            patch=self.plan.patch,
            spacing=self.plan.patch_spacing,
            foreground=self.experiment.training.foreground,
            augmentation=self.experiment.augmentation,
            seed=self.experiment.seed,
            sampling=self.experiment.training.sampling,
        )

    @property
    def workers(self) -> int:
        """Processes that make patches."""
        asked = self.experiment.plan.workers
        return min(max(machine.own_cores() // 2, 1), 8) if asked == "auto" else asked

    def _masks(self) -> Masks:
        return Masks(
            patches=self.patches,
            cases=self.prepared,
            validation=self.split.validation,
            classes=self._classes,
            workers=self.workers,
            arithmetic=self.plan.arithmetic,
            device=self.device,
        )

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Mean Dice by class over the validation cases, on the prepared grid, without mirroring."""
        classes = self._classes
        window = Window(patch=self.plan.patch, classes=classes, arithmetic=self.plan.arithmetic, device=self.device)
        quick = Inference(overlap=0.5, mirror=False, windows=self.experiment.inference.windows)
        table = []
        for name in self.split.validation:
            case = self.prepared.load(name)
            p = applied(network, case.image, window, quick).probabilities
            if not np.isfinite(p).all():  # finite weights may be large enough for that
                raise DivergedError(f"the prediction of the validation case {name} became nan")
            predicted = p.argmax(0).astype(np.uint8)
            table.append([_dice(predicted == c, case.labels == c) for c in range(1, classes)])
        means = np.mean(table, axis=0)
        return {str(c): float(d) for c, d in enumerate(means, start=1)}

    def _keep(self, record: Record) -> None:
        """Checkpoints at each validation: the best to predict with, the last to go on from; and the snapshots."""
        if isinstance(record, Snapshot):
            self._keep_network(self.folder.snapshot(record.step), record.step)
        elif isinstance(record, Validated):
            if record.best:
                self._keep_network(self.folder.best, record.step)
            self._save()
        elif isinstance(record, Ended):
            self._save()

    def _keep_network(self, path: Path, step: int) -> None:
        if self.group.leads:
            checkpoint.save(path, {"network": self.learner.predictor.state_dict(), "step": step})

    def _save(self) -> None:
        first, *others = self.group.gathered(checkpoint.random_state())
        if self.group.leads:
            content = {
                "learner": self.learner.state(),
                "progress": asdict(self.progress),
                "random": first,
                "random_of_others": others,
                "experiment": identity(self.experiment),
            }
            checkpoint.save(self.folder.last, content)

    def _restore(self) -> None:
        content = checkpoint.load(self.folder.last, self.device)
        if content["experiment"] != identity(self.experiment):
            raise RunError(
                f"{self.folder.last} was trained with another experiment than {self.folder.experiment} holds. "
                "Restore the file, or start a new run."
            )
        self.learner.restore(content["learner"])
        self.progress = Progress(**content["progress"])
        states = [content["random"], *content.get("random_of_others", ())]
        if len(states) != self.group.size:
            say(
                f"warning: {self.folder.path} was trained by {len(states)} processes and goes on with "
                f"{self.group.size}: what they draw differs from what the same number would have drawn"
            )
        if self.group.rank < len(states):
            checkpoint.restore_random_state(states[self.group.rank])


def _dice(a: Mask, b: Mask) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def _remark(record: Record, progress: Progress) -> str:
    match record:
        case Trained():
            best = f", best Dice {progress.best:.3f}" if progress.best_step else ""
            return f"loss {record.loss:.3f}{best}"
        case Validated():
            return f"Dice {record.mean_dice:.3f}{' (best so far)' if record.best else ''}"
        case Diverged():
            return record.reason
        case Snapshot():
            return f"snapshot of step {record.step}"
        case Ended():
            return f"{record.reason}; best Dice {record.best_mean_dice:.3f} at step {record.best_step}"
