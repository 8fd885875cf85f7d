"""Run folders: files that are whole or absent, and a journal that survives being cut off."""

import json
import math
from pathlib import Path

import pytest
import torch

from edgewise.console import EVERY, advancing, progress, silent
from edgewise.errors import OutputError, RunError
from edgewise.files import atomic, output_folder, write_json, write_text
from edgewise.machine import cores
from edgewise.run import environment
from edgewise.run.folder import Journal, RunFolder, write_yaml
from edgewise.training import checkpoint
from edgewise.training.records import Ended, Trained, Validated


def trained(step, loss=0.5):
    return Trained(step=step, seconds=float(step), loss=loss, rate=1e-3)


def validated(step):
    return Validated(step=step, seconds=float(step), dice={"1": 0.5, "2": 0.7}, mean_dice=0.6, best=True)


def ended(step, best=0.6):
    return Ended(step=step, seconds=float(step), reason="all steps are done", best_step=step, best_mean_dice=best)


def strictly(text):
    def refuse(name):
        raise ValueError(name)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


class TestJournal:
    def test_it_begins_with_units_and_keeps_records_in_order(self, path):
        journal = Journal(path)
        for record in (trained(50), validated(100), ended(100)):
            journal.record(record)
        journal.note("looked at it")
        journal.failure("case7", "unreadable")
        events = strictly(path.read_text())
        kinds = [event["event"] for event in events]
        assert kinds == ["units", "train", "validation", "end", "note", "failure"]
        assert events[0]["units"]["seconds"] == "s"
        assert set(events[1]) - {"event", "step"} <= set(events[0]["units"])
        assert events[2]["dice"] == {"1": 0.5, "2": 0.7}
        assert events[5] == {"event": "failure", "case": "case7", "text": "unreadable"}

    def test_opening_it_again_adds_no_second_head(self, path):
        Journal(path).record(trained(1))
        Journal(path).record(trained(2))
        assert [event["event"] for event in strictly(path.read_text())] == ["units", "train", "train"]

    def test_going_back_forgets_what_came_later_and_every_end(self, path):
        journal = Journal(path)
        for record in (trained(50), validated(100), trained(150), ended(150)):
            journal.record(record)
        journal.failure("case7", "unreadable")
        journal.back_to(100)
        events = strictly(path.read_text())
        assert [(event["event"], event.get("step")) for event in events] == [
            ("units", None),
            ("train", 50),
            ("validation", 100),
        ]

    @pytest.mark.parametrize("lost", [1, 2, 20, 60])
    def test_a_last_line_cut_off_costs_only_itself(self, path, lost):
        journal = Journal(path)
        for step in (1, 2, 3):
            journal.record(trained(step))
        path.write_text(path.read_text()[:-lost])
        again = Journal(path)
        again.back_to(3)
        again.record(trained(4))
        steps = [event["step"] for event in strictly(path.read_text())[1:]]
        assert steps == ([1, 2, 3, 4] if lost == 1 else [1, 2, 4])

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_values_without_a_number_are_null(self, path, value):
        journal = Journal(path)
        journal.record(trained(1, loss=value))
        journal.record(ended(1, best=value))
        events = strictly(path.read_text())
        assert events[1]["loss"] is None
        assert events[2]["best_mean_dice"] is None

    def test_text_of_any_language_is_kept(self, path):
        Journal(path).note("größer\n→ 2 µm")
        assert strictly(path.read_text(encoding="utf-8"))[1]["text"] == "größer\n→ 2 µm"


class TestFolder:
    def test_a_new_run_creates_its_folder(self, tmp_path):
        folder = RunFolder(path=tmp_path / "deep" / "run")
        folder.open_new()
        assert folder.path.is_dir()
        assert not list(folder.path.iterdir())

    @pytest.mark.parametrize("name", ["experiment.yaml", "journal.jsonl"])
    def test_a_run_is_never_overwritten(self, tmp_path, name):
        (tmp_path / name).write_text("")
        with pytest.raises(OutputError, match=r"already holds a run\. Go on with it \(--resume\), or choose another"):
            RunFolder(path=tmp_path).open_new()

    def test_only_a_run_is_resumed(self, tmp_path):
        folder = RunFolder(path=tmp_path)
        with pytest.raises(RunError, match=r"holds no run to resume\. Leave out --resume"):
            folder.open_again()
        write_yaml(folder.experiment, {"name": "a"})
        folder.open_again()

    def test_mappings_return_from_yaml_and_json(self, tmp_path):
        folder = RunFolder(path=tmp_path)
        value = {"zebra": 1, "apple": [1.5, "größer"], "deep": {"no": None}}
        write_yaml(folder.plan, value)
        write_json(folder.dataset, value)
        assert list(folder.mapping(folder.plan)) == list(value)
        assert folder.mapping(folder.plan) == folder.mapping(folder.dataset) == value

    @pytest.mark.parametrize("text", [None, "{", "[1]", "a: [", "\0"])
    @pytest.mark.parametrize("name", ["plan", "dataset"])
    def test_a_file_that_holds_no_mapping_is_named(self, tmp_path, name, text):
        folder = RunFolder(path=tmp_path)
        file = getattr(folder, name)
        if text is not None:
            file.write_text(text)
        with pytest.raises(RunError, match=rf"(?s){file.name} .*Pass a folder made by `edgewise fit`"):
            folder.mapping(file)


