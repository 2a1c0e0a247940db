#!/usr/bin/env python3
# PyTorch's and our own training steps in turns.
"""Runs the steps of bench/peers/pytorch.py and the same ones with Bubblescope in turns, so that the machine's drift hits
both, and prints a table: milliseconds per batch, medians over the rounds with quartiles, and the ratio to PyTorch's eager
step.

    bench/peers/compare.py vit --program build/release/bubblescope --rounds 5 -o reports/peers-cpu2-vit.json
    bench/peers/compare.py resnet32 --program build/release/bubblescope --compile

Sequential local learning: PyTorch on one device, stage after stage; ours as `sequential-local` (serial), whose ranks take
turns, so one device's work likewise. 1F1B: two processes with Gloo on both sides of PyTorch, two ranks of one process
in ours. Both compute with the same number of threads per rank; ours loads its batches in the step, PyTorch's are
made before."""

import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from machine import machine


class NotAvailable(Exception):
    pass


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise NotAvailable((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return done.stdout


def peer(args, *flags):
    answer = json.loads(run([sys.executable, HERE / "pytorch.py", args.model, "--batch", args.batch, "--stages", 2, "--repeats", args.repeats, *flags]))
    args.torch = answer["torch"]
    return answer["median_ms"]


def ours(args, schedule):
    scenario = ROOT / "scenarios" / "cpu2" / f"{args.model}.toml"
    with tempfile.TemporaryDirectory() as folder:
        report = json.loads(run([args.program, "run", scenario, "--schedule", schedule, "--set", f"training.batch={args.batch}", "--repeats", 1, "--out", folder, "--json"]))
        samples = json.loads((pathlib.Path(folder) / "run.json").read_text())["schedules"][0]["samples"]
    return report["results"][0]["measured"]["iteration_ns"] * 1e-6 * args.batch / samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["vit", "resnet32"])
    parser.add_argument("--program", default=ROOT / "build/release/bubblescope", help="bubblescope")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=10, help="steps of PyTorch per round")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, where it works")
    parser.add_argument("-o", "--output", help="JSON file")
    parser.set_defaults(torch="not available")
    args = parser.parse_args()

    cases = {
        ("sequential-local", "PyTorch, eager"): lambda: peer(args),
        ("sequential-local", "Bubblescope"): lambda: ours(args, "sequential-local"),
        ("1f1b", "PyTorch, eager, Gloo"): lambda: peer(args, "--pipeline", "--microbatches", 4),
        ("1f1b", "Bubblescope"): lambda: ours(args, "1f1b"),
    }
    if args.compile:
        cases[("sequential-local", "PyTorch, torch.compile")] = lambda: peer(args, "--compile")
        cases[("1f1b", "PyTorch, torch.compile, Gloo")] = lambda: peer(args, "--pipeline", "--microbatches", 4, "--compile")
    times = {case: [] for case in cases}
    missing = {}
    for _ in range(args.rounds):
        for case, measure in cases.items():
            if case in missing:
                continue
            try:
                times[case].append(measure())
            except NotAvailable as reason:
                missing[case] = str(reason)

    results = [{"schedule": schedule, "program": program, "not_available": reason} for (schedule, program), reason in missing.items()]
    for result in results:
        print(f"{result['schedule']:17} {result['program']:24} not available: {result['not_available']}")
    for (schedule, program), found in times.items():
        if (schedule, program) in missing:
            continue
        eager = next((statistics.median(t) for (s, p), t in times.items() if s == schedule and p.startswith("PyTorch, eager") and t), float("nan"))
        first, median, third = statistics.quantiles(found, n=4) if len(found) > 1 else 3 * found
        results.append({"schedule": schedule, "program": program, "ms_per_batch": statistics.median(found), "quartiles_ms": [first, third], "rounds": len(found), "of_eager": statistics.median(found) / eager})
        print(f"{schedule:17} {program:24} {median:9.1f} ms ({first:.1f} to {third:.1f})  {statistics.median(found) / eager:5.2f} of PyTorch's eager step")
    if args.output:
        whole = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "command": "bench/peers/compare.py " + " ".join(sys.argv[1:]), "cpu": machine()["cpu"], "torch": args.torch, "batch": args.batch, "results": results}
        pathlib.Path(args.output).write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
