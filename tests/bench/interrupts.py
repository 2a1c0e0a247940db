# Ctrl-C and kills in the middle of real runs: what was measured stays, nothing half-done looks whole.
"""Signals during `run`, `calibrate` and `run --train`, and resuming afterwards."""

import json
import os
import pathlib
import select
import signal
import subprocess
import time

from program import PROGRAM, InFolder, files_of, main, needs_torch, run
from scenarios import mlp, null

PATIENCE = 120  # seconds; only a hang reaches it


def slow(*names, forward="6ms", repeats=2):
    """A scenario whose calibration takes a second or so, after which the progress line shows."""
    return null(*(f'name = "{name}"\nmicrobatches = 8' for name in names), forward=forward, repeats=repeats)


class Started:
    """The program at work, its standard error on a terminal, where it shows what it is doing."""

    def __init__(self, case, *arguments):
        self.terminal, other_end = os.openpty()
        self.process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=other_end, stdin=subprocess.DEVNULL)
        os.close(other_end)
        self.said = {self.terminal: "", self.process.stdout.fileno(): ""}
        self.end = time.monotonic() + PATIENCE
        case.addCleanup(self.close)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.close(self.terminal)

    def read_until(self, done):
        """Reads both outputs until `done()` or their end."""
        open_files = set(self.said)
        while open_files and not done():
            ready, _, _ = select.select(list(open_files), [], [], max(0, self.end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"after {PATIENCE} s: {self.said}")
            for file in ready:
                try:
                    text = os.read(file, 65536)
                except OSError:  # the terminal's other end is closed
                    text = b""
                if text:
                    self.said[file] += text.decode(errors="replace")
                else:
                    open_files.discard(file)

    def wait_for(self, text):
        """Returns once the program has said `text`."""
        found = lambda: any(text in said for said in self.said.values())
        self.read_until(found)
        assert found(), f"ended without '{text}': {self.said}"
        return self

    def wait_for_handler(self):
        """Returns once the program handles Ctrl-C."""
        def caught():
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGINT - 1) & 1
        while not caught():
            assert time.monotonic() < self.end and self.process.poll() is None, self.said
            time.sleep(0.005)
        return self

    def wait_for_threads(self, count):
        """Returns once the program has that many threads: its ranks are at work, beside the main one."""
        while len(os.listdir(f"/proc/{self.process.pid}/task")) < count:
            assert time.monotonic() < self.end and self.process.poll() is None, self.said
            time.sleep(0.005)
        time.sleep(0.2)  # until the first of them is in its op
        return self

    def send(self, number):
        self.process.send_signal(number)
        return self

    def ended(self):
        """Exit code, standard output, standard error."""
        self.read_until(lambda: False)
        return self.process.wait(PATIENCE), self.said[self.process.stdout.fileno()], self.said[self.terminal]


class Measuring(InFolder):
    def start(self, text, *more):
        return Started(self, "run", self.write("s.toml", text), "--out", self.folder / "out", *more)

    def test_ctrl_c_in_a_later_calibration_keeps_the_rounds_before(self):
        code, output, error = self.start(slow("gpipe", repeats=50), "--json").wait_for("calibrating gpipe 2/").send(signal.SIGINT).ended()
        self.assertEqual(code, 1, error)
        self.assertIn("interrupted after 1 of 50 rounds; what was measured is kept", error)
        answer = json.loads(output)
        self.assertTrue(answer["stopped"])
        self.assertEqual((answer["rounds"], answer["results"][0]["measured"]["spread"]["rounds"]), (1, 1))
        stored = json.loads((self.folder / "out/run.json").read_text())
        self.assertTrue(stored["partial"])
        self.assertTrue(any("interrupted after 1 of 50 rounds" in note for note in stored["notes"]))
        for name in ["report.html", "report.md"]:
            self.assertIn("interrupted after 1 of 50 rounds", (self.folder / "out" / name).read_text())
        self.assertTrue(json.loads((self.folder / "out/report.json").read_text())["partial"])
        self.assertEqual(run("report", self.folder / "out", "--out", self.folder / "again").returncode, 0)

    def test_schedules_that_were_through_are_kept(self):
        code, output, error = self.start(slow("gpipe", "1f1b"), "--json").wait_for("calibrating 1f1b").send(signal.SIGINT).ended()
        self.assertEqual(code, 1, error)
        self.assertIn("interrupted after 0 of 2 rounds", error)
        self.assertEqual([result["schedule"] for result in json.loads(output)["results"]], ["gpipe"])

    def test_ctrl_c_in_the_first_execution_keeps_the_calibration(self):
        code, output, error = self.start(slow("gpipe", forward="60ms")).wait_for("running gpipe").send(signal.SIGINT).ended()
        self.assertEqual((code, output), (1, ""))
        self.assertIn("interrupted before one schedule was measured; the calibrations until then are in", error)
        self.assertEqual(files_of(self.folder / "out"), ["profile.json"])
        self.assertEqual(json.loads((self.folder / "out/profile.json").read_text())["measurements"][0]["schedule"], "gpipe")

    def test_ctrl_c_before_anything_was_measured_leaves_an_earlier_run_as_it_was(self):
        self.assertEqual(run("run", self.write("first.toml", null('name = "gpipe"\nmicrobatches = 2')), "--out", self.folder / "out").returncode, 0)
        before = {name: (self.folder / "out" / name).read_bytes() for name in files_of(self.folder / "out")}
        code, _, error = self.start(slow("gpipe", forward="60ms")).wait_for("running gpipe").send(signal.SIGINT).ended()
        self.assertEqual(code, 1)
        self.assertIn("unfinished.profile.json", error)
        after = {name: (self.folder / "out" / name).read_bytes() for name in files_of(self.folder / "out")}
        self.assertEqual(set(after) - set(before), {"unfinished.profile.json"})
        self.assertEqual({name: after[name] for name in before}, before)

    def test_a_second_ctrl_c_ends_it_at_once(self):
        # One op takes an hour: nobody waits for its end.
        started = self.start(slow("gpipe", forward="3600s")).wait_for_threads(3).send(signal.SIGINT)
        time.sleep(0.2)  # two signals at once would be one
        self.assertIsNone(started.process.poll())
        code, output, _ = started.send(signal.SIGINT).ended()
        self.assertEqual((code, output), (130, ""))
        self.assertEqual(files_of(self.folder / "out"), [])

    def test_ctrl_c_in_calibrate_without_anything_measured_writes_nothing(self):
        file = self.folder / "p.json"
        started = Started(self, "calibrate", self.write("s.toml", slow("gpipe", forward="100ms")), "-o", file)
        code, _, error = started.wait_for_handler().send(signal.SIGINT).ended()
        self.assertEqual(code, 1)
        self.assertIn("interrupted before one schedule was measured: there is nothing to keep", error)
        self.assertFalse(file.exists())