def broken_off(path, error):
    with atomic(path) as temporary:
        assert temporary.name.endswith(path.suffix)
        assert temporary.parent == path.parent
        temporary.write_text("half")
        raise error


class TestFiles:
    def test_a_file_appears_whole_with_its_folder(self, tmp_path):
        write_text(tmp_path / "a" / "b.txt", "größer")
        assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "größer"
        assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]

    @pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
    def test_a_failure_leaves_the_old_file_and_no_temporary(self, tmp_path, error):
        path = tmp_path / "a.nii.gz"
        write_text(path, "old")
        with pytest.raises(type(error)):
            broken_off(path, error)
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]

    def test_a_full_disk_is_reported_with_the_path(self, tmp_path):
        path = tmp_path / "a.txt"
        with pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left"):
            broken_off(path, OSError(28, "No space left on device"))
        assert not list(tmp_path.iterdir())

    def test_a_folder_below_a_file_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot write"):
            write_text(tmp_path / "file" / "a.txt", "x")
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OutputError, match=r"cannot write into .*file.* Choose another folder"):
                output_folder(place)
            with pytest.raises(OutputError):
                RunFolder(path=place).open_new()

    def test_a_folder_in_the_way_of_a_file_is_reported(self, tmp_path):
        (tmp_path / "a.txt").mkdir()
        with pytest.raises(OutputError, match="cannot write"):
            write_text(tmp_path / "a.txt", "x")
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]

    def test_a_place_that_refuses_files_is_reported(self):
        place = Path("/proc/edgewise")
        if not place.parent.is_dir():
            pytest.skip("no /proc, the folder that refuses files even to root")
        with pytest.raises(OutputError, match="cannot write into /proc/edgewise"):
            output_folder(place)


class TestCheckpoints:
    def test_a_missing_one_is_named(self, tmp_path):
        with pytest.raises(RunError, match=r"no checkpoint .*last\.pt"):
            checkpoint.load(RunFolder(path=tmp_path).last, torch.device("cpu"))

    def test_a_truncated_one_is_named(self, tmp_path):
        file = RunFolder(path=tmp_path).last
        checkpoint.save(file, {"weights": torch.zeros(1000)})
        file.write_bytes(file.read_bytes()[:2000])
        with pytest.raises(RunError, match=r"cannot read checkpoint .*last\.pt .*other checkpoint"):
            checkpoint.load(file, torch.device("cpu"))

    def test_pickled_code_is_refused(self, tmp_path):
        file = tmp_path / "last.pt"
        torch.save({"path": Path("x")}, file)
        with pytest.raises(RunError, match="cannot read checkpoint"):
            checkpoint.load(file, torch.device("cpu"))


class TestEnvironment:
    def test_it_is_json_and_names_versions_and_hardware(self):
        described = environment.describe("edgewise fit a.yaml", seed=3)
        assert json.loads(json.dumps(described)) == described
        assert described["packages"]["torch"].startswith(torch.__version__.split("+")[0])
        assert described["command"] == "edgewise fit a.yaml"
        assert described["seed"] == 3
        assert described["cores"] >= 1
        assert described["memory_gb"] > 0

    def test_the_plan_gets_part_of_the_memory(self):
        machine = environment.machine()
        assert machine.cores == cores()
        assert machine.memory_gb >= 0
        assert machine.gpu == torch.cuda.is_available()


class TestConsole:
    def test_a_log_file_gets_plain_lines_now_and_then(self, capsys):
        with progress("preparing") as report:
            for done in range(11):
                report(done, 10, "so far")
            advancing(report)(10, 10)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert out == ""
        assert EVERY > 1
        assert lines[0].startswith("preparing 0/10 after 0 s: so far")
        assert lines[-1].startswith("preparing 10/10")
        assert len(lines) == 3

    def test_silence_prints_nothing(self, capsys):
        silent(1, 2)
        assert capsys.readouterr() == ("", "")
