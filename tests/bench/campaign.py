# `bubblescope campaign`: cut off at any time it goes on, failures stay by themselves, and one report tells all.
"""Campaigns of scenarios on the null backend, which only waits, and what is carried to another machine."""

import html
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import tomllib
import unittest

from program import MS, PROGRAM, SOURCE, InFolder, files_of, main, run
from scenarios import mlp, null

PATIENCE = 120  # seconds; only a hang reaches it
PIPELINES = ('name = "gpipe"\nmicrobatches = 2', 'name = "1f1b"\nmicrobatches = 2')
LOCAL = ('name = "sequential-local"\nvariant = "serial"', 'name = "ppll"')
HANGS = null('name = "gpipe"\nmicrobatches = 2', forward="3600s")
TOO_LARGE = mlp('name = "gpipe"\nmicrobatches = 2', cluster='memory = "1MB"', width=512, extra='[backend]\nname = "null"\n')
GOALS = """# Three scenarios and what they should show.
title = "A small campaign"
[[scenario]]
name = "b-first"
file = "b.toml"
[[scenario]]
name = "a-second"
file = "a.toml"
set = ["training.batch=16"]
beside = ["b-first"]
[[reference]]
name = "serial"
schedules = ["sequential-local variant=serial"]
[[reference]]
name = "pipelines"
schedules = ["gpipe", "1f1b"]
[[goal]]
name = "PPLL overlaps"
figure = "speedup"
over = "serial"
scenarios = ["b-first"]
schedules = ["ppll"]
at_least = 1.1
[[goal]]
name = "PPLL works wonders"
figure = "speedup"
over = "serial"
schedules = ["ppll"]
of = "best"
at_least = 50
[[goal]]
name = "times"
figure = "error"
at_most = 100
"""


