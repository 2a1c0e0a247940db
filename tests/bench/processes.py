# One job of several processes, started by mpirun: the same results as one process, and what happens where one is lost.
"""`run`, `run --train` and `calibrate` over two and four processes."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time
import unittest

from mpirun import MODULE, Job, environment, has_joined, mpirun, needs_mpi
from program import PROGRAM, SOURCE, WITH_TORCH, InFolder, files_of, main, needs_torch, run
from scenarios import mlp, null

STOPS_IN_FINALIZE = PROGRAM.parent / "tests/stops-in-finalize.so"
RANKS = 4
PIPELINE = "microbatches = 4"


def model(*schedules, epochs=2, channel="async", **more):
    """A perceptron over four ranks, deep enough for two stages on each; an epoch is two batches."""
    return mlp(*schedules, ranks=RANKS, depth=7, epochs=epochs, cluster=f'channel = "{channel}"', **more).replace("samples = 64", "samples = 32")


def on_one(folder, scenario, *more):
    """Trains in one process; the folder."""
    out = folder / f"{scenario.stem}-one"
    answer = run("run", scenario, "--train", "--out", out, *more)
    assert answer.returncode == 0, answer.stderr
    return out


@needs_mpi
@needs_torch
class Training(InFolder):
    """Checkpoints and logs of several processes are those of one, byte for byte."""

    def same_over(self, counts, text, *more):
        scenario = self.write("s.toml", text)
        one = on_one(self.folder, scenario, *more)
        self.assertTrue([name for name in files_of(one) if name.endswith(".checkpoint")])
        for count in counts:
            out = self.folder / f"over-{count}"
            code, output, error = mpirun(self, count, "run", scenario, "--train", "--out", out, *more)
            self.assertEqual((code, error), (0, ""), output)
            self.same(one, out)
        return one

    def same(self, one, other):
        self.assertEqual(files_of(other), files_of(one))
        for name in files_of(one):
            self.assertEqual((other / name).read_bytes(), (one / name).read_bytes(), f"{other.name}/{name}")

    def test_every_kind_of_schedule_over_two_processes(self):
        one = self.same_over([2], model('name = "ppll"\nqueue = 2', 'name = "sequential-local"\nvariant = "overlapped"', 'name = "interlocking"', f'name = "pipedream"\n{PIPELINE}',
                                        f'name = "zbv"\n{PIPELINE}', f'name = "chimera"\n{PIPELINE}', f'name = "interleaved-1f1b"\n{PIPELINE}').replace("width = 16", "width = 16\ndropout = 0.2"))
        log = json.loads((one / "ppll-queue-2.training.json").read_text())
        self.assertEqual(([epoch["auxiliary_accuracy"][-1] for epoch in log["epochs"]], log["status"]), ([None, None], "complete"))
        self.assertTrue(all(0 <= accuracy <= 1 for epoch in log["epochs"] for accuracy in epoch["auxiliary_accuracy"][:-1]))

    def test_one_rank_per_process(self):
        self.same_over([4], model('name = "ppll"', f'name = "1f1b"\n{PIPELINE}', f'name = "chimera"\n{PIPELINE}').replace("epochs = 2", "epochs = 2\nclip_norm = 0.1"))

    def test_every_kind_of_channel(self):
        pipelines = [f'name = "gpipe"\n{PIPELINE}', f'name = "1f1b"\n{PIPELINE}']
        for channel in ["rank", "edge,capacity=1,send=hold", "data,eager=1KiB"]:
            with self.subTest(channel=channel):
                self.folder = self.folder / channel.split(",")[0]
                self.same_over([2], model(*pipelines, epochs=1, channel=channel))
                self.folder = self.folder.parent

    def test_batch_norm_dropped_values_and_clipped_gradients(self):
        text = model('name = "ppll"', 'name = "chimera"\nmicrobatches = 4', epochs=1).replace("epochs = 1", "epochs = 1\nclip_norm = 0.5")
        self.same_over([2], text.replace('"mlp"', '"resnet20"'))

    def test_an_interrupted_training_goes_on_with_another_number_of_processes(self):
        scenario = self.write("s.toml", model('name = "ppll"', epochs=150, checkpoint_every=1))
        out = self.folder / "out"
        train = ["run", scenario, "--train", "--resume", "--out", out]
        for count in [2, 4]:
            # As srun passes it on; one of them is enough.
            job = Job(count, *train, case=self).wait_for("epoch ").send(signal.SIGTERM, count - 1)
            self.interrupted(job, out / "ppll.training.json", 300)
        self.assertEqual(run(*train).returncode, 0)
        self.same(on_one(self.folder, scenario), out)

    def interrupted(self, job, file, iterations):
        code, output, error = job.ended()
        self.assertNotEqual(code, 0)
        self.assertRegex(output, rf"ppll: interrupted after \d+ of {iterations} iterations; the checkpoint is .*: go on with --resume", error)
        log = json.loads(file.read_text())
        self.assertEqual((log["status"], len(log["losses"])), ("interrupted", log["iterations"]))
        self.assertLess(log["iterations"], iterations)

    def test_a_log_that_cannot_be_written_ends_all_before_the_next_schedule(self):
        scenario = self.write("s.toml", model('name = "ppll"', f'name = "1f1b"\n{PIPELINE}', epochs=1))
        (self.folder / "out/ppll.training.json").mkdir(parents=True)
        job = Job(2, "run", scenario, "--train", "--resume", "--out", self.folder / "out", "--json", case=self)
        code, output, error = job.ended(60)
        self.assertEqual((code, [result["schedule"] for result in json.loads(output)["results"]]), (1, ["ppll"]), error)
        self.assertRegex(error, r"^bubblescope: ppll has no checkpoint yet and begins\nbubblescope: ppll: [^\n]*ppll\.training\.json: cannot be written: Is a directory; the training goes on\nbubblescope: ppll: [^\n]*cannot be written: Is a directory\n$")
        self.assertEqual(files_of(self.folder / "out"), ["ppll.checkpoint"])

    def test_a_failing_rank_ends_all_with_one_message(self):
        scenario = self.write("s.toml", model(f'name = "1f1b"\n{PIPELINE}', rate=1e30))
        code, _, error = mpirun(self, 2, "run", scenario, "--train", "--out", self.folder / "out")
        self.assertEqual(code, 1)
        self.assertRegex(error, r"^bubblescope: 1f1b: rank 3, op \d+ \(3F\d\), iteration \d+: .*loss of stage 3 in iteration \d+ is -?(nan|inf)[^\n]*\n(bubblescope: the losses of \d+ iterations are in .*\n)?$")
        self.assertEqual(files_of(self.folder / "out"), ["1f1b.training.json"])
        self.assertEqual(json.loads((self.folder / "out/1f1b.training.json").read_text())["status"], "failed")


class Measured(InFolder):
    """What a run of several processes leaves behind."""

    def whole_timeline(self, file, iterations):
        """Every op of every rank once per iteration, none before its cause, by one clock."""
        timeline = json.loads(file.read_text())
        tracks = timeline["tracks"]
        self.assertEqual(sorted(track["rank"] for track in tracks if track["stream"] == "compute"), list(range(RANKS)))
        found = {}
        for track, begin, end, op, *_ in timeline["spans"]:
            if tracks[track]["stream"] != "compute":
                continue
            self.assertEqual(int(op[0]), tracks[track]["rank"])
            self.assertLessEqual(begin, end)
            self.assertTrue(0 <= begin and end < 60e9, (op, begin, end))
            found.setdefault(op, []).append((begin, end))
        self.assertEqual({op: len(spans) for op, spans in found.items()}, {op: iterations for op in found})
        return found

    def check_folder(self, label, iterations, microbatches, error):
        stored = json.loads((self.folder / "out/run.json").read_text())
        self.assertFalse(stored["partial"])
        self.assertIn("2 processes over MPI, 2 ranks each.", stored["notes"])
        clocks = [note for note in stored["notes"] if note.startswith("Clocks were compared")]
        self.assertEqual(len(clocks), 1, stored["notes"])
        self.assertRegex(clocks[0], r"process 1's, .* (ahead of|behind) process 0's, drifted by at most [\d.]+ us/s and is known within [\d.]+ (ns|us|ms)")
        self.assertIn(clocks[0], (self.folder / "out/report.md").read_text().replace("\\", ""))
        self.assertEqual(json.loads((self.folder / "out/report.json").read_text())["notes"], stored["notes"])
        names = {"profile.json", "run.json", "report.json", "report.md", "report.html", f"timelines/{label}.predicted.json", f"timelines/{label}.measured.json"}
        self.assertLessEqual(names, set(files_of(self.folder / "out")))
        self.assertEqual(error, "")
        found = self.whole_timeline(self.folder / f"out/timelines/{label}.measured.json", iterations)
        forwards = {f"{rank}F{m}" for rank in range(RANKS) for m in range(microbatches)}
        self.assertEqual({op for op in found if "F" in op}, forwards)
        for rank in range(RANKS - 1):  # a message cannot come before it was made, but for what the clocks are known within
            for m in range(microbatches):
                for (_, made), (used, _) in zip(sorted(found[f"{rank}F{m}"]), sorted(found[f"{rank + 1}F{m}"])):
                    self.assertLess(made, used + 100_000)
        return stored

    @needs_mpi
    def test_run_measures_all_ranks_on_one_time_axis(self):
        scenario = self.write("s.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS))
        code, output, error = mpirun(self, 2, "run", scenario, "--out", self.folder / "out", "--json")
        self.assertEqual(code, 0, error)
        answer = json.loads(output)
        self.assertEqual([(result["schedule"], result["ranks"]) for result in answer["results"]], [("gpipe", RANKS)])
        self.assertFalse(answer["stopped"])
        # 4 microbatches through 4 ranks, forwards and backwards of 1 ms: (4 + 3) * 2 ms, and hand-overs.
        self.assertGreaterEqual(answer["results"][0]["measured"]["iteration_ns"], 14e6)
        self.check_folder("gpipe", 2, 4, error)
        self.assertEqual(run("report", self.folder / "out", "--out", self.folder / "again").returncode, 0)

    @needs_mpi
    @needs_torch
    def test_run_computes_over_processes(self):
        scenario = self.write("s.toml", mlp(f'name = "1f1b"\n{PIPELINE}', ranks=RANKS).replace("repeats = 2", "repeats = 1"))
        code, output, error = mpirun(self, 2, "run", scenario, "--out", self.folder / "out")
        self.assertEqual(code, 0, error)
        self.assertIn("Idle time of 1f1b", output)
        self.check_folder("1f1b", 2, 4, error)

    @needs_mpi
    @needs_torch
    def test_a_schedule_that_fails_is_named_once(self):
        scenario = self.write("s.toml", model(f'name = "1f1b"\n{PIPELINE}', rate=1e30))
        code, output, error = mpirun(self, 2, "run", scenario, "--out", self.folder / "out")
        self.assertEqual((code, output), (1, ""))
        # While it calibrates or after: what comes out of a perceptron that has diverged depends on the round.
        self.assertRegex(error, r"^bubblescope: 1f1b: [^\n]*3F\d[^\n]*loss of stage 3 [^\n]*\n$")

    @needs_mpi
    def test_calibrate_measures_the_channel_and_predict_uses_it(self):
        text = mlp('name = "1f1b"\nmicrobatches = 1', ranks=RANKS).replace("repeats = 2", "repeats = 1") + ("" if WITH_TORCH else '[backend]\nname = "null"\n')
        scenario, profile = self.write("s.toml", text), self.folder / "p.json"
        code, output, error = mpirun(self, 2, "calibrate", scenario, "-o", profile)
        self.assertEqual((code, error), (0, ""), output)
        self.assertIn("Between 2 processes over MPI", output)
        link = json.loads(profile.read_text())["link"]
        self.assertEqual((link["channel"], link["processes"]), ("MPI", 2))
        self.assertGreater(max(link["latency"], link["bandwidth"]), 0)  # beside noise a line through two sizes may leave either at 0
        self.assertGreater(link["inside_latency"], 0)
        self.assertTrue(link["transfers"])
        self.assertEqual([transfer["bytes"] for transfer in link["both_ways"]], [transfer["bytes"] for transfer in link["transfers"]])
        self.assertTrue(all(transfer["time"]["median"] > 0 and transfer["time"]["count"] > 0 for transfer in link["transfers"] + link["both_ways"]))
        answer = run("predict", scenario, "--set", 'costs.source="profile"', "--set", f'costs.profile="{profile}"', "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        (result,) = json.loads(answer.stdout)["results"]
        free = json.loads(profile.read_text())
        free["link"].update(latency=0, inside_latency=0, bandwidth=0)
        profile.write_text(json.dumps(free))
        answer = run("predict", scenario, "--set", 'costs.source="profile"', "--set", f'costs.profile="{profile}"', "--json")
        (without,) = json.loads(answer.stdout)["results"]
        # Once there and back, within both processes and from one to the other.
        self.assertGreaterEqual(result["makespan_ns"] - without["makespan_ns"], 2 * (2 * link["inside_latency"] + link["latency"]))


@needs_mpi
class Refused(InFolder):
    """What is wrong before anything starts: said once, within seconds, and nothing is written."""
    TEXT = null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS)

    def refused(self, job, expected, code=2):
        answer, output, error = job.ended(60)
        self.assertEqual((answer, output), (code, ""), error)
        self.assertRegex(error, expected)
        self.assertEqual(len(error.splitlines()), 1, error)
        self.assertLess(job.seconds, 30)
        self.assertFalse((self.folder / "out").exists())

    def job(self, processes, *arguments, **options):
        return Job(processes, *arguments, case=self, folder=self.folder, **options)

    def per_process(self, program=PROGRAM, scenario="s$OMPI_COMM_WORLD_RANK.toml"):
        """A program that takes its scenario, or what it is, by the number of its process."""
        script = self.write("own.sh", f'#!/bin/sh\nexec "{program}" run "{scenario}" --out out\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    def own_folders(self):
        """The program, in a folder named by the number of its process."""
        script = self.write("own.sh", f'#!/bin/sh\ncd "$OMPI_COMM_WORLD_RANK" && exec "{PROGRAM}" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    def test_processes_that_the_ranks_cannot_be_shared_among(self):
        scenario = self.write("s.toml", self.TEXT)
        self.refused(self.job(3, "run", scenario, "--out", "out"), "4 ranks cannot be shared evenly among 3 processes; expected one of 1, 2, 4 processes")

    def test_scenarios_that_differ(self):
        for rank in (0, 1):
            (self.folder / str(rank)).mkdir()
            (self.folder / str(rank) / "s.toml").write_text(self.TEXT.replace("iterations = 2", f"iterations = {2 + rank}"))
        self.refused(self.job(2, "run", "s.toml", program=[self.own_folders()]), "process 1 has another scenario than process 0; expected the same files and arguments on every host")

    def test_programs_that_differ(self):
        self.write("s.toml", self.TEXT)
        for rank in (0, 1):
            folder = self.folder / str(rank)
            folder.mkdir()
            shutil.copy(PROGRAM, folder)
            (folder / MODULE).symlink_to(next(place / MODULE for place in [PROGRAM.parent, PROGRAM.parent / "lib"] if (place / MODULE).exists()))
        with (self.folder / "1" / PROGRAM.name).open("ab") as program:
            program.write(b"another build")
        self.refused(self.job(2, program=[self.per_process(f"$OMPI_COMM_WORLD_RANK/{PROGRAM.name}", "s.toml")]), "process 1 has another program than process 0")

    def test_command_lines_that_differ(self):
        self.write("s0.toml", self.TEXT)
        self.write("s1.toml", self.TEXT)
        self.refused(self.job(2, program=[self.per_process()]), "process 1 has another command line than process 0")

    def test_profiles_that_differ(self):
        self.write("s.toml", self.TEXT)
        self.assertEqual(run("calibrate", "s.toml", "-o", "p.json", cwd=self.folder).returncode, 0)
        profile = (self.folder / "p.json").read_text()
        for rank in (0, 1):
            self.write(f"{rank}/of/s.toml", re.sub('source = "uniform"\nuniform = .*\n', 'source = "profile"\nprofile = "p.json"\n', self.TEXT))
            self.write(f"{rank}/of/p.json", profile + rank * "\n")
            self.write(f"{rank}/of/same.json", profile)
        sweep = ["sweep", "of/s.toml", "--set", 'costs.profile="same.json"', "--over"]
        for command in [["run", "of/s.toml"], ["sweep", "of/s.toml", "--over", "microbatches=4"], [*sweep, 'costs.profile="same.json":"p.json"']]:
            self.refused(self.job(2, *command, program=[self.own_folders()]), "process 1 has another profile 'of/p.json' than process 0")
        code, output, error = self.job(2, *sweep, "microbatches=4", program=[self.own_folders()]).ended(60)
        self.assertEqual((code, error), (0, ""), output)

    def test_a_scenario_that_one_host_does_not_have(self):
        self.write("s0.toml", self.TEXT)
        self.refused(self.job(2, program=[self.per_process()]), r"s1\.toml: cannot be read")

    def test_a_host_without_mpi(self):
        self.write("s.toml", self.TEXT)
        (self.folder / "0").symlink_to(PROGRAM.parent)
        (self.folder / "1").mkdir()
        shutil.copy(PROGRAM, self.folder / "1")  # without the module beside it
        self.refused(self.job(2, program=[self.per_process(f"$OMPI_COMM_WORLD_RANK/{PROGRAM.name}", "s.toml")]), r"several processes need MPI, but libbubblescope-mpi\.so is not in .*/1", code=1)

    def test_what_the_first_process_finds_alone_is_told_once(self):
        scenario = self.write("s.toml", self.TEXT)
        self.write("out", "in the way")
        code, output, error = self.job(4, "run", scenario, "--schedule", "all", "--out", "out").ended(60)
        self.assertEqual((code, output), (2, ""), error)
        *skipped, last = error.splitlines()
        self.assertRegex(last, "^bubblescope: out: nothing can be written there: .*; expected a folder for the results$")
        self.assertTrue(skipped and all(" is skipped: " in line for line in skipped), error)
        self.assertEqual(len(skipped), len(set(skipped)))

    def test_commands_of_one_process(self):
        self.refused(self.job(2, "predict", self.write("s.toml", self.TEXT)), "'predict' is done by one process, but Open MPI has started 2")

    def test_torchrun_is_for_gpus(self):
        scenario = self.write("s.toml", self.TEXT.replace('name = "null"', 'name = "cpu"') if WITH_TORCH else self.TEXT)
        torchrun = dict(TORCHELASTIC_RUN_ID="none", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")
        answers = [subprocess.run([PROGRAM, "run", scenario, "--out", self.folder / "out"], capture_output=True, text=True, timeout=60, env=environment(RANK=str(rank), **torchrun)) for rank in range(2)]
        self.assertEqual([answer.returncode for answer in answers], [2, 2])
        self.assertRegex(answers[0].stderr, r"torchrun starts processes for GPUs; for 'backend.name = \"(cpu|null)\"' use 'mpirun -n 2 bubblescope \.\.\.' or srun")
        self.assertEqual([answer.stderr for answer in answers[1:]], [""])
        self.assertFalse((self.folder / "out").exists())


@needs_mpi
@needs_torch
class Documented(InFolder):
    def test_the_readmes_commands_work(self):
        lines = [line.split() for line in (SOURCE / "README.md").read_text().splitlines() if line.startswith("    mpirun ") and "cuda" not in line]
        self.assertEqual(len(lines), 3)
        (self.folder / "scenarios").symlink_to(SOURCE / "scenarios")
        for launcher, option, count, _, *arguments in lines:
            self.assertEqual((launcher, option), ("mpirun", "-n"))
            small = ["--set", "training.epochs=1", "--set", "data.samples=64", "--set", "data.test_samples=32"] if "--train" in arguments else ["--repeats", "1"] if "run" in arguments else []
            code, output, error = mpirun(self, int(count), *arguments, *small, folder=self.folder)
            self.assertEqual(code, 0, error + output)

    def test_the_commands_of_the_sbatch_file(self):
        scenario = self.write("s.toml", mlp('name = "ppll"', epochs=1).replace("repeats = 2", "repeats = 1"))
        variables = environment(LAUNCH="mpirun", BUBBLESCOPE=str(PROGRAM), SCENARIO=str(scenario), OUT=str(self.folder / "out"), OMPI_MCA_rmaps_base_oversubscribe="1")
        submit = lambda: subprocess.run([SOURCE / "bench/cluster/job.sbatch"], capture_output=True, text=True, timeout=200, env=variables, cwd=self.folder)
        answer, measured = submit(), self.folder / "out/measured/run.json"
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("ppll: trained 4 iterations", answer.stdout)
        self.assertIn("2 processes over MPI, 1 rank each.", json.loads(measured.read_text())["notes"])
        self.assertTrue((self.folder / "out/training/ppll.checkpoint").exists())
        before = measured.stat().st_mtime_ns
        answer = submit()  # once more, as after a requeue
        self.assertEqual((answer.returncode, measured.stat().st_mtime_ns), (0, before), answer.stderr)


KILLED, STOPPED = "was killed or has ended", r"has not answered for 5 s \(stopped, or its host hangs\)"
FAULTS = [(signal.SIGKILL, 0, KILLED), (signal.SIGKILL, 1, KILLED), (signal.SIGSTOP, 0, STOPPED), (signal.SIGSTOP, 1, STOPPED)]


@needs_mpi
class Lost(InFolder):
    """A process is killed or stopped: the others say so and end."""

    def ends_well(self, job, rank, what, state):
        """The others end within ten seconds; returns what was said."""
        seconds = job.others_ended(rank)
        self.assertLess(seconds, 10)
        code, _, error = job.ended()
        self.assertNotEqual(code, 0)
        self.assertRegex(error, rf"bubblescope: (\S+: )?process {rank} \(host \S+, ranks {2 * rank} to {2 * rank + 1}\) {what}{state}")
        self.assertEqual(len([line for line in error.splitlines() if f"process {rank} (host" in line]), 1, error)
        return error

    def test_stopped_while_starting(self):
        scenario = self.write("s.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS, repeats=2))
        jobs = []
        for rank in (0, 1):
            stopping = ["sh", "-c", f'if [ "$OMPI_COMM_WORLD_RANK" = {rank} ]; then kill -STOP $$; fi; exec "$@"', "sh", PROGRAM]
            jobs.append((Job(2, "run", scenario, "--out", self.folder / f"out{rank}", case=self, program=stopping), rank))
        for job, rank in jobs:
            code, _, error = job.ended()  # mpirun ends the one that is stopped, too, once another has ended with an error
            self.assertLess(job.seconds, 12)  # mpirun's own start included
            self.assertNotEqual(code, 0)
            self.assertEqual(error, f"bubblescope: process {rank} was stopped while the processes of the job were starting\n")

    @unittest.skipUnless(STOPS_IN_FINALIZE.exists(), "this build has nothing to preload")
    def test_stopped_while_mpi_ends(self):
        scenario = self.write("s.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS, repeats=1))
        job = Job(2, "run", scenario, "--out", self.folder / "out", case=self, LD_PRELOAD=str(STOPS_IN_FINALIZE))
        job.wait_for("out/report.json")
        job.sent = time.monotonic()
        self.assertLess(job.others_ended(1), 10)
        code, _, error = job.ended(20)  # mpirun ends the one that is stopped
        self.assertNotEqual(code, 0)
        self.assertEqual(error, "bubblescope: MPI did not end in time: a process was stopped when all was done\n")
        self.assertEqual(run("report", self.folder / "out").returncode, 0)

    def test_of_several_that_lose_the_first_one_says_so(self):
        scenario = self.write("s.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS, forward="30ms", repeats=50))
        job = Job(4, "run", scenario, "--out", self.folder / "out", case=self, terminal=True)
        job.wait_for("running gpipe 3/").send(signal.SIGSTOP, 0)
        self.assertLess(job.others_ended(0), 10)
        code, _, error = job.ended()
        self.assertNotEqual(code, 0)
        self.assertEqual(len(re.findall(r"process 0 \(host \S+, rank 0\) has not answered for 5 s", error)), 1, error)

    def test_during_run_what_was_measured_is_kept(self):
        # All at once: nobody computes, and a stopped process takes seconds to be missed.
        jobs = []
        for number, (sign, rank, what) in enumerate(FAULTS):
            out = self.folder / f"out{number}"
            scenario = self.write(f"s{number}.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS, forward="30ms", repeats=50).replace("iterations = 2", "iterations = 4"))
            jobs.append((Job(2, "run", scenario, "--out", out, case=self, terminal=True), out, sign, rank, what))
        def hurt(job, sign, rank):
            job.wait_for("running gpipe 3/")  # the second round's calibration is over
            time.sleep(0.3)  # until the first rank is in an op, and the others know
            job.send(sign, rank)
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as threads:
            list(threads.map(lambda each: hurt(each[0], each[2], each[3]), jobs))
        for job, out, sign, rank, what in jobs:
            with self.subTest(signal=sign.name, rank=rank):
                error = self.ends_well(job, rank, what, rf".*rank {2 * rank} was in op \d+ \({2 * rank}\S+\), iteration \d+")
                if rank == 0:  # it writes the folder
                    self.assertEqual(run("report", out).returncode, 0)
                else:
                    self.assertRegex(error, r"after \d+ of 50 rounds; what was measured is kept")
                stored = json.loads((out / "run.json").read_text())
                self.assertTrue(stored["partial"])
                rounds = len(stored["schedules"][0]["measured"]["repeats_ns"])
                self.assertTrue(1 <= rounds < 50)
                self.assertTrue((out / "report.html").exists())

    def test_while_calibrating_the_op_is_named(self):
        # Rank 0 goes first, for four forwards and backwards, alone.
        scenario = self.write("s.toml", null(f'name = "gpipe"\n{PIPELINE}', ranks=RANKS, forward="1s"))
        job = Job(2, "run", scenario, "--out", self.folder / "out", case=self)
        while len(job.pids()) < 2 or not all(has_joined(pid) for pid in job.pids().values()):
            self.assertIsNone(job.process.poll(), job.said)
            time.sleep(0.02)
        time.sleep(2.5)  # of twelve seconds, in which ops end after whole ones
        job.send(signal.SIGKILL, 0)
        self.ends_well(job, 0, KILLED, r".*rank 0 was calibrating 0[A-Z_]+\d")

    @needs_torch
    def test_schedules_that_were_trained_before_stay_in_the_answer(self):
        scenario, out = self.write("s.toml", model('name = "ppll"', f'name = "1f1b"\n{PIPELINE}', epochs=150)), self.folder / "out"
        job = Job(2, "run", scenario, "--train", "--json", "--out", out, case=self)
        while not (out / "1f1b.training.json").exists():
            self.assertIsNone(job.process.poll(), job.said)
            time.sleep(0.01)
        job.send(signal.SIGKILL, 1)
        self.ends_well(job, 1, KILLED, "")
        (result,) = json.loads(job.ended()[1])["results"]
        self.assertEqual((result["schedule"], result["status"], result["iterations"]), ("ppll", "complete", 300))

    @needs_torch
    def test_during_training_the_same_command_goes_on(self):
        scenario = self.write("s.toml", model('name = "ppll"', epochs=40, checkpoint_every=1))
        out = self.folder / "out"
        train = ["run", scenario, "--train", "--resume", "--out", out]
        for sign, rank, what in FAULTS:
            with self.subTest(signal=sign.name, rank=rank):
                job = Job(2, *train, case=self).wait_for("epoch ").send(sign, rank)
                self.ends_well(job, rank, what, "")
                log = json.loads((out / "ppll.training.json").read_text())
                self.assertEqual((log["status"], len(log["losses"]), log["iterations"] % 2), ("running", log["iterations"], 0))
                self.assertTrue(2 <= log["iterations"] < 80, log["iterations"])
        code, output, error = mpirun(self, 2, *train)
        self.assertEqual((code, error), (0, ""), output)
        one = on_one(self.folder, scenario)
        self.assertEqual(files_of(out), files_of(one))
        for name in files_of(one):
            self.assertEqual((out / name).read_bytes(), (one / name).read_bytes(), name)


if __name__ == "__main__":
    main()
