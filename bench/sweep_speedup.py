#!/usr/bin/env python3
# How much faster a sweep is on more cores.
"""Runs one sweep with one thread, with several threads and over several processes in turns, so that the machine's drift
hits all, compares what they say byte by byte, and prints medians of the seconds with quartiles and of the speed-up in each
round.

    bench/sweep_speedup.py --program build/release/bubblescope --cores 2 --rounds 7 -o reports/sweep-cpu2.json

What is timed is the whole program, its start (and mpirun's) included."""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from machine import machine

OVER = "ranks=2:4:8,microbatches=4..64,schedule=all"


def seconds(command, expected):
    """And what it said, which must be the same as before."""
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True)
    took = time.monotonic() - begin
    if done.returncode != 0 or expected not in (None, done.stdout):
        sys.exit(f"{' '.join(command)}: {done.stderr.decode() or 'other results than with one thread'}")
    return took, done.stdout


def quartiles(values):
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(median, 4), "quartiles": [round(first, 4), round(third, 4)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--scenario", default="scenarios/demo.toml")
    parser.add_argument("--over", default=OVER)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", help="JSON")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds: expected at least 2")
    sweep = [args.program, "sweep", args.scenario, "--over", args.over, "--json", "--threads"]
    commands = {"one thread": [*sweep, "1"], f"{args.cores} threads": [*sweep, str(args.cores)],
                f"{args.cores} processes": ["mpirun", "-n", str(args.cores), *sweep, "1"]}
    times = {name: [] for name in commands}
    expected = None
    for _ in range(args.rounds + 1):
        for name, command in commands.items():
            took, expected = seconds(command, expected)
            times[name].append(took)
    times = {name: values[1:] for name, values in times.items()}  # the first round warms up
    one = times["one thread"]
    rows = json.loads(expected)["results"]
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(),
              "command": " ".join([pathlib.Path(__file__).name, *sys.argv[1:]]), "rows": len(rows), "rounds": args.rounds,
              "results": [{"name": name, "command": " ".join(commands[name]), "seconds": quartiles(values), "speedup": quartiles([a / b for a, b in zip(one, values)])} for name, values in times.items()]}
    print(f"{len(rows)} rows, the same bytes from all; {args.rounds} rounds")
    for entry in result["results"]:
        low, high = entry["speedup"]["quartiles"]
        print(f"{entry['name']:>12}: {entry['seconds']['median']:.2f} s, {entry['speedup']['median']:.2f} times as fast ({low:.2f} to {high:.2f})")
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
