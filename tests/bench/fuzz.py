# Mutated input files through the real program: never a crash, never a hang, always 0, 1 or 2.
"""Random mutations of valid schedules, scenarios, timelines, profiles and run folders.

FUZZ_SEED repeats a failure; `./test --full` tries many more (RC_PARAMS, as for rapidcheck)."""

import os
import random
import re
import resource
import shutil
import subprocess

from program import PROGRAM, SLOTS, SOURCE, InFolder, main, repetitions, run
from scenarios import null

MEMORY = 4 << 30
SANITIZED = any(mark in PROGRAM.read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
SECONDS = 600 if SANITIZED else 60  # a call takes milliseconds, rarely seconds; only a hang reaches this
NUMBERS = ["0", "-1", "1", "2", "7", "255", "256", "2000", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
           "-9223372036854775808", "1e308", "-1e308", "1e-308", "nan", "inf", "0.5", "99999999999999999999999999"]
WORDS = ["null", "true", "[]", "{}", '""', "F", "LB", "(", ")OVERLAP_F_B", ";", ",", "\n", "-", "@", "#", "=", "[[schedule]]", "\0", "\xff", "\xe2\x80\xa8", "[" * 3000, "(" * 3000]


def mutate(text, random_):
    """One to four edits: a number, a word, a line or a byte replaced, doubled, moved, cut or invented."""
    for _ in range(random_.choice([1, 1, 1, 2, 4])):
        kind = random_.randrange(9)
        numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
        words = list(re.finditer(r"[A-Za-z_]+|[^\sA-Za-z_0-9]", text))
        at = random_.randrange(len(text) + 1)
        if kind <= 2 and numbers:
            number = random_.choice(numbers)
            text = text[:number.start()] + random_.choice(NUMBERS) + text[number.end():]
        elif kind <= 4 and words:
            word = random_.choice(words)
            text = text[:word.start()] + random_.choice([random_.choice(WORDS), random_.choice(words)[0], ""]) + text[word.end():]
        elif kind == 5:
            text = text[:at]
        elif kind == 6:
            text = text[:at] + random_.choice(WORDS + NUMBERS) + text[at:]
        elif kind == 7:
            lines = text.split("\n")
            i, j = random_.randrange(len(lines)), random_.randrange(len(lines))
            lines[i:i + 1] = random_.choice([[], [lines[i]] * 2, [lines[j]]])
            text = "\n".join(lines)
        elif text:
            at = min(at, len(text) - 1)
            text = text[:at] + chr(random_.randrange(256)) + text[at + 1:]
    return text


def little_memory():
    """A program that asks for too much is refused by the system, not by the out-of-memory killer."""
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Fuzz(InFolder):
    def attack(self, name, text, *commands, normal=30, folder=None):
        """Runs every command on mutations of `text`, in the file `name`, which stands for itself in them."""
        seed = int(os.environ.get("FUZZ_SEED", "1"))
        random_ = random.Random(f"{seed} {name}")
        file = (folder or self.folder) / name
        for attempt in range(repetitions(normal)):
            mutated = mutate(text, random_)
            file.write_bytes(mutated.encode("latin-1", errors="replace"))
            command = [str(file) if word == name else str(word) for word in commands[attempt % len(commands)]]
            with self.subTest(seed=seed, attempt=attempt, command=command):
                answer = subprocess.run([PROGRAM, *command], capture_output=True, timeout=SECONDS, preexec_fn=little_memory, cwd=self.folder)
                if answer.returncode not in (0, 1, 2) or b"bad_alloc" in answer.stderr:
                    kept = shutil.copy(file, f"/tmp/bubblescope-fuzz-{attempt}-{name}")
                    self.fail(f"exit code {answer.returncode} with {kept}:\n{answer.stderr.decode(errors='replace')[-2000:]}")
                if answer.returncode == 2:
                    self.assertTrue(answer.stderr.startswith(b"bubblescope: "), answer.stderr)

    def schedule(self, name, *options):
        return run("export", "--schedule", *options, "--ranks", 3, "--microbatches", 3, "--as", name).stdout

    def test_schedule_files(self):
        for name, text in [("compute.csv", self.schedule("torch-csv", "1f1b")), ("comms.csv", self.schedule("torch-comms-csv", "interleaved-1f1b")),
                           ("ppll.psched", self.schedule("psched", "ppll", "--queue", 1)), ("gpipe.psched", self.schedule("psched", "gpipe"))]:
            self.attack(name, text, ["check", name], ["predict", "--program", name, *SLOTS], ["predict", "--program", name, *SLOTS, "--json", "--iterations", 3, "--channel", "rank"])

    def test_cost_and_shape_flags(self):
        random_ = random.Random(os.environ.get("FUZZ_SEED", "1"))
        for attempt in range(repetitions(20)):
            cost, size = mutate("F=1:2ms,B=3us,LB=1", random_).replace("\0", ""), random_.choice(NUMBERS)
            command = ["predict", "--schedule", "all", "--ranks", random_.choice(["2", size]), "--microbatches", random_.choice(["4", size]), "--cost", cost,
                       "--latency", random_.choice(["1us", size]), "--queue", random_.choice(["1", size])]
            with self.subTest(command=command):
                answer = subprocess.run([PROGRAM, *command], capture_output=True, timeout=SECONDS, preexec_fn=little_memory)
                self.assertIn(answer.returncode, (0, 1, 2), answer.stderr)

    def test_scenarios(self):
        for source in ["demo.toml", "tiny/ppll.toml", "tiny/interleaved-1f1b.toml"]:
            name = source.replace("/", "-")
            self.attack(name, (SOURCE / "scenarios" / source).read_text(), ["predict", name], ["predict", name, "--schedule", "all", "--json"])

    def test_stored_runs(self):
        for schedule in ['"gpipe"\nmicrobatches = 2', '"chimera"\nmicrobatches = 4']:
            self.attack_stored_run("name = " + schedule)

    def attack_stored_run(self, schedule):
        scenario = self.write("s.toml", null(schedule))
        out = self.folder / "out"
        self.assertEqual(run("run", scenario, "--out", out).returncode, 0)
        predicted, measured = (next((out / "timelines").glob(f"*.{side}.json")) for side in ["predicted", "measured"])
        name = "t.json"
        self.attack(name, measured.read_text(), ["compare", predicted, name], ["compare", name, predicted, "--json"], ["compare", name, name],
                    ["report", predicted, name, "--out", self.folder / "report"], ["export", name, "--as", "chrome"], normal=50)
        profile = (out / "profile.json").read_text()
        self.write("q.toml", null(schedule).replace('source = "uniform"', 'source = "profile"\nprofile = "profile.json"'))
        self.attack("profile.json", profile, ["predict", "q.toml"], ["predict", "q.toml", "--json"])
        self.attack("run.json", (out / "run.json").read_text(), ["report", out, "--out", self.folder / "report"], normal=20, folder=out)


if __name__ == "__main__":
    main()