def cells(text):
    """Markdown's or a page's tables: their rows, cell by cell."""
    if "<table" in text:
        return [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<t[hd].*?</t[hd]>", row)] for row in re.findall("<tr>.*?</tr>", text)]
    return [[cell.strip().replace("\\|", "|").replace("&lt;", "<").replace("&amp;", "&") for cell in line.strip("|").split(" | ")]
            for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]


class Campaign(InFolder):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.inputs = self.folder / "in"

    def put(self, name, *schedules, **options):
        return self.write(f"in/{name}.toml", null(*schedules, **options))

    def command(self, *more):
        return ["campaign", "--scenarios", self.inputs, "--out", self.out, *more]

    def campaign(self, *more, code=0):
        answer = run(*self.command(*more))
        self.assertEqual(answer.returncode, code, answer.stdout + answer.stderr)
        return answer

    def start(self, *more):
        process = subprocess.Popen([PROGRAM, *map(str, self.command(*more))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_until(self, done, process):
        end = time.monotonic() + PATIENCE
        while not done():
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(process.poll(), "it ended before")
            time.sleep(0.02)

    def status(self):
        file = self.out / "campaign.json"
        return {name: one["status"] for name, one in json.loads(file.read_text())["scenarios"].items()} if file.exists() else {}

    def report(self):
        return json.loads((self.out / "report.json").read_text())

    def stamps(self, name):
        """Content and time of everything in a scenario's results."""
        return {file: ((self.out / name / file).read_bytes(), (self.out / name / file).stat().st_mtime_ns) for file in files_of(self.out / name)}

    def children_of(self, process):
        return pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


class Whole(Campaign):
    def test_every_scenario_is_run_as_run_does_it(self):
        self.put("b", *PIPELINES), self.put("a", *LOCAL)
        answer = self.campaign("--json")
        told = json.loads(answer.stdout)
        self.assertEqual((told["left"], told["failed"], told["interrupted"]), ([], [], False))
        self.assertEqual([scenario["name"] for scenario in told["report"]["scenarios"]], ["a", "b"])
        self.assertEqual(told["report"], self.report())
        self.assertEqual(answer.stderr.count("complete after"), 2)
        self.assertLess(answer.stderr.index("a: complete"), answer.stderr.index("b: complete"))
        for name, labels in [("a", ["sequential-local-variant-serial", "ppll"]), ("b", ["gpipe", "1f1b"])]:
            expected = ["profile.json", "report.html", "report.json", "report.md", "run.json"]
            expected += [f"timelines/{label}.{side}.json" for label in labels for side in ["measured", "predicted"]]
            self.assertEqual(files_of(self.out / name), sorted(expected))
            self.assertEqual(run("report", self.out / name, "--out", self.folder / "again").returncode, 0)

    def test_a_finished_campaign_only_writes_its_report_again(self):
        self.put("a", *LOCAL)
        self.campaign()
        before, report = self.stamps("a"), (self.out / "report.json").read_bytes()
        (self.out / "report.json").unlink()
        answer = self.campaign()
        self.assertEqual(answer.stderr, "")
        self.assertEqual(self.stamps("a"), before)
        self.assertEqual((self.out / "report.json").read_bytes(), report)

    def test_the_three_forms_of_the_report_say_the_same(self):
        self.write("in/campaign.toml", GOALS)
        self.put("b", *LOCAL, *PIPELINES), self.put("a", *LOCAL)
        self.campaign()
        report = self.report()
        self.assertEqual([scenario["name"] for scenario in report["scenarios"]], ["b-first", "a-second"])
        page, markdown = (self.out / "report.html").read_text(), (self.out / "report.md").read_text()
        rows = cells(markdown)
        self.assertEqual(cells(page), rows)
        for scenario in report["scenarios"]:
            for text in [page, markdown]:
                self.assertRegex(text, rf'["(]{scenario["name"]}/report\.(html|md)[")]')
            for schedule in scenario["schedules"]:
                times, idle = [row for row in rows if row[:2] == [scenario["name"], schedule["label"]]]
                predicted, measured = schedule["predicted"], schedule["measured"]
                self.assertAlmostEqual(schedule["error"], predicted["iteration_ns"] / measured["iteration_ns"] - 1, 9)
                self.assertEqual(times[5], f"{100 * schedule['error']:+.1f} %".replace("-0.0", "+0.0"))
                value, unit = times[3].split()
                self.assertAlmostEqual(float(value), measured["iteration_ns"] / {"ms": MS, "s": 1000 * MS}[unit], delta=0.005 * float(value))  # three digits
                self.assertRegex(times[4], r"^[0-9.]+( \S+)? to [0-9.]+ \S+ \(n=1\)$")
                self.assertEqual(times[6:], [f"{speedup[side]:.2f}x" if speedup[side] is not None else "" for speedup in schedule["speedups"] for side in ["predicted", "measured"]])
                self.assertEqual(idle[2:4], [f"{100 * side['idle_fraction']:.1f} %" for side in [predicted, measured]])
        goals = {row[0]: row[1:] for row in rows if row[0] in {goal["goal"] for goal in report["goals"]}}
        overlaps, wonders, times = report["goals"]
        self.assertEqual([overlaps["verdict"], wonders["verdict"], times["verdict"]], ["met", "missed", "met"])
        self.assertEqual(goals["PPLL works wonders"], ["at least 50.00x", f"{wonders['value']:.2f}x", f"{wonders['scenario']}, ppll", f"missed by {50 - wonders['value']:.2f}x"])
        self.assertEqual(goals["PPLL overlaps"], ["at least 1.10x", f"{overlaps['value']:.2f}x", "b-first, ppll", "met"])

    def test_speed_ups_are_per_sample_and_reach_into_scenarios_beside(self):
        self.write("in/campaign.toml", GOALS)
        self.put("b", *LOCAL, *PIPELINES), self.put("a", *LOCAL)
        self.campaign()
        first, second = ({schedule["label"]: schedule for schedule in scenario["schedules"]} for scenario in self.report()["scenarios"])
        pace = lambda schedule, side="measured": schedule[side]["iteration_ns"] / schedule["samples"]
        self.assertEqual((first["ppll"]["samples"], second["ppll"]["samples"]), (8, 16))
        for side in ["predicted", "measured"]:
            pipelines = min(pace(first["gpipe"], side), pace(first["1f1b"], side))
            self.assertAlmostEqual(second["ppll"]["speedups"][1][side], pipelines / pace(second["ppll"], side), 9)
            self.assertAlmostEqual(first["ppll"]["speedups"][0][side], pace(first["sequential-local variant=serial"], side) / pace(first["ppll"], side), 9)
            both = min(pace(one["sequential-local variant=serial"], side) for one in [first, second])
            self.assertAlmostEqual(second["ppll"]["speedups"][0][side], both / pace(second["ppll"], side), 9)


class CutOff(Campaign):
    def begun(self, number):
        """Starts a campaign whose second scenario would take hours, and sends the signal while that is at work."""
        self.put("a", *LOCAL), self.write("in/b.toml", HANGS), self.put("c", *PIPELINES)
        process = self.start()
        self.wait_until(lambda: self.status().get("b") == "begun", process)
        self.wait_until(lambda: self.children_of(process), process)
        children = self.children_of(process)
        process.send_signal(number)
        output, error = process.communicate(timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while any(pathlib.Path(f"/proc/{child}/cmdline").exists() and pathlib.Path(f"/proc/{child}/cmdline").read_bytes() for child in children):
            self.assertLess(time.monotonic(), end, "its process lives on")
            time.sleep(0.02)
        self.assertEqual(self.status(), {"a": "complete", "b": "begun"})
        return process.returncode, error

    def goes_on(self):
        """The rest runs once the scenario is mended; what was complete stays as it was."""
        before = self.stamps("a")
        self.put("b", 'name = "gpipe"\nmicrobatches = 2')
        self.campaign()
        self.assertEqual(self.stamps("a"), before)
        self.assertEqual(self.status(), {"a": "complete", "b": "complete", "c": "complete"})
        self.assertEqual([scenario["status"] for scenario in self.report()["scenarios"]], ["complete"] * 3)

    def test_a_killed_campaign_goes_on(self):
        code, _ = self.begun(signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.assertFalse((self.out / "report.json").exists())
        self.goes_on()

    def test_what_a_kill_left_half_done_is_no_result(self):
        self.begun(signal.SIGKILL)
        # As if it had been killed after the run had written its results, and before that was noted.
        shutil.copytree(self.out / "a", self.out / "b", dirs_exist_ok=True)
        self.campaign("--time-limit", "1us", code=1)  # time for the report alone
        self.assertEqual([scenario["status"] for scenario in self.report()["scenarios"]], ["complete", "not run", "not run"])
        self.assertIn(["b", "gpipe", "not measured"], [row[:3] for row in cells((self.out / "report.md").read_text())])
        self.goes_on()
        self.assertEqual([schedule["label"] for schedule in self.report()["scenarios"][1]["schedules"]], ["gpipe"])

    def test_ctrl_c_writes_the_report_of_what_there_is(self):
        for number in [signal.SIGINT, signal.SIGTERM]:
            with self.subTest(number):
                shutil.rmtree(self.out, ignore_errors=True)
                code, error = self.begun(number)
                self.assertEqual(code, 1)
                self.assertIn("interrupted; not run yet: b, c; run the same command again to go on", error)
                self.assertEqual([scenario["status"] for scenario in self.report()["scenarios"]], ["complete", "not run", "not run"])
                self.assertFalse((self.out / "b").exists())
                self.assertIn(["b", "gpipe", "not measured"], [row[:3] for row in cells((self.out / "report.md").read_text())])
                self.goes_on()

    def test_the_time_limit_ends_what_takes_longer_and_the_same_command_goes_on(self):
        self.put("a", *LOCAL), self.write("in/b.toml", HANGS), self.put("c", *PIPELINES)
        answer = self.campaign("--time-limit", "8s", code=1)
        self.assertIn("b: cut off after", answer.stderr)
        self.assertIn("the time limit is reached; not run yet: b, c; run the same command again to go on", answer.stderr)
        self.assertEqual(self.status(), {"a": "complete", "b": "begun"})
        # What was never tried has its turn first; what is known to take longer than all of the limit is not begun.
        answer = self.campaign("--time-limit", "8s", code=1)
        self.assertIn("c: complete", answer.stderr)
        self.assertRegex(answer.stderr, r"b: takes about \S+ s, but \S+ m?s are left; it is not begun\nb: needs a longer --time-limit than 8")
        self.assertIn("not run yet: b;", answer.stderr)
        self.goes_on()

    def test_a_scenario_that_would_not_end_in_time_is_not_begun(self):
        self.put("a", *LOCAL)
        self.campaign()
        state = json.loads((self.out / "campaign.json").read_text())
        self.assertEqual(state["scenarios"]["a"]["work"], 2)
        state["scenarios"]["a"]["seconds"] = 200  # 100 s per schedule and round
        (self.out / "campaign.json").write_text(json.dumps(state))
        self.put("b", *PIPELINES, repeats=2)
        self.assertRegex(self.campaign("--time-limit", "5min", code=1).stderr, r"b: takes about 400 s, but 29\d s are left; it is not begun\nb: needs a longer --time-limit than 300 s")
        self.assertEqual(self.status(), {"a": "complete"})
        self.campaign("--time-limit", "10min")


class Failing(Campaign):
    def test_the_others_go_on_and_it_is_tried_again(self):
        self.put("a", *LOCAL), self.put("c", *PIPELINES)
        # More memory than its devices have: known when the run begins.
        self.write("in/b.toml", TOO_LARGE)
        answer = self.campaign(code=1)
        self.assertRegex(answer.stderr, r"b: failed: gpipe: rank \d needs .* it is not run")
        self.assertIn("bubblescope: failed: b; the same command tries them again", answer.stderr)
        failed = self.report()["scenarios"][1]
        self.assertEqual((failed["status"], failed["report"]), ("failed", ""))
        self.assertRegex(failed["reason"], r"gpipe: rank \d needs")
        for name in ["report.md", "report.html"]:
            self.assertIn("but its device has", (self.out / name).read_text())
            self.assertIn(["b", "gpipe", "no result"], [row[:3] for row in cells((self.out / name).read_text())])
        before = self.stamps("a"), self.stamps("c")
        self.put("b", 'name = "gpipe"\nmicrobatches = 2')
        self.campaign()
        self.assertEqual((self.stamps("a"), self.stamps("c")), before)
        self.assertEqual(self.status()["b"], "complete")

    def test_a_second_try_that_is_cut_off_leaves_what_the_first_one_brought(self):
        self.put("a", *LOCAL, forward="20ms")
        self.campaign()
        # As if one schedule of several had failed, after no time that would keep it from being tried again.
        state = json.loads((self.out / "campaign.json").read_text())
        state["scenarios"]["a"].update(status="failed", reason="one of its schedules failed", seconds=0)
        (self.out / "campaign.json").write_text(json.dumps(state))
        before = self.stamps("a")
        answer = self.campaign("--time-limit", "500ms", code=1)
        self.assertIn("a: cut off after", answer.stderr)
        self.assertEqual(self.stamps("a"), before)
        self.assertFalse((self.out / "a.again").exists())
        (scenario,) = self.report()["scenarios"]
        self.assertEqual((scenario["status"], scenario["reason"]), ("failed", "one of its schedules failed"))
        self.assertIsNotNone(scenario["schedules"][0]["measured"])
        self.campaign()
        self.assertEqual(self.status(), {"a": "complete"})
        self.assertNotEqual(self.stamps("a"), before)

    def test_a_backend_that_is_not_there_is_a_reason(self):
        self.put("a", *LOCAL)
        self.write("in/b.toml", null('name = "gpipe"\nmicrobatches = 2').replace('name = "null"', 'name = "cuda"') + '[model]\nname = "mlp"\n')
        answer = self.campaign("--json", code=1)
        self.assertEqual(json.loads(answer.stdout)["failed"], ["b"])
        self.assertNotEqual(self.report()["scenarios"][1]["reason"], "")

    def test_a_process_that_dies_is_a_failure_and_its_own_limit_another(self):
        self.write("in/hangs.toml", HANGS)
        self.put("good", *PIPELINES)
        self.write("in/campaign.toml", '# One hangs.\ntitle = "t"\n[[scenario]]\nfile = "hangs.toml"\nlimit = "1s"\n[[scenario]]\nfile = "good.toml"\n')
        answer = self.campaign(code=1)
        self.assertIn("hangs: failed: took longer than its limit of 1.00 s", answer.stderr)
        self.assertEqual(self.status(), {"hangs": "failed", "good": "complete"})
        self.write("in/campaign.toml", '# One hangs.\ntitle = "t"\n[[scenario]]\nfile = "hangs.toml"\n[[scenario]]\nfile = "good.toml"\n')
        process = self.start()
        self.wait_until(lambda: self.children_of(process), process)
        os.kill(int(self.children_of(process)[0]), signal.SIGSEGV)
        _, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1)
        self.assertIn("hangs: failed: ended by signal 11 (Segmentation fault)", error)


class Changed(Campaign):
    def test_a_changed_scenario_is_run_again_and_says_so(self):
        self.put("a", *LOCAL), self.put("b", *PIPELINES)
        self.campaign()
        before = self.stamps("a")
        self.put("b", 'name = "naive"')
        answer = self.campaign()
        self.assertIn("b: the scenario has changed; it is run again\n", answer.stderr)
        self.assertNotIn("a: ", answer.stderr)
        self.assertEqual(self.stamps("a"), before)
        self.assertEqual([schedule["label"] for schedule in self.report()["scenarios"][1]["schedules"]], ["naive"])
        self.assertIn("the scenario has changed", self.campaign("--set", "run.iterations=3").stderr)

    def test_another_version_of_the_program_measures_again(self):
        self.put("a", *LOCAL)
        self.campaign()
        state = json.loads((self.out / "campaign.json").read_text())
        state["scenarios"]["a"]["version"] = "bubblescope 0.0.1"
        (self.out / "campaign.json").write_text(json.dumps(state))
        self.assertIn("a: was run by another version of the program; it is run again", self.campaign().stderr)

    def test_another_build_keeps_results_and_the_report_says_so(self):
        self.put("a", *LOCAL), self.put("b", *PIPELINES)
        self.campaign()
        self.assertEqual(self.report()["notes"], ["2 of 2 scenarios are complete."])
        before = self.stamps("a")
        state = json.loads((self.out / "campaign.json").read_text())
        self.assertRegex(state["scenarios"]["a"]["build"], "^[0-9a-f]{16}$")
        state["scenarios"]["a"]["build"] = "0" * 16
        (self.out / "campaign.json").write_text(json.dumps(state))
        self.campaign()
        self.assertEqual(self.stamps("a"), before)
        self.assertIn("The scenarios were run by 2 builds of the program.", self.report()["notes"])

    def test_damaged_results_are_measured_again(self):
        self.put("a", *LOCAL)
        self.campaign()
        next((self.out / "a/timelines").glob("*.measured.json")).write_text("{")
        self.assertIn("a: its results are not there any more or damaged; it is run again", self.campaign().stderr)
        self.assertEqual(self.report()["scenarios"][0]["status"], "complete")


class Refused(Campaign):
    def refused(self, *expected, more=()):
        message = self.fails(2, *self.command(*more))
        for part in expected:
            self.assertIn(part, message)
        self.assertFalse((self.out / "campaign.json").exists())

    def test_a_folder_that_cannot_be_written(self):
        self.put("a", *LOCAL)
        self.write("out", "a file")
        self.assertIn("out: nothing can be written there", self.fails(2, *self.command()))

    def test_a_folder_of_something_else_is_not_replaced(self):
        self.put("a", *LOCAL)
        self.write("out/a/mine.txt", "mine")
        self.refused("out/a: is there already and is no part of a campaign")
        self.assertEqual(files_of(self.out), ["a/mine.txt"])

    def test_a_state_that_is_none(self):
        self.put("a", *LOCAL)
        for damaged in ["", "[]", '{"schema_version": 9}', '{"schema_version": 1, "scenarios": {"a": {}}}']:
            self.write("out/campaign.json", damaged)
            self.assertIn("campaign.json", self.fails(2, *self.command()))

    def test_a_second_campaign_in_the_same_folder(self):
        self.write("in/a.toml", HANGS)
        process = self.start()
        self.wait_until(lambda: self.status().get("a") == "begun", process)
        self.assertIn("another campaign is at work there", self.fails(2, *self.command()))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)

    def test_no_scenarios(self):
        self.refused("in: cannot be read")
        self.inputs.mkdir()
        self.refused("in: there is no scenario in it")

    def test_a_scenario_with_a_mistake_before_anything_is_run(self):
        self.put("a", *LOCAL)
        self.write("in/b.toml", "[modle]\n")
        self.refused("b.toml:1:", "did you mean 'model'?")
        self.assertEqual(files_of(self.folder / "out") if self.out.exists() else [], [])

    def test_a_time_limit_that_is_none(self):
        self.put("a", *LOCAL)
        self.refused("'soon' is not a duration", more=["--time-limit", "soon"])
        self.refused("expected a unit, such as 20min", more=["--time-limit", "25"])

    def test_mistakes_in_the_campaign_file(self):
        self.put("a", *LOCAL), self.put("b", *LOCAL)
        for old, new, expected in [
                ('name = "b-first"', 'nmae = "b-first"', r"campaign\.toml:4:1: unknown key 'nmae' in \[\[scenario\]\]; .*did you mean 'name'\?"),
                ('file = "b.toml"', "", r"campaign\.toml:3:1: \[\[scenario\]\] has no 'file'"),
                ('name = "b-first"', 'name = "../b"', r"'\.\./b' is no name for a folder"),
                ('name = "b-first"', 'name = "a-second"', "two scenarios are called 'a-second'"),
                ('beside = ["b-first"]', 'beside = ["b-frist"]', r"there is no scenario 'b-frist'; .*did you mean 'b-first'\?"),
                ('over = "serial"', 'over = "serail"', r"there is no \[\[reference\]\] 'serail'; .*did you mean 'serial'\?"),
                ('schedules = ["ppll"]', 'schedules = ["plpl"]', r"the goal 'PPLL overlaps' names the schedule 'plpl', which none of its scenarios has"),
                ('schedules = ["gpipe", "1f1b"]', 'schedules = ["gpipe", "1f1"]', "the reference 'pipelines' names the schedule"),
                ("at_least = 1.1", "at_most = 1.1", "the goal 'PPLL overlaps' needs 'at_least'"),
                ('figure = "error"', 'figure = "errors"', "expected one of error, idle, speedup"),
                ("at_most = 100", "at_most = -1", "expected a number of at least 0"),
                ('set = ["training.batch=16"]', 'limit = "3 days"', r"campaign\.toml:9:9: '3 days' is not a duration"),
                ('title = "A small campaign"', 'title = "A small', r"campaign\.toml:2:\d+: ")]:
            with self.subTest(new):
                self.put("b", *LOCAL, *PIPELINES)
                self.write("in/campaign.toml", GOALS.replace(old, new, 1))
                self.assertRegex(self.fails(2, *self.command()), expected)


class OnAGpu(unittest.TestCase):
    """The campaign that is meant for a GPU: all of it can be predicted without one."""

    FOLDER = SOURCE / "scenarios/h200"

    def test_every_scenario_is_predicted(self):
        entries = tomllib.loads((self.FOLDER / "campaign.toml").read_text())["scenario"]
        self.assertEqual({entry["file"] for entry in entries} | {"campaign.toml"}, {file.name for file in self.FOLDER.glob("*.toml")})
        for entry in entries:
            with self.subTest(entry["name"]):
                answer = run("predict", self.FOLDER / entry["file"], *(word for change in entry.get("set", []) for word in ["--set", change]), "--json")
                self.assertEqual(answer.returncode, 0, answer.stderr)
                told = json.loads(answer.stdout)
                self.assertEqual(told["notes"], [])  # all fit into memory
                self.assertTrue(all(result["period_ns"] > 0 for result in told["results"]))


class Carried(InFolder):
    """What `cmake --install --component carry` lays out runs elsewhere, with nothing but what it holds."""

    def setUp(self):
        super().setUp()
        self.carried = self.folder / "carried"
        install = ["cmake", "--install", PROGRAM.parent, "--component", "carry", "--strip", "--prefix", self.carried]
        answer = subprocess.run(install, capture_output=True, text=True, timeout=300)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.elsewhere = self.folder / "elsewhere"
        self.elsewhere.mkdir()

    def run_there(self, *arguments):
        return subprocess.run([self.carried / "bubblescope", *map(str, arguments)], capture_output=True, text=True, timeout=300, cwd=self.elsewhere, env={"LD_LIBRARY_PATH": ""})

    def test_it_is_small_and_its_libraries_are_its_own(self):
        if "Release)" in run("--version").stdout:  # what sanitizers add is not meant to travel
            self.assertLess(sum(file.stat().st_size for file in self.carried.rglob("*") if file.is_file()), 64 << 20)
        loaded = subprocess.run(["ldd", self.carried / "bubblescope"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
        system = re.compile(r"linux-vdso|ld-linux|lib(c|m|dl|rt|pthread)\.so")
        others = [line for line in loaded.splitlines() if not system.search(line)]
        self.assertTrue(others)
        for line in others:
            self.assertIn(f"{self.carried}/lib/", line)

    def test_it_runs_and_finds_its_campaign(self):
        self.assertIn("campaign", self.run_there("--help").stdout)
        scenario = self.write("s.toml", null(*PIPELINES))
        answer = self.run_there("campaign", "--scenarios", scenario, "--out", "out")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        # No time for any: all of them are named.
        answer = self.run_there("campaign", "--out", "h200", "--time-limit", "1us", "--json")
        self.assertEqual(answer.returncode, 1, answer.stderr)
        entries = tomllib.loads((SOURCE / "scenarios/h200/campaign.toml").read_text())["scenario"]
        told = json.loads(answer.stdout)
        self.assertEqual(told["left"], [entry.get("name", "") for entry in entries])
        self.assertEqual({goal["verdict"] for goal in told["report"]["goals"]}, {"not measured"})


if __name__ == "__main__":
    main()
