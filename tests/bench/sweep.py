# Grids of predictions: the same bytes on any number of threads, and the numbers that `predict` gives. Run by ctest.
"""`bubblescope sweep`.

Usage: sweep.py PROGRAM SOURCE_DIR
"""

import csv
import io
import itertools
import json
import signal
import subprocess
import sys

from interrupts import Started
from mpirun import Job, environment, mpirun, needs_mpi
from program import MS, PROGRAM, SOURCE, InFolder, main, run
from scenarios import null

DEMO = SOURCE / "scenarios/demo.toml"
SHARED = ["makespan_ns", "span_ns", "period_ns", "bubble", "messages", "sent_bytes", "ranks", "microbatches", "chunks", "schedule", "label"]


def swept(*arguments):
    answer = run("sweep", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


class Grid(InFolder):
    def test_any_number_of_threads_gives_the_same_bytes(self):
        grid = ["sweep", DEMO, "--over", "ranks=1..4,microbatches=1:4:5,schedule=all"]
        for more in [["--json"], [], ["--json", "--sort", "throughput"]]:
            with self.subTest(more=more):
                one = run(*grid, *more, "--threads", 1)
                self.assertEqual((one.returncode, one.stderr), (0, ""))
                for threads in [2, 5]:
                    self.assertEqual(run(*grid, *more, "--threads", threads).stdout, one.stdout)

    def test_points_follow_the_axes_the_last_one_fastest(self):
        answer = swept(DEMO, "--over", "ranks=4:2,schedule=gpipe:1f1b,microbatches=2..8")
        self.assertEqual((answer["schema_version"], answer["points"], answer["predicted_points"]), (1, 12, 12))
        self.assertEqual([axis["key"] for axis in answer["axes"]], ["cluster.ranks", "schedule", "microbatches"])
        self.assertEqual(answer["axes"][2]["values"], [2, 4, 8])
        points = [tuple(row["values"][axis] for axis in ["ranks", "schedule", "microbatches"]) for row in answer["results"]]
        self.assertEqual(points, list(itertools.product([4, 2], ["gpipe", "1f1b"], [2, 4, 8])))
        self.assertEqual([row["point"] for row in answer["results"]], list(range(12)))
        listed = [schedule["name"] for schedule in json.loads(run("list", "--json").stdout)["schedules"]]
        self.assertEqual([row["values"]["schedule"] for row in swept(DEMO, "--over", "schedule=all")["results"] if row["label"] != "sequential-local variant=overlapped"], listed)

    def test_every_row_is_what_predict_says(self):
        compared = 0
        for row in swept(DEMO, "--over", "ranks=2:4,microbatches=2:8,training.batch=32:64,schedule=ppll:gpipe:sequential-local", "--set", "cluster.latency=20us")["results"]:
            values = row["values"]
            answer = run("predict", DEMO, "--set", "cluster.latency=20us", "--set", f"cluster.ranks={values['ranks']}", "--set", f"training.batch={values['training.batch']}",
                         "--set", f"schedule.{row['schedule']}.microbatches={values['microbatches']}", "--schedule", row["schedule"], "--json")
            (expected,) = [result for result in json.loads(answer.stdout)["results"] if result["label"] == row["label"]]
            with self.subTest(values=values, label=row["label"]):
                self.assertEqual({key: row[key] for key in SHARED}, {key: expected[key] for key in SHARED})
                self.assertEqual(row["peak_activations"], max(rank["peak_activations"] for rank in expected["ranks_detail"]))
                self.assertEqual(row["peak_bytes"], max(rank["peak_bytes"] for rank in expected["ranks_detail"]))
            compared += 1
        self.assertEqual(compared, 2 * 2 * 2 * 4)  # sequential-local stands twice in the file

    def test_schedules_that_the_scenario_does_not_have_are_predicted_too(self):
        for name, option in [("zb-h1", ""), ("interleaved-1f1b", "chunks = 2\n"), ("v-half", "")]:
            file = self.write("own.toml", null(f'name = "{name}"\nmicrobatches = 8\n{option}', ranks=4))
            other = self.write("other.toml", null('name = "gpipe"', ranks=2))
            (expected,) = json.loads(run("predict", file, "--json").stdout)["results"]
            (row,) = swept(other, "--over", f"schedule={name},ranks=4,microbatches=8" + (",chunks=2" if option else ""))["results"]
            self.assertEqual({key: row[key] for key in SHARED}, {key: expected[key] for key in SHARED})

    def test_without_an_axis_of_schedules_every_point_has_the_scenarios_own(self):
        file = self.write("s.toml", null('name = "ppll"\nqueue = 1', 'name = "gpipe"'))
        answer = swept(file, "--over", "queue=0..2+1")
        self.assertEqual([(row["point"], row["label"]) for row in answer["results"]],
                         [(point, label) for point in range(3) for label in [f"ppll queue={point}", "gpipe"]])

    # GPipe: (M + p - 1) (F + B), F = B = 1 ms, batch 8. A period is an iteration: ranks 2, M 8 gives 9 x 2 ms for 8 samples.
    def test_the_best_row_has_the_most_samples_per_second(self):
        file = self.write("s.toml", null('name = "gpipe"'))
        answer = swept(file, "--over", "microbatches=2:8:4,ranks=2")
        rows = answer["results"]
        self.assertEqual([row["makespan_ns"] for row in rows], [3 * 2 * MS, 9 * 2 * MS, 5 * 2 * MS])
        self.assertEqual(rows[1]["samples_per_second"], 8e9 / rows[1]["period_ns"])
        self.assertEqual(answer["best"], 0)
        table = run("sweep", file, "--over", "microbatches=2:8:4,ranks=2").stdout.splitlines()
        self.assertEqual([line.endswith("best") for line in table[-3:]], [True, False, False])
        sorted_rows = swept(file, "--over", "microbatches=2:8:4,ranks=2", "--sort", "makespan")["results"]
        self.assertEqual([row["point"] for row in sorted_rows], [0, 2, 1])

    def test_a_stream_trains_one_microbatch_per_period(self):
        file = self.write("s.toml", null('name = "ppll"\nmicrobatches = 4'))
        (row,) = swept(file, "--over", "ranks=2")["results"]
        self.assertEqual((row["samples"], row["period_ns"], row["samples_per_second"]), (32, 2 * MS, 8 / 0.002))


class PointsThatCannotBe(InFolder):
    def test_are_rows_with_the_reason(self):
        answer = swept(DEMO, "--over", "microbatches=4:5,schedule=gpipe:ppll:zbv")
        reasons = {(row["values"]["microbatches"], row["schedule"]): (row["status"], row["reason"]) for row in answer["results"]}
        self.assertEqual(reasons[4, "gpipe"], ("ok", None))
        self.assertEqual(reasons[5, "ppll"], ("ok", None))
        self.assertEqual(reasons[5, "gpipe"][0], "skipped")
        self.assertEqual(reasons[5, "gpipe"][1], "--set schedule.gpipe.microbatches=5: 5 microbatches of schedule 'gpipe' do not divide the batch of 32; expected a divisor")
        row = [row for row in answer["results"] if row["status"] == "skipped"][0]
        self.assertTrue(all(row[key] is None for key in ["makespan_ns", "period_ns", "samples_per_second", "bubble", "peak_bytes"]))
        text = run("sweep", DEMO, "--over", "microbatches=4:5,schedule=gpipe")
        self.assertEqual(text.returncode, 0)
        self.assertIn("do not divide the batch of 32", text.stdout)

    def test_deadlocks_are_rows(self):
        file = self.write("s.toml", null('name = "pipedream"', 'name = "1f1b"\nmicrobatches = 8', ranks=4))
        rows = swept(file, "--over", "cluster.channel=rank:async:data,schedule=pipedream:1f1b")["results"]
        statuses = {(row["values"]["cluster.channel"], row["schedule"]): row["status"] for row in rows}
        for channel in ["rank", "async", "data"]:
            for result in json.loads(run("predict", file, "--set", f"cluster.channel={channel}", "--json").stdout)["results"]:
                self.assertEqual(statuses[channel, result["schedule"]], "deadlock" if result["deadlock"] else "ok")
        (row,) = [row for row in rows if row["status"] == "deadlock"]
        self.assertEqual((row["values"]["cluster.channel"], row["schedule"], row["makespan_ns"]), ("rank", "pipedream", None))
        self.assertIn(" waits for ", row["reason"])
        self.assertIn("no deadlock with cluster.channel async or data or edge", row["reason"])

    def test_too_little_memory_is_told_and_such_a_row_is_not_the_best(self):
        answer = swept(DEMO, "--over", "cluster.memory=1MiB:0,schedule=gpipe")
        small, enough = answer["results"]
        self.assertEqual((small["status"], enough["status"], answer["best"]), ("memory", "ok", 1))
        self.assertIn("rank 0 needs", small["reason"])
        self.assertEqual(small["makespan_ns"], enough["makespan_ns"])

    def test_a_sweep_without_any_prediction_failed(self):
        error = self.fails(2, "sweep", DEMO, "--over", "microbatches=5:7,schedule=gpipe")
        self.assertIn("no point can be predicted; 5, gpipe: --set schedule.gpipe.microbatches=5: 5 microbatches", error)
        file = self.write("s.toml", null('name = "pipedream"', channel="rank"))
        answer = run("sweep", file, "--over", "ranks=4")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("deadlock", answer.stdout)


class Usage(InFolder):
    def test_mistakes_name_the_axis_and_the_place(self):
        for over, expected in [
            ("rank=2", "--over rank=2: character 1, axis 'rank': unknown key; expected"),
            ("ranks=2,4", "--over ranks=2,4: character 9, axis '4': it has no '='"),
            ("ranks=2:x", "--over ranks=2:x: character 9, axis 'ranks': 'ranks' is a text; expected a whole number of at least 1"),
            ("ranks=4..2", "character 7, axis 'ranks': the range '4..2' ends before it begins"),
            ("cluster.lanch=1us", "did you mean 'launch'?"),
            ("schedule=pplll", "did you mean 'ppll'?"),
            ("ranks=2:2", "'2' is given twice"),
            ("ranks=2,ranks=4", "the axis 'ranks' is of the same key"),
            ("queue=0:1,schedule.ppll.queue=2:4", "the axis 'queue' sets the same; expected one of them"),
            ("schedule.ppll.queue=1:x", "option 'queue' of schedule 'ppll' is 'x'"),
            ("ranks=1..2000+1,batch=1..2000+1", "with it the grid has 4000000 points or more; expected at most 1000000"),
            ("waves=2", "no schedule of the sweep has an option 'waves'"),
            ("", "there is no axis"),
        ]:
            with self.subTest(over=over):
                self.assertIn(expected, self.fails(2, "sweep", DEMO, "--over", over))
        self.assertIn("--over is required", self.fails(2, "sweep", DEMO))
        self.assertIn("there.toml", self.fails(2, "sweep", "there.toml", "--over", "ranks=2"))
        self.assertIn("--set cluster.lanch=1: unknown key", self.fails(2, "sweep", DEMO, "--over", "ranks=2", "--set", "cluster.lanch=1"))
        self.assertIn("--sort", self.fails(2, "sweep", DEMO, "--over", "ranks=2", "--sort", "speed"))

    def test_files_hold_what_is_printed(self):
        grid = ["sweep", DEMO, "--over", 'cluster.channel="rank,eager=64KiB":async,schedule=gpipe:ppll:zbv,microbatches=4:5']
        answer = run(*grid, "--json", "--out", self.folder / "new/grid.json")
        self.assertEqual((self.folder / "new/grid.json").read_text(), answer.stdout)
        results = json.loads(answer.stdout)["results"]
        self.assertEqual(run(*grid, "--out", self.folder / "grid.csv").returncode, 0)
        rows = list(csv.DictReader(io.StringIO((self.folder / "grid.csv").read_text())))
        self.assertEqual(len(rows), len(results))
        for row, result in zip(rows, results):
            self.assertEqual((row["over.schedule"], row["label"], row["status"]), (result["schedule"], result["label"], result["status"]))
            self.assertEqual((row["makespan_ns"], row["reason"]), (str(result["makespan_ns"] or ""), result["reason"] or ""))
            self.assertEqual(float(row["samples_per_second"] or 0), result["samples_per_second"] or 0)
        self.assertEqual({row["over.cluster.channel"] for row in rows}, {'"rank,eager=64KiB"', "async"})
        self.assertEqual([index for index, row in enumerate(rows) if row["best"]], [json.loads(answer.stdout)["best"]])

    def test_a_file_that_cannot_be_written_is_refused_before_the_work(self):
        self.assertIn("expected a file that ends in .csv or .json", self.fails(2, "sweep", DEMO, "--over", "ranks=2", "--out", self.folder / "grid.txt"))
        (self.folder / "grid.csv").mkdir()
        self.assertIn("is a folder", self.fails(2, "sweep", DEMO, "--over", "ranks=2", "--out", self.folder / "grid.csv"))


@needs_mpi
class Processes(InFolder):
    def test_any_number_of_processes_gives_the_same_bytes(self):
        grid = ["sweep", DEMO, "--over", "ranks=1..4,microbatches=1:4:5,schedule=ppll:gpipe:zbv"]
        for count, more in [(1, []), (3, []), (3, ["--json", "--sort", "throughput"])]:
            with self.subTest(count=count, more=more):
                self.assertEqual(mpirun(self, count, *grid, *more), (0, run(*grid, *more).stdout, ""))

    def speedup(self, program, *more):
        command = [sys.executable, "-B", SOURCE / "bench/sweep_speedup.py", "--program", program, "--scenario", DEMO, "--over", "ranks=1:2", "--cores", "2", "--rounds", "2"]
        return subprocess.run([*map(str, [*command, *more])], capture_output=True, text=True, timeout=300, env=environment())

    def test_the_speedup_script_times_all_ways_in_turns(self):
        done = self.speedup(PROGRAM, "-o", self.folder / "speedup.json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        found = json.loads((self.folder / "speedup.json").read_text())
        self.assertEqual((found["rows"], found["rounds"]), (len(swept(DEMO, "--over", "ranks=1:2")["results"]), 2))
        self.assertEqual([entry["name"] for entry in found["results"]], ["one thread", "2 threads", "2 processes", "2 sweeps at once"])
        self.assertEqual(found["results"][0]["speedup"], {"median": 1, "quartiles": [1, 1]})
        for entry in found["results"]:
            self.assertGreater(entry["seconds"]["median"], 0)
            self.assertIn(f"{entry['name']}: {entry['seconds']['median']:.2f} s", done.stdout)

    def test_the_speedup_script_refuses_results_that_differ(self):
        wrong = self.write("wrong", f'#!/bin/sh\n[ "$7" = 2 ] && exec echo other\nexec {PROGRAM} "$@"\n')
        wrong.chmod(0o755)
        done = self.speedup(wrong)
        self.assertEqual(done.returncode, 1)
        self.assertIn("other results than with one thread", done.stderr)


class Stopped(InFolder):
    def setUp(self):
        super().setUp()
        # 7 s or more of searches, after points that take no time.
        file = self.write("s.toml", null('name = "gpipe"', ranks=8))
        over = "seed=1..500+1,schedule=gpipe:v-half,microbatches=8"
        self.whole = ["sweep", file, "--over", over, "--set", "training.batch=8", "--json", "--out", self.folder / "grid.csv"]

    def test_ctrl_c_keeps_the_points_until_then(self):
        self.write("grid.csv", "of a whole sweep")
        started = Started(self, *self.whole, "--threads", 2).wait_for("predicting ")
        code, output, error = started.send(signal.SIGINT).ended()
        self.assertEqual(code, 1, error)
        self.is_partial(output, error)
        self.assertEqual((self.folder / "grid.csv").read_text(), "of a whole sweep")

    @needs_mpi
    def test_a_lost_process_leaves_the_points_until_then(self):
        job = Job(2, *self.whole, "--threads", 1, case=self, terminal=True).wait_for("predicting ").send(signal.SIGKILL, 1)
        code, output, error = job.ended()
        self.assertNotEqual(code, 0)
        self.assertRegex(error, r"bubblescope: process 1 \(host \S+\) was killed or has ended\n")
        self.is_partial(output, error)
        self.assertFalse((self.folder / "grid.csv").exists())

    def is_partial(self, output, error):
        answer = json.loads(output)
        self.assertEqual(answer["points"], 1000)
        self.assertLess(answer["predicted_points"], 1000)
        self.assertEqual([row["point"] for row in answer["results"]], list(range(answer["predicted_points"])))
        file = self.folder / "unfinished.grid.csv"
        self.assertIn(f"interrupted: {answer['predicted_points']} of 1000 points are predicted, in {file}", error)
        self.assertEqual(file.read_text().count("\n"), 1 + len(answer["results"]))


if __name__ == "__main__":
    main()