@needs_torch
class Training(InFolder):
    EPOCHS = 150

    def setUp(self):
        super().setUp()
        self.scenario = self.write("s.toml", mlp('name = "ppll"', epochs=self.EPOCHS, width=64, checkpoint_every=1))
        self.out = self.folder / "out"
        self.checkpoint, self.log = self.out / "ppll.checkpoint", self.out / "ppll.training.json"

    def train(self, *more):
        return Started(self, "run", self.scenario, "--train", "--out", self.out, *more)

    def straight(self):
        """Checkpoint and losses of a run that nobody disturbed."""
        out = self.folder / "straight"
        self.assertEqual(run("run", self.scenario, "--train", "--out", out).returncode, 0)
        return (out / "ppll.checkpoint").read_bytes(), json.loads((out / "ppll.training.json").read_text())

    def test_an_interrupted_training_is_marked_and_resumes_bit_identically(self):
        resume = []
        for _ in range(2):
            code, output, error = self.train(*resume).wait_for("epoch ").send(signal.SIGINT).ended()
            self.assertEqual(code, 1)
            self.assertRegex(output, r"ppll: interrupted after \d+ of 600 iterations; the checkpoint is .*ppll\.checkpoint: go on with --resume")
            log = json.loads(self.log.read_text())
            self.assertEqual((log["status"], len(log["losses"])), ("interrupted", log["iterations"]))
            self.assertLess(log["iterations"], 600)
            resume = ["--resume"]
        self.assertEqual(self.train("--resume").ended()[0], 0)
        checkpoint, log = self.straight()
        self.assertEqual(json.loads(self.log.read_text()), log)
        self.assertEqual((log["status"], log["iterations"], len(log["epochs"])), ("complete", 600, self.EPOCHS))
        for epoch in log["epochs"]:
            first, last = epoch["auxiliary_accuracy"]
            self.assertTrue(0 <= first <= 1)
            self.assertIsNone(last)  # the last stage has no auxiliary network
        self.assertEqual(self.checkpoint.read_bytes(), checkpoint)

    def test_schedules_that_had_not_begun_begin_on_resume(self):
        both = self.write("both.toml", mlp('name = "ppll"', 'name = "gpipe"\nmicrobatches = 2', epochs=2, width=16))
        train = ["run", both, "--train", "--out", self.out]
        self.assertEqual(run(*train, "--schedule", "ppll").returncode, 0)
        answer = run(*train, "--resume", "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("gpipe has no checkpoint yet and begins", answer.stderr)
        results = json.loads(answer.stdout)["results"]
        self.assertEqual([(result["schedule"], result["status"], result["iterations"]) for result in results], [("ppll", "complete", 8), ("gpipe", "complete", 8)])
        for result in results:
            self.assertTrue(pathlib.Path(result["checkpoint"]).exists())
            self.assertLessEqual(result["test_accuracy"], 1)

    def test_a_killed_training_leaves_whole_files_and_resumes_bit_identically(self):
        resume = []
        for _ in range(4):
            started = self.train(*resume).wait_for("epoch ").send(signal.SIGKILL)
            self.assertEqual(started.ended()[0], -signal.SIGKILL)
            self.assertEqual(json.loads(self.log.read_text())["status"], "running")
            self.assertEqual([name for name in files_of(self.out) if not name.endswith(".partial")], ["ppll.checkpoint", "ppll.training.json"])
            resume = ["--resume"]
        self.assertEqual(self.train("--resume").ended()[0], 0)
        checkpoint, log = self.straight()
        self.assertEqual(json.loads(self.log.read_text()), log)
        self.assertEqual(self.checkpoint.read_bytes(), checkpoint)


if __name__ == "__main__":
    main()
