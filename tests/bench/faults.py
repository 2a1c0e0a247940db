# What does not fit, cannot be scheduled, diverges or cannot be written, met through the program.
"""Faults of a run: memory, ranks, deadlocks, NaN losses, output folders, stored files of another run."""

import json
import os
import subprocess
import time

from program import PROGRAM, SLOTS, InFolder, files_of, main, needs_torch, results, run
from scenarios import mlp, null


class TooMuch(InFolder):
    def test_more_memory_than_the_device_has_is_predicted_and_not_run(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"', cluster='memory = "1MB"', width=512))
        answer = run("predict", scenario)
        self.assertEqual(answer.returncode, 0)
        self.assertRegex(answer.stdout, r"gpipe: rank \d needs \S+ MiB, but its device has \S+")
        self.assertRegex(json.loads(run("predict", scenario, "--json").stdout)["notes"][0], r"gpipe: rank \d needs")

    @needs_torch
    def test_more_memory_than_the_device_has_is_refused(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"', cluster='memory = "1MB"', width=512))
        for mode in [["run"], ["run", "--train"], ["calibrate"]]:
            self.assertRegex(self.fails(1, *mode, scenario, cwd=self.folder), r"gpipe: rank \d needs .* not run")
        self.assertEqual(files_of(self.folder), ["s.toml"])

    @needs_torch
    def test_more_memory_than_the_machine_has_is_refused(self):
        huge = self.write("s.toml", mlp('name = "gpipe"', width=65536, depth=200, ranks=1))
        self.assertRegex(self.fails(1, "run", huge), r"s\.toml: .*this machine has .* not run")
        data = self.write("d.toml", mlp('name = "gpipe"').replace("samples = 64", "samples = 1000000000").replace("[3, 8, 8]", "[3, 512, 512]"))
        self.assertRegex(self.fails(1, "run", data), r"d\.toml: .*this machine has .* not run")

    def test_more_ranks_than_core_lists_is_refused_with_its_place(self):
        scenario = self.write("s.toml", null('name = "gpipe"', ranks=3).replace('name = "null"', 'name = "null"\ncores = [[0], [0]]'))
        self.assertRegex(self.fails(2, "run", scenario), r"s\.toml:\d+:\d+: 'cores' has 2 lists for 3 ranks")

    @needs_torch
    def test_a_core_that_is_not_there_is_named(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"', extra="[backend]\ncores = [[0], [4095]]\n"))
        self.assertIn("core 4095", self.fails(2, "run", scenario))

    def test_more_ranks_than_layers_is_refused(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"\nmicrobatches = 2', ranks=9))
        for command in ["predict", "run"] if os.path.exists(f"{PROGRAM}-torch") else ["predict"]:
            self.assertRegex(self.fails(2, command, scenario), r"gpipe.*mlp cannot be cut into 9 stages; expected 1 to 4")

    def test_times_that_do_not_fit_into_64_bits_are_refused(self):
        message = self.fails(2, "predict", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 400, "--cost", "F=9e8s,B=1")
        self.assertIn("years", message)
        scenario = self.write("s.toml", mlp('name = "gpipe"').replace("samples = 64", "samples = 1000000000").replace("batch = 16", "batch = 1000000000").replace("[3, 8, 8]", "[3, 4096, 4096]"))
        self.assertRegex(self.fails(2, "predict", scenario), "petabyte|years")

    def test_wide_programs_of_hours_are_predicted(self):
        _, (result,) = results("predict", "--schedule", "gpipe", "--ranks", 512, "--microbatches", 8, "--cost", "F=20s,B=40s")
        self.assertEqual(result["makespan_ns"], (8 + 512 - 1) * 60 * 10**9)

    def test_a_queue_longer_than_any_run_is_predicted_as_unbounded(self):
        shape = ["predict", "--schedule", "ppll", "--ranks", 2, "--microbatches", 4, "--cost", "F=1:3,LB=1"]
        (_, (long,)), (_, (longer,)) = results(*shape, "--queue", 1000), results(*shape, "--queue", 1000000)
        for key in ["makespan_ns", "period_ns"]:
            self.assertEqual(long[key], longer[key])
        self.assertEqual(long["period_ns"], 4_000_000)  # the slower rank's F + LB per batch

    def test_a_queue_longer_than_any_machine_holds_is_refused(self):
        shape = ["predict", "--schedule", "ppll", "--ranks", 2, "--microbatches", 4, *SLOTS]
        self.assertIn("at most 1000000", self.fails(2, *shape, "--queue", 1000001))

    def test_a_program_file_of_several_iterations_has_the_period_of_one(self):
        # F + LB = 3 ms: one microbatch per 3 ms, however many iterations the file holds.
        rows = "".join(f"{','.join(f'{r}F{m}@{i},{r}A{m}@{i},{r}LB{m}@{i},{r}U{m}@{i}' for i in range(3) for m in range(2))}\n" for r in range(2))
        file = self.write("p.psched", "#psched 1\n#profile local\n#weights latest\n#channel default fifo=edge capacity=2 receive=use send=hold\n" + rows)
        _, (result,) = results("predict", "--program", file, "--cost", "F=1,LB=2")
        self.assertEqual(result["period_ns"], 3_000_000)


class Deadlock(InFolder):
    CYCLE = "0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n"

    def test_check_and_predict_show_the_cycle(self):
        file = self.write("bad.csv", self.CYCLE)
        for answer in [run("check", file), run("predict", "--program", file, *SLOTS)]:
            self.assertEqual(answer.returncode, 1)
            self.assertGreaterEqual(answer.stdout.count("waits for"), 2)

    def test_a_batch_of_transfers_is_a_finding(self):
        file = self.write("batch.psched", "#psched 1\n0F0,(0SEND_F0;0RECV_B0)BATCH_P2P,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n")
        answer = run("check", file)
        self.assertEqual(answer.returncode, 1, answer.stderr)
        self.assertIn("expected its sends and receives one by one", answer.stdout)
        self.assertIn("one by one", self.fails(2, "predict", "--program", file, *SLOTS))

    def test_one_edges_rules_are_not_those_of_all(self):
        # Rank 0 works 1 ms per microbatch, rank 1 as long, rank 2 twice: a rendezvous between 0 and 1 alone, then
        # a queue without end: rank 1 never waits for rank 2, so rank 0 is through after 4 ms.
        rows = "".join(",".join(f"{r}F{m}" for m in range(4)) + "\n" for r in range(3))
        file = self.write("edge.psched", "#psched 1\n#profile forward-only\n#channel 0->1 capacity=0 receive=use send=hold\n" + rows)
        _, (result,) = results("predict", "--program", file, "--cost", "F=1:1:2")
        self.assertEqual([rank["span_ns"] for rank in result["ranks_detail"]], [4_000_000, 4_000_000, 8_000_000])

    def test_a_deadlock_of_the_channels_alone_is_found(self):
        # Rank 0 hands on F1 before it takes B0, rank 1 hands back B0 before it takes F1: with senders
        # that stand until they are heard, both stand for ever.
        text = run("export", "--schedule", "1f1b", "--ranks", 2, "--microbatches", 2, "--as", "psched").stdout
        self.assertEqual(run("check", self.write("good.psched", text)).returncode, 0)
        file = self.write("bad.psched", text.replace("#channel default", "#channel default fifo=edge capacity=0 receive=use send=hold"))
        for answer in [run("check", file), run("predict", "--program", file, *SLOTS)]:
            self.assertEqual(answer.returncode, 1)
            self.assertIn("0SEND_F1", answer.stdout)
            self.assertIn("1SEND_B0", answer.stdout)
        answer = run("predict", "--program", file, *SLOTS, "--json")
        self.assertEqual(answer.returncode, 1)
        self.assertIsNone(json.loads(answer.stdout)["results"][0]["makespan_ns"])


@needs_torch
class Divergence(InFolder):
    def test_one_schedule_that_fails_leaves_the_others_their_results(self):
        # The auxiliary loss is infinite; naive has none.
        wild = self.write("s.toml", mlp('name = "ppll"', 'name = "naive"', extra='[auxiliary]\nname = "predsim"\nweights = {prediction = 1e300}\n')
                          .replace('"mlp"\nimage = [3, 8, 8]\ndepth = 3\nwidth = 16', '"resnet32"'))
        answer = run("run", wild, "--out", self.folder / "out", "--json")
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stderr, r"bubblescope: ppll: .*loss of stage 0 in iteration 0 is -?(nan|inf)")
        told = json.loads(answer.stdout)
        self.assertEqual([result["schedule"] for result in told["results"]], ["naive"])
        self.assertEqual([(failure["schedule"], failure["rounds"]) for failure in told["failures"]], [("ppll", 0)])
        self.assertFalse(told["stopped"])
        self.assertEqual(told["results"][0]["measured"]["spread"]["rounds"], 2)
        stored = json.loads((self.folder / "out/run.json").read_text())
        self.assertTrue(stored["partial"])
        self.assertIn("loss of stage 0", next(schedule for schedule in stored["schedules"] if schedule["label"] == "ppll")["failure"])
        self.assertRegex((self.folder / "out/report.md").read_text(), r"(?s)ppll.*no result")

    def test_a_run_of_which_nothing_succeeds_says_where_and_keeps_no_report(self):
        # Weight decay alone multiplies the weights by 1 - 1e30 * 1e-4 in every step.
        wild = self.write("s.toml", mlp('name = "naive"', 'name = "ppll"', rate=1e30))
        message = self.fails(1, "run", wild, "--out", self.folder / "all")
        self.assertRegex(message, r"rank \d+|stage \d+")
        self.assertRegex(message, r"iteration \d+ is -?(nan|inf)")
        self.assertFalse((self.folder / "all/run.json").exists())
        self.assertFalse((self.folder / "all/report.html").exists())
        answer = run("run", wild, "--json")
        self.assertEqual(answer.returncode, 1)
        self.assertEqual([failure["schedule"] for failure in json.loads(answer.stdout)["failures"]], ["naive", "ppll"])

    def test_training_ends_with_its_losses_kept_and_no_checkpoint(self):
        wild = self.write("s.toml", mlp('name = "1f1b"\nmicrobatches = 2', rate=1e30))
        message = self.fails(1, "run", wild, "--train", "--out", self.folder / "out")
        self.assertRegex(message, r"1f1b: rank 1, op \d+ \(1F\d\), iteration \d+: .*loss of stage 1 in iteration \d+ is -?(nan|inf)")
        self.assertEqual(files_of(self.folder / "out"), ["1f1b.training.json"])
        log = json.loads((self.folder / "out/1f1b.training.json").read_text())
        self.assertEqual((log["status"], log["planned_iterations"]), ("failed", 12))
        self.assertIn("stage 1", log["failure"])
        self.assertEqual(len(log["losses"]), log["iterations"])
        self.assertGreaterEqual(log["iterations"], 1)
        self.assertTrue(all(isinstance(loss, float) for loss in log["losses"]))


class Outputs(InFolder):
    SCENARIO = null('name = "gpipe"\nmicrobatches = 2')

    def test_a_file_in_place_of_the_folder_is_told_before_the_run(self):
        self.write("out", "mine")
        message = self.fails(2, "run", self.write("s.toml", self.SCENARIO), "--out", self.folder / "out")
        self.assertIn(f"{self.folder}/out: nothing can be written there", message)
        self.assertEqual((self.folder / "out").read_text(), "mine")
        self.assertIn("is a folder", self.fails(2, "calibrate", self.folder / "s.toml", "-o", self.folder))

    def test_a_folder_without_permission_is_told_before_the_run(self):
        target = "/proc/sys/kernel" if os.geteuid() == 0 else "/"
        self.assertIn(f"{target}: nothing can be written there", self.fails(2, "run", self.write("s.toml", self.SCENARIO), "--out", target))

    def test_results_that_nobody_gets_are_no_success(self):
        with open("/dev/full", "w") as full:
            for command in [["list"], ["predict", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 2, *SLOTS, "--json"], ["--version"]]:
                answer = subprocess.run([PROGRAM, *map(str, command)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(answer.returncode, 1, command)
                self.assertIn("standard output cannot be written: No space left", answer.stderr)

    def test_a_run_over_an_older_one_leaves_no_report_of_the_older_one(self):
        out = self.folder / "out"
        for name in ["run.json", "report.md", "report.html", "report.json"]:
            self.write(f"out/{name}", "of another run")
        self.assertEqual(run("run", self.write("s.toml", self.SCENARIO + '[output]\nformats = ["json"]\n'), "--out", out).returncode, 0)
        self.assertFalse({"report.md", "report.html"} & set(files_of(out)))
        self.assertFalse(json.loads((out / "run.json").read_text())["partial"])

    def test_a_run_over_an_older_one_leaves_no_timelines_of_the_older_one(self):
        both = self.write("both.toml", null('name = "gpipe"\nmicrobatches = 2', 'name = "ppll"'))
        self.assertEqual(run("run", both, "--out", self.folder / "out").returncode, 0)
        self.write("out/timelines/mine.txt", "mine")
        self.assertEqual(run("run", both, "--schedule", "gpipe", "--out", self.folder / "out").returncode, 0)
        self.assertEqual([name for name in files_of(self.folder / "out") if "timelines" in name],
                         ["timelines/gpipe.measured.json", "timelines/gpipe.predicted.json", "timelines/mine.txt"])

    def test_labels_that_differ_in_letters_only_some_have_keep_their_own_files(self):
        labels = ["全局", "局部", "a b", "a-b"]
        scenario = self.write("s.toml", null(*(f'name = "gpipe"\nlabel = "{label}"\nmicrobatches = {2 + i}' for i, label in enumerate(labels))).replace("batch = 8", "batch = 60"))
        answer = run("run", scenario, "--out", self.folder / "out")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        schedules = json.loads((self.folder / "out/run.json").read_text())["schedules"]
        self.assertEqual([schedule["label"] for schedule in schedules], labels)
        for schedule, microbatches in zip(schedules, [2, 3, 4, 5]):
            timeline = json.loads((self.folder / "out" / schedule["measured"]["timeline"]).read_text())
            self.assertEqual(timeline["microbatches"], microbatches, schedule)
        self.assertIn("twice", self.fails(2, "predict", "--schedule", "gpipe,gpipe", "--ranks", 2, "--microbatches", 2, *SLOTS))

    def test_an_output_folder_that_is_no_utf8_loses_nothing(self):
        out = os.fsencode(self.folder) + b"/bad\xff"
        answer = subprocess.run([PROGRAM, "run", self.write("s.toml", self.SCENARIO), "--out", out], capture_output=True, timeout=60)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn(b"gpipe", answer.stdout)
        self.assertIn(b"run.json", os.listdir(out))
        answer = subprocess.run([PROGRAM, "run", self.folder / "s.toml", "--json", "--out", out], capture_output=True, timeout=60)
        self.assertEqual(json.loads(answer.stdout)["results"][0]["schedule"], "gpipe")

    @needs_torch
    def test_a_training_in_a_folder_that_is_no_utf8_tells_its_end(self):
        out = os.fsencode(self.folder) + b"/bad\xff"
        answer = subprocess.run([PROGRAM, "run", self.write("t.toml", mlp('name = "naive"', epochs=1)), "--train", "--json", "--out", out], capture_output=True, timeout=60)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(json.loads(answer.stdout)["results"][0]["status"], "complete")

    def test_a_device_is_written_to_and_a_link_is_kept(self):
        export = ["export", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 2, "--as", "torch-csv", "-o"]
        self.assertEqual(run(*export, self.folder / "whole.csv").returncode, 0)
        whole = (self.folder / "whole.csv").read_text()
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
        self.assertEqual(run(*export, pipe).returncode, 0)
        self.assertEqual(reader.communicate(timeout=60)[0], whole)
        self.assertTrue(pipe.is_fifo())
        (self.folder / "link.csv").symlink_to(self.write("target.csv", "old"))
        self.assertEqual(run(*export, self.folder / "link.csv").returncode, 0)
        self.assertTrue((self.folder / "link.csv").is_symlink())
        self.assertEqual((self.folder / "target.csv").read_text(), whole)

    def test_what_a_killed_process_left_is_removed_before_the_next_run(self):
        old = time.time() - 3600
        dead, alive, young = (self.write(f"out/{name}", "half") for name in ["a.checkpoint.4194999.partial", f"b.checkpoint.{os.getpid()}.partial", "c.checkpoint.4194999.partial"])
        for file in [dead, alive]:
            os.utime(file, (old, old))
        self.assertEqual(run("run", self.write("s.toml", self.SCENARIO), "--out", self.folder / "out").returncode, 0)
        self.assertEqual([file.exists() for file in [dead, alive, young]], [False, True, True])

    @needs_torch
    def test_a_log_that_cannot_be_written_does_not_cost_the_training(self):
        out = self.folder / "out"
        (out / "naive.training.json").mkdir(parents=True)
        answer = run("run", self.write("t.toml", mlp('name = "naive"', epochs=2)), "--train", "--out", out)
        self.assertEqual(answer.returncode, 1)
        self.assertIn("naive.training.json: cannot be written: Is a directory; the training goes on", answer.stderr)
        self.assertTrue((out / "naive.checkpoint").exists())

    def test_a_full_disk_loses_nothing_that_was_on_the_terminal(self):
        out = self.folder / "disk"
        out.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", out], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest("a small tmpfs cannot be mounted here (not root, or not allowed): " + mounted.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", out], check=True)
        answer = run("run", self.write("s.toml", self.SCENARIO), "--out", out)
        self.assertEqual(answer.returncode, 1)
        self.assertRegex(answer.stderr, r"bubblescope: \S+/disk/\S+: cannot be written: No space left on device")
        self.assertIn("gpipe", answer.stdout)
        self.assertFalse(set(files_of(out)) & {"report.html"}, files_of(out))
        self.assertFalse([name for name in files_of(out) if name.endswith(".partial")])


class StoredFiles(InFolder):
    """Profiles, checkpoints and run folders that are cut short or of something else."""

    def test_a_profile_of_something_else_is_told(self):
        scenario = self.write("s.toml", null('name = "gpipe"\nmicrobatches = 2'))
        profile = self.folder / "p.json"
        self.assertEqual(run("calibrate", scenario, "-o", profile).returncode, 0)
        with_profile = self.write("q.toml", self.profiled('name = "gpipe"\nmicrobatches = 2'))
        self.assertEqual(run("predict", with_profile).returncode, 0)
        self.assertRegex(self.fails(2, "predict", self.write("q.toml", self.profiled('name = "naive"'))), r"no measurement of 'naive'; it has 'gpipe'")
        self.assertRegex(self.fails(2, "predict", self.write("q.toml", self.profiled('name = "gpipe"\nmicrobatches = 3', ranks=3, batch=9))), r"p\.json was measured with 2 stages, but the schedule has 3")
        several = self.write("r.toml", self.profiled('name = "gpipe"\nmicrobatches = 2'))
        _, told = results("predict", several, "--schedule", "all")
        self.assertEqual({result["schedule"] for result in told if not result["skipped"]}, {"gpipe"})
        self.assertTrue(any("no measurement of 'naive'" in (result["skipped"] or "") for result in told))
        text = profile.read_text()
        for damaged in [text[:len(text) // 2], "", "[]", '{"schema_version": 9}', text.replace('"count"', '"cunt"')]:
            profile.write_text(damaged)
            self.assertIn("p.json", self.fails(2, "predict", self.write("q.toml", self.profiled('name = "gpipe"\nmicrobatches = 2'))))

    @staticmethod
    def profiled(schedule, ranks=2, batch=8):
        return mlp(schedule, ranks=ranks, extra='[costs]\nsource = "profile"\nprofile = "p.json"\n').replace("batch = 16", f"batch = {batch}")

    @needs_torch
    def test_a_checkpoint_cut_short_changed_or_of_another_run_is_not_resumed(self):
        scenario = self.write("s.toml", mlp('name = "naive"', epochs=1))
        out = self.folder / "out"
        train = ["run", scenario, "--train", "--out", out]
        self.assertEqual(run(*train).returncode, 0)
        file = out / "naive.checkpoint"
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[whole.index(b'"iteration":"') + 13] ^= 1
        for content, expected in [(whole[:-9], "truncated"), (whole[:40], "truncated"), (b"", "truncated"), (b"PK\3\4" * 99, "not a checkpoint"), (bytes(changed), "damaged")]:
            file.write_bytes(content)
            self.assertRegex(self.fails(2, *train, "--resume"), rf"naive\.checkpoint: .*{expected}.*expected a checkpoint")
            self.assertEqual(file.read_bytes(), content)
        file.write_bytes(whole)
        self.assertRegex(self.fails(2, *train, "--resume", "--seed", 7), r"naive\.checkpoint: .*seed is '0'; expected '7'")
        file.unlink()
        answer = run(*train, "--resume")
        self.assertEqual((answer.returncode, answer.stderr), (0, "bubblescope: naive has no checkpoint yet and begins\n"))
        self.assertEqual(file.read_bytes(), whole)

    @needs_torch
    def test_a_checkpoint_of_another_accumulation_is_not_resumed(self):
        scenario = self.write("s.toml", mlp('name = "ppll"\nmicrobatches = 4', epochs=1))
        train = ["run", scenario, "--train", "--out", self.folder / "out"]
        self.assertEqual(run(*train).returncode, 0)
        self.assertRegex(self.fails(2, *train, "--resume", "--set", "training.accumulate=2", "--set", "training.epochs=2"), r"ppll\.checkpoint: .*updates per iteration")

    @needs_torch
    def test_the_cosine_ends_with_the_last_update(self):
        # 80 samples, batches of 16, an update every 3 batches: an epoch is 5 batches, 3 epochs are 5 updates.
        text = mlp('name = "ppll"\nmicrobatches = 3', epochs=3).replace("samples = 64", "samples = 80").replace("epochs = 3", 'epochs = 3\naccumulate = 3\nschedule = "cosine"')
        self.assertEqual(run("run", self.write("s.toml", text), "--train", "--out", self.folder / "out").returncode, 0)
        self.assertIn(b"cosine base 0.01 warmup 0 total 5", (self.folder / "out/ppll.checkpoint").read_bytes())

    def test_half_a_run_folder_makes_no_report(self):
        out = self.folder / "out"
        self.assertEqual(run("run", self.write("s.toml", null('name = "gpipe"\nmicrobatches = 2')), "--out", out).returncode, 0)
        next((out / "timelines").glob("*.measured.json")).unlink()
        self.assertIn("measured.json: cannot be read", self.fails(2, "report", out, "--out", self.folder / "again"))
        (out / "run.json").write_text((out / "run.json").read_text()[:100])
        self.assertIn("run.json", self.fails(2, "report", out, "--out", self.folder / "again"))
        (out / "run.json").unlink()
        self.assertIn("run.json", self.fails(2, "report", out, "--out", self.folder / "again"))
        self.assertFalse((self.folder / "again").exists())


if __name__ == "__main__":
    main()
