# The program as scripts meet it: commands, exit codes, messages, JSON. Run by ctest.
"""What scripts may rely on: the program's commands, exit codes, messages and JSON, run as a user would.

Usage: command_line.py PROGRAM SOURCE_DIR
"""

import json
import pathlib
import shlex
import sys
import tempfile
import unittest

from program import MS, PROGRAM, SLOTS, SOURCE, WITH_TORCH, main, results, run


class Predict(unittest.TestCase):
    def test_every_promised_key_is_there(self):
        code, (result,) = results("predict", "--schedule", "1f1b", "--ranks", 4, "--microbatches", 8, *SLOTS)
        self.assertEqual(code, 0)
        for key in ["schedule", "ranks", "microbatches", "chunks", "iterations", "makespan_ns", "span_ns", "period_ns",
                    "bubble", "ranks_detail", "channels", "messages", "sent_bytes", "deadlock", "skipped"]:
            self.assertIn(key, result)
        self.assertEqual(result["messages"], 2 * 3 * 8)  # activation and gradient over 3 edges
        self.assertIsNone(result["sent_bytes"])
        self.assertEqual(set(result["bubble"]), {"idle_fraction", "overhead", "span_rate", "internal"})
        for rank in result["ranks_detail"]:
            self.assertEqual(set(rank), {"busy_ns", "span_ns", "peak_activations", "peak_bytes", "idle_ns"})
            self.assertEqual(sum(rank["idle_ns"].values()), result["makespan_ns"] - rank["busy_ns"])
            self.assertIsNone(rank["peak_bytes"])
        for channel in result["channels"]:
            self.assertEqual(set(channel), {"from", "to", "max_depth", "mean_depth"})

    def test_the_four_bubbles_of_1f1b_are_the_published_ones(self):
        # p=4, m=8, B=2F: makespan 33 slots, busy 24: idle 9/33, overhead 9/24; rank 0's span is all of
        # it; inside the spans 9 + 6 + 3 + 0 slots idle out of 33 + 30 + 27 + 24.
        _, (result,) = results("predict", "--schedule", "1f1b", "--ranks", 4, "--microbatches", 8, *SLOTS)
        self.assertEqual(result["makespan_ns"], 33 * MS)
        self.assertAlmostEqual(result["bubble"]["idle_fraction"], 9 / 33)
        self.assertAlmostEqual(result["bubble"]["overhead"], 9 / 24)
        self.assertAlmostEqual(result["bubble"]["span_rate"], 9 / 33)
        self.assertAlmostEqual(result["bubble"]["internal"], 18 / 114)

    def test_channel_modes_of_the_oracle_table(self):
        folder = SOURCE / "tests/data/oracles"
        checked = 0
        for row in (folder / "channel_modes.csv").read_text().splitlines()[1:]:
            cells = row.split(",")
            for mode, expected in zip(["async", "rank", "data", "edge"], cells[5:9]):
                with self.subTest(schedule=cells[0], latency=cells[4], mode=mode):
                    _, (result,) = results("predict", "--program", folder / f"orders/{cells[0]}_p4_m8.csv", *SLOTS, "--latency", cells[4], "--channel", mode)
                    self.assertEqual((result["ranks"], result["microbatches"], result["chunks"]), tuple(map(int, cells[1:4])))
                    self.assertEqual(result["makespan_ns"], round(float(expected) * MS))
                    checked += 1
        self.assertEqual(checked, 4 * 57)

    def test_channel_modes_of_schedules_made_here(self):
        # The rows of the table whose order follows from the shape alone.
        table = (SOURCE / "tests/data/oracles/channel_modes.csv").read_text().splitlines()
        names = {"gpipe": ["gpipe"], "1f1b": ["1f1b"], "eager1f1b": ["eager-1f1b"], "zb1p_torch": ["zb1p"], "zbv_torch": ["zbv"], "dualpipev": ["dualpipev"],
                 **{f"{row}_v{v}": [name, "--chunks", v] for v in [2, 4]
                    for row, name in [("loopedbfs", "looped-bfs"), ("interleaved1f1b", "interleaved-1f1b"), ("interleavedzb", "interleaved-zb")]}}
        checked = 0
        for row in table:
            cells = row.split(",")
            if cells[0] not in names:
                continue
            for mode, expected in zip(["async", "rank", "data", "edge"], cells[5:9]):
                with self.subTest(schedule=cells[0], latency=cells[4], mode=mode):
                    _, (result,) = results("predict", "--schedule", *names[cells[0]], "--ranks", cells[1], "--microbatches", cells[2], *SLOTS,
                                           "--latency", cells[4], "--channel", mode)
                    self.assertEqual(result["makespan_ns"], round(float(expected) * MS))
                    checked += 1
        self.assertEqual(checked, 4 * 3 * 12)

    def test_costs_by_rank_and_iterations(self):
        # Serial local learning: the sum of all steps, 1+2 and 2+2, per batch.
        code, (result,) = results("predict", "--schedule", "sequential-local", "--ranks", 2, "--microbatches", 3, "--cost", "F=1:2,LB=2", "--iterations", 2)
        self.assertEqual(code, 0)
        self.assertEqual(result["makespan_ns"], 2 * 3 * 7 * MS)
        self.assertEqual(result["period_ns"], 7 * MS)

    def test_a_queue_of_zero_is_a_rendezvous(self):
        # Rank 1 takes 1+5; rank 0 offers entry t after its F(t) and stands until rank 1 is free.
        # Rank 0: F0 0-1, LB 1-2, F1 2-3, stands until 7 (rank 1: 1-7), LB 7-8: span 8.
        _, (result,) = results("predict", "--schedule", "ppll", "--queue", 0, "--ranks", 2, "--microbatches", 2, "--cost", "F=1,LB=1:5")
        self.assertEqual([rank["span_ns"] for rank in result["ranks_detail"]], [8 * MS, 12 * MS])

    def test_recompute_goes_with_any_schedule_and_its_options(self):
        # 8 (F + R + B) + 3 (F + B), with R as long as F or as given; the label tells it from the same without.
        shape = ["predict", "--schedule", "1f1b,zbv", "--ranks", 4, "--microbatches", 8, "--recompute"]
        for cost, makespan in [("F=1,I=1,W=1", 41), ("F=1,I=1,W=1,R=3", 57)]:
            code, answers = results(*shape, "all", "--cost", cost)
            self.assertEqual((code, [answer["label"] for answer in answers]), (0, ["1f1b recompute=all", "zbv recompute=all"]))
            self.assertEqual(answers[0]["makespan_ns"], makespan * MS)
        scenario = SOURCE / "scenarios/tiny/1f1b.toml"
        for asked in [["--schedule", "1f1b", "--recompute", "0"], ["--set", "schedule.1f1b.recompute=[0]"]]:
            code, (result,) = results("predict", scenario, *asked)
            self.assertEqual((code, result["makespan_ns"]), (0, 37 * MS))
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "one.csv"
            file.write_text("0F0,0B0\n1F0,1B0\n")
            _, (result,) = results("predict", "--program", file, "--cost", "F=1,B=2,R=5", "--recompute", "1")
            self.assertEqual(result["makespan_ns"], (1 + 1 + 5 + 2 + 2) * MS)
        answer = run("export", "--schedule", "gpipe", "--ranks", 1, "--microbatches", 2, "--recompute", "all", "--as", "psched")
        self.assertIn("0F0,0F1,0R0,0B0,0R1,0B1", answer.stdout)

    def test_recompute_says_what_it_cannot_do(self):
        shape = ["predict", "--ranks", 2, "--microbatches", 4, *SLOTS, "--schedule"]
        for schedule, stages, text in [("1f1b", "2", "recompute names stage 2; expected stages from 0 to 1"), ("1f1b", "some", "expected all, or stages such as 0:2"),
                                       ("interlocking", "all", "schedule 'interlocking' cannot recompute")]:
            answer = run(*shape, schedule, "--recompute", stages)
            self.assertEqual(answer.returncode, 2)
            self.assertIn(text, answer.stderr)
        # Of all schedules those that cannot are skipped.
        code, answers = results(*shape, "all", "--recompute", "all")
        self.assertEqual(code, 0)
        self.assertEqual([answer["label"] for answer in answers if "cannot recompute" in (answer["skipped"] or "")],
                         ["interlocking recompute=all", "overlapping-local recompute=all"])
        answer = run("predict", SOURCE / "scenarios/tiny/1f1b.toml", "--recompute", "all")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("--recompute needs --schedule", answer.stderr)

    def test_a_deadlock_is_shown_with_its_cycle_and_exit_code_1(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "bad.csv"
            file.write_text("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n")
            code, (result,) = results("predict", "--program", file, *SLOTS)
            self.assertEqual(code, 1)
            self.assertIsNone(result["makespan_ns"])
            self.assertGreaterEqual(len(result["deadlock"]["cycle"]), 2)
            self.assertEqual(result["deadlock"]["safe_channels"], [])
            answer = run("check", file)
            self.assertEqual(answer.returncode, 1)
            self.assertIn("on no channel", answer.stdout)

    def test_a_deadlock_of_the_channels_names_those_that_are_safe(self):
        # Deferred receives: 1F1B waits for itself on one FIFO; those of the V are received in another order.
        shape = ["predict", "--ranks", 4, "--microbatches", 8, *SLOTS, "--lower", "defer-receives", "--schedule"]
        code, (result,) = results(*shape, "1f1b", "--channel", "rank")
        self.assertEqual(code, 1)
        deadlock = result["deadlock"]
        self.assertGreaterEqual(len(deadlock["cycle"]), 2)
        self.assertEqual(deadlock["mismatches"], [])
        self.assertEqual(deadlock["safe_channels"], ["async", "rank,eager", "data", "edge"])
        for mode in deadlock["safe_channels"]:
            self.assertEqual(results(*shape, "1f1b", "--channel", mode)[0], 0, mode)
        answer = run(*shape, "1f1b", "--channel", "rank")
        self.assertIn("it runs with --channel async or rank,eager or data or edge", answer.stdout)
        code, (result,) = results(*shape, "zbv", "--channel", "edge")
        self.assertEqual(code, 1)
        self.assertTrue(result["deadlock"]["mismatches"])
        for mismatch in result["deadlock"]["mismatches"]:
            self.assertRegex(mismatch, r"receive \d+ from rank \d is \dRECV_[FB]\d, but send \d+ of that rank is \dSEND_[FB]\d")
        self.assertEqual(result["deadlock"]["safe_channels"], ["async", "data,eager"])

    def test_channels_take_properties(self):
        # Rank 0 makes an entry per ms, rank 1 takes one per 3 ms, from 1 ms on. The last of rank 0's four forwards ends
        # where the one before it has been accepted: with room for Q when forward 3-1-Q of rank 1 has started, on a
        # rendezvous when rank 1 has finished forward 1; and 4 ms after it began where nothing holds it.
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "stream.psched"
            file.write_text("#psched 1\n#profile forward-only\n0F0,0F1,0F2,0F3\n1F0,1F1,1F2,1F3\n")
            held = ",receive=use,send=hold"
            for mode, end in [("edge" + held, 8), ("edge,capacity=1" + held, 5), ("async,capacity=1" + held, 5), ("rank,capacity=2" + held, 4), ("edge,eager=1KiB" + held, 4),
                              ("edge,capacity=1,eager" + held, 4), ("edge,capacity=unbounded" + held, 4), ("edge,receive=use,send=commit", 4), ("edge,receive=use", 4), ("data", 4)]:
                with self.subTest(mode=mode):
                    code, (result,) = results("predict", "--program", file, "--cost", "F=1:3", "--channel", mode)
                    self.assertEqual((code, result["ranks_detail"][0]["span_ns"], result["makespan_ns"]), (0, end * MS, 13 * MS))

    def test_a_scenario_and_a_flag_take_the_same_channels(self):
        scenario, mode = SOURCE / "scenarios/tiny/interleaved-1f1b.toml", "rank,eager=1B"
        by_key = results("predict", scenario, "--set", f"cluster.channel={mode}")
        self.assertEqual(by_key[0], 0)
        self.assertEqual(results("predict", scenario, "--channel", mode), by_key)
        answer = run("predict", scenario, "--set", "cluster.channel=rank,egaer=1")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("did you mean 'eager'?", answer.stderr)

    def test_what_cannot_have_the_shape_is_skipped_with_the_reason(self):
        # Bidirectional schedules need an even number of microbatches.
        code, list_ = results("predict", "--schedule", "all", "--ranks", 4, "--microbatches", 9, *SLOTS)
        self.assertEqual(code, 0)
        skipped = {result["schedule"]: result["skipped"] for result in list_ if result["skipped"]}
        self.assertEqual(set(skipped), {"dualpipe", "chimera"})
        for reason in skipped.values():
            self.assertIn("4 ranks and 9 microbatches; expected even numbers of both", reason)
        for result in list_:
            self.assertEqual(result["skipped"] is None, result["makespan_ns"] is not None)

    def test_a_mistake_in_a_flag_is_one_for_all_schedules_too(self):
        for wrong, said in [(["--cost", "F=fast"], "duration"), (["--cost", "F=1:2:3:4"], "lists 4 values"), ([], "--cost is missing"),
                            (["--channel", "none", *SLOTS], "channel mode"), (["--latency", "-1", *SLOTS], "negative"), (["--queue", "-1", *SLOTS], "queue")]:
            with self.subTest(wrong=wrong):
                answer = run("predict", "--schedule", "all", "--ranks", 2, "--microbatches", 4, *wrong)
                self.assertEqual(answer.returncode, 2, answer.stdout)
                self.assertIn(said, answer.stderr)

    def test_a_shape_that_no_schedule_can_have_is_an_error(self):
        for ranks, microbatches, said in [(0, 4, "0 ranks"), (2, 0, "0 microbatches"), (40000, 4, "40000 stages")]:
            answer = run("predict", "--schedule", "all", "--ranks", ranks, "--microbatches", microbatches, *SLOTS)
            self.assertEqual(answer.returncode, 2, answer.stdout)
            self.assertIn(said, answer.stderr)

    def test_of_a_scenario_schedules_that_do_not_fit_its_batch_are_skipped(self):
        # 4 ranks make 4 microbatches of a batch of 6: only naive's 1 and local learning's whole batches do.
        code, list_ = results("predict", SOURCE / "scenarios/seeds/ppll_resnet_4gpu.toml", "--schedule", "all", "--set", "training.batch=6",
                              "--set", "schedule.gpipe.microbatches=2", "--set", "schedule.1f1b.microbatches=2")
        self.assertEqual(code, 0)
        self.assertIn("interleaved-1f1b", [result["schedule"] for result in list_ if result["skipped"]])
        self.assertNotIn("gpipe", [result["schedule"] for result in list_ if result["skipped"]])


class Overrides(unittest.TestCase):
    SCENARIO = SOURCE / "scenarios/seeds/ppll_resnet_4gpu.toml"

    def test_set_changes_what_is_predicted_as_the_file_would(self):
        overrides = {"training.batch": "256", "cluster.launch": "20us", "model.image": "[3, 64, 64]", "schedule.gpipe.microbatches": "8"}
        flags = [word for item in overrides.items() for word in ("--set", "=".join(item))]
        code, set_ = results("predict", self.SCENARIO, *flags)
        self.assertEqual(code, 0)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "changed.toml"
            text = self.SCENARIO.read_text()
            for old, new in [("batch = 1024", "batch = 256"), ('"5us"', '"20us"'), ("[3, 32, 32]", "[3, 64, 64]"),
                             ('name = "gpipe"\nmicrobatches = 4', 'name = "gpipe"\nmicrobatches = 8')]:
                self.assertEqual(text.count(old), 1)
                text = text.replace(old, new)
            file.write_text(text)
            self.assertEqual(results("predict", file), (0, set_))

    def test_errors_name_the_flag(self):
        for command in ["predict", "run", "calibrate"]:
            answer = run(command, self.SCENARIO, "--set", "cluster.lanch=20us")
            self.assertEqual(answer.returncode, 2)
            self.assertIn("--set cluster.lanch=20us: unknown key 'lanch'", answer.stderr)
            self.assertIn("did you mean 'launch'?", answer.stderr)
            self.assertIn("--set", run(command, "--help").stdout)
        answer = run("predict", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 2, *SLOTS, "--set", "training.batch=2")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("--set", answer.stderr)

    def test_a_report_shows_what_was_overridden(self):
        with tempfile.TemporaryDirectory() as folder:
            answer = run("run", SOURCE / "scenarios/tiny/gpipe.toml", "--set", "run.iterations=2", "--out", folder)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertIn("# --set run.iterations=2", (pathlib.Path(folder) / "report.md").read_text())


class Usage(unittest.TestCase):
    def refused(self, *arguments):
        answer = run(*arguments)
        self.assertEqual(answer.returncode, 2, answer.stderr)
        return answer.stderr

    def test_unknown_names_suggest_the_nearest(self):
        self.assertIn("did you mean 'ppll'", self.refused("predict", "--schedule", "pppl", "--ranks", 2, "--microbatches", 2, *SLOTS))
        self.assertIn("'predict'", self.refused("predikt"))

    def test_missing_and_wrong_values_are_named(self):
        self.assertIn("--ranks", self.refused("predict", "--schedule", "gpipe", "--microbatches", 2, *SLOTS))
        self.assertIn("--cost", self.refused("predict", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 2))
        self.assertIn("--queue", self.refused("predict", "--schedule", "gpipe", "--queue", 2, "--ranks", 2, "--microbatches", 2, *SLOTS))
        self.assertIn("duration", self.refused("predict", "--schedule", "gpipe", "--ranks", 2, "--microbatches", 2, "--cost", "F=fast"))

    def test_a_scenario_error_names_file_line_and_column(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "s.toml"
            file.write_text('[scenario]\nname = "x"\n[model]\nnam = "mlp"\n')
            self.assertIn(f"{file}:4:1", self.refused("predict", file))

    def test_missing_and_damaged_files_are_named(self):
        self.assertIn("nowhere.toml", self.refused("predict", "nowhere.toml"))
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "t.json"
            file.write_text('{"schema_version": 1, "label"')
            self.assertIn("t.json", self.refused("compare", file, file))

    def test_help_has_an_example_for_every_command(self):
        for command in ["list", "check", "predict", "run", "calibrate", "compare", "report", "export"]:
            answer = run(command, "--help")
            self.assertEqual(answer.returncode, 0)
            self.assertIn(f"bubblescope {command}", answer.stdout)

    def test_version(self):
        self.assertRegex(run("--version").stdout, r"^bubblescope \d+\.\d+\.\d+ ")


class Export(unittest.TestCase):
    def test_orders_equal_the_oracle_files(self):
        for name, options, oracle in [("gpipe", [], "gpipe"), ("1f1b", [], "1f1b"), ("interleaved-1f1b", ["--chunks", 2], "interleaved1f1b_v2")]:
            answer = run("export", "--schedule", name, "--ranks", 4, "--microbatches", 8, *options, "--as", "torch-csv")
            oracle_rows = (SOURCE / f"tests/data/oracles/orders/{oracle}_p4_m8.csv").read_text().split()
            self.assertEqual(answer.stdout.split(), oracle_rows)

    def test_what_pytorch_has_no_word_for_is_named(self):
        answer = run("export", "--schedule", "ppll", "--ranks", 2, "--microbatches", 2, "--as", "torch-csv")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("0A0", answer.stderr)

    def test_a_psched_predicts_as_its_schedule_does(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "p.psched"
            shape = ["--ranks", 3, "--microbatches", 5]
            self.assertEqual(run("export", "--schedule", "ppll", "--queue", 1, *shape, "--as", "psched", "-o", file).returncode, 0)
            _, (from_file,) = results("predict", "--program", file, "--cost", "F=1:3:2,LB=2")
            _, (direct,) = results("predict", "--schedule", "ppll", "--queue", 1, *shape, "--cost", "F=1:3:2,LB=2")
            for key in ["makespan_ns", "span_ns", "period_ns", "ranks_detail", "channels"]:
                self.assertEqual(from_file[key], direct[key])


    def test_as_json_the_text_is_a_member_or_its_file_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "p.csv"
            for name in ["torch-csv", "torch-comms-csv", "psched"]:
                command = ["export", "--schedule", "1f1b", "--ranks", 2, "--microbatches", 3, "--as", name]
                text = run(*command).stdout
                self.assertEqual(json.loads(run(*command, "--json").stdout), {"schema_version": 1, "format": name, "program": text})
                answer = run(*command, "--json", "-o", file)
                self.assertEqual(json.loads(answer.stdout), {"schema_version": 1, "format": name, "file": str(file)})
                self.assertEqual(file.read_text(), text)


class Check(unittest.TestCase):
    def check(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / name
            file.write_text(text)
            plain, answer = run("check", file), run("check", file, "--json")
            self.assertEqual(plain.returncode, answer.returncode)
            return plain, answer, json.loads(answer.stdout)

    def test_a_file_that_cannot_be_parsed_is_a_finding_of_level_0_and_bad_input(self):
        for name, text, said in [("bad.csv", "0F0,0B0\n1F0,1X0\n", "bad.csv:2"), ("bad.psched", "#psched 1\n0F0,0B0\n1F0,1X0\n", "bad.psched:3"), ("bad.txt", "0F0\n", "bad.txt")]:
            with self.subTest(file=name):
                plain, answer, found = self.check(name, text)
                self.assertEqual(answer.returncode, 2)
                self.assertFalse(found["ok"])
                self.assertEqual([(level["level"], level["ok"]) for level in found["levels"]], [(0, False)])
                (finding,) = found["findings"]
                self.assertEqual((finding["level"], finding["rank"], finding["position"]), (0, -1, -1))
                self.assertIn(said, finding["message"])
                self.assertIn("V0 FAIL", plain.stdout)
                self.assertIn(said, plain.stdout)
                self.assertIn(finding["message"], answer.stderr)

    def test_levels_below_the_finding_are_good(self):
        # 0B0 is missing: V0 holds, V1 does not, and nothing above it is looked at.
        _, answer, found = self.check("short.csv", "0F0\n1F0,1B0\n")
        self.assertEqual(answer.returncode, 1)
        self.assertEqual([(level["level"], level["ok"]) for level in found["levels"]], [(0, True), (1, False)])
        self.assertIsNone(found["safe_channels"])
        _, answer, found = self.check("good.csv", "0F0,0B0\n1F0,1B0\n")
        self.assertEqual((answer.returncode, found["ok"], found["findings"], found["safe_channels"]), (0, True, [], ["async", "rank", "data", "edge"]))
        self.assertEqual([(level["level"], level["ok"]) for level in found["levels"]], [(level, True) for level in (0, 1, 2, 3, 5)])

    def test_staleness_is_told_and_bounded(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "stream.psched"
            run("export", "--schedule", "pipedream", "--ranks", 4, "--microbatches", 8, "--as", "psched", "-o", file)
            answer = run("check", file, "--json")
            self.assertEqual((answer.returncode, json.loads(answer.stdout)["staleness"]), (0, [3, 2, 1, 0]))
            answer = run("check", file, "--max-staleness", 2)
            self.assertEqual(answer.returncode, 1)
            self.assertIn("V5 FAIL gradients are at most 3 updates old (stage 0)\n  stage 0: gradients 3 updates old; expected at most 2\n", answer.stdout)


class Run(unittest.TestCase):
    def test_kernels_are_refused_where_the_backend_has_none(self):
        for more in [["--kernels"], ["--set", "run.kernels=true"]]:
            answer = run("run", SOURCE / "scenarios/tiny/gpipe.toml", *more)
            self.assertEqual(answer.returncode, 2)
            self.assertIn("--set run.kernels=true: the backend 'null' cannot record kernels; expected backend.name = \"cuda\"", answer.stderr)
        answer = run("run", SOURCE / "scenarios/tiny/gpipe.toml", "--kernels", "--train")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("--kernels", answer.stderr)

    def test_a_run_leaves_a_folder_from_which_reports_are_made_again(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out"
            answer = run("run", SOURCE / "scenarios/tiny/gpipe.toml", "--out", out, "--json")
            self.assertEqual(answer.returncode, 0, answer.stderr)
            (result,) = json.loads(answer.stdout)["results"][:1]
            self.assertLessEqual({"loss", "spread", "makespan_ns", "ranks_detail"}, set(result["measured"]))
            self.assertEqual(set(result["error"]), {"period", "idle_points"})
            for name in ["run.json", "profile.json", "report.html", "report.md", "report.json"]:
                self.assertTrue((out / name).is_file(), name)
            self.assertFalse(list(out.rglob("*.partial")))
            html = (out / "report.html").read_text()
            again = pathlib.Path(folder) / "again"
            self.assertEqual(run("report", out, "--out", again).returncode, 0)
            self.assertEqual((again / "report.html").read_text(), html)
            answer = run("report", out, "--out", again, "--format", "md,json", "--json")
            self.assertEqual(json.loads(answer.stdout), {"schema_version": 1, "files": [str(again / "report.md"), str(again / "report.json")]})
            predicted, measured = sorted((out / "timelines").glob("*.predicted.json"))[0], sorted((out / "timelines").glob("*.measured.json"))[0]
            self.assertEqual(run("compare", predicted, measured).returncode, 0)
            compared = json.loads(run("compare", predicted, measured, "--json").stdout)
            self.assertEqual((compared["schema_version"], compared["a"], compared["b"]), (1, str(predicted), str(measured)))
            self.assertIn(compared["comparison"], [result["comparison"] for result in json.loads((out / "report.json").read_text())["results"]])
            self.assertEqual(run("export", measured, "--as", "chrome", "-o", out / "t.json").returncode, 0)
            trace = (out / "t.json").read_text()
            self.assertTrue(json.loads(trace)["traceEvents"])
            answer = run("export", measured, "--as", "chrome", "--json")
            self.assertEqual(json.loads(answer.stdout), {"schema_version": 1, "format": "chrome", "trace": trace})


class PublishedFigures(unittest.TestCase):
    """The README's table of PPLL's published figures is what reports/ppll-abstract says, and that is what is predicted."""

    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(SOURCE / "reports/ppll-abstract"))
        sys.dont_write_bytecode = True
        import sweep
        cls.sweep = sweep
        cls.rows = sweep.read_rows()

    def test_the_quoted_points_are_predicted_as_the_committed_table_has_them(self):
        predictor = self.sweep.Predictor(str(PROGRAM))
        quoted = self.sweep.quoted(self.rows)
        self.assertEqual({row["model"] for _, row, _ in quoted}, {"vit", "resnet"})
        for what, row, _ in quoted:
            with self.subTest(what=what, model=row["model"]):
                self.assertEqual(predictor.times(row), {name: row[name] for name in self.sweep.TIMES})

    def test_the_scenarios_as_they_stand_are_the_points_quoted_as_such(self):
        for model in ["vit", "resnet"]:
            row = self.sweep.seed_row(self.rows, model)
            _, list_ = results("predict", SOURCE / f"scenarios/seeds/ppll_{model}_4gpu.toml")
            names = ["ppll", "serial", "overlapped", "gpipe_4", "1f1b_4"]
            self.assertEqual([round(result["period_ns"] / 1000) for result in list_], [row[name] for name in names])

    def test_the_readmes_quote_the_table(self):
        self.assertIn(self.sweep.table(self.rows), (SOURCE / "README.md").read_text())
        report = (SOURCE / "reports/ppll-abstract/README.md").read_text()
        self.assertTrue(report == self.sweep.report(self.rows), "reports/ppll-abstract/README.md is older than sweep.csv: run sweep.py")


class Readme(unittest.TestCase):
    def test_its_commands_work(self):
        lines = [line.strip().split("#")[0].strip() for line in (SOURCE / "README.md").read_text().splitlines() if line.startswith("    build/release/bubblescope")]
        self.assertGreaterEqual(len(lines), 6)
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "scenarios").symlink_to(SOURCE / "scenarios")
            for line in lines:
                words = shlex.split(line)[1:]
                if words[0] == "run":
                    if not WITH_TORCH:
                        continue
                    words += ["--repeats", "1"]
                if words[0] in ("compare", "report") and not WITH_TORCH:
                    continue
                with self.subTest(line=line):
                    answer = run(*words, cwd=folder)
                    self.assertEqual(answer.returncode, 0, answer.stderr)


if __name__ == "__main__":
    main()
