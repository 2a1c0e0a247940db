#!/usr/bin/env python3
# How much faster a sweep is on more cores.
"""Runs one sweep with one thread, with several threads and over several processes in turns, so that the machine's drift
hits all, compares what they say byte by byte, and prints medians of the seconds with quartiles and of the speed-up in each
round. Beside them, what the machine itself allows: as many sweeps with one thread at once as there are cores, which share
nothing; sharing caches, memory and, in virtual machines, cores, they get slower, too.

    bench/sweep_speedup.py --program build/release/bubblescope --cores 2 --rounds 7 -o reports/sweep-cpu2.json

What is timed is the whole program, its start (and mpirun's) included."""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

from machine import launch_environment, machine, quartiles, steal_clock, steal_since

OVER = "ranks=2:4:8,microbatches=4..64,schedule=all"


def seconds(command, expected, copies=1):
    """How long that many of them at once take, and what they said, which must be the same as before."""
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(copies) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, env=launch_environment()), range(copies)))
    took = time.monotonic() - begin
    for done in runs:
        if done.returncode != 0 or expected not in (None, done.stdout):
            sys.exit(f"{' '.join(command)}: {done.stderr.decode() or 'other results than with one thread'}")
        expected = done.stdout
    return took, expected


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
    cores = args.cores
    # Name, command, how many of it at once.
    ways = [("one thread", [*sweep, "1"], 1), (f"{cores} threads", [*sweep, str(cores)], 1),
            (f"{cores} processes", ["mpirun", "--oversubscribe", "-n", str(cores), *sweep, "1"], 1), (f"{cores} sweeps at once", [*sweep, "1"], cores)]
    times = {name: [] for name, _, _ in ways}
    expected = None
    for turn in range(args.rounds + 1):
        if turn == 1:
            begin = steal_clock()
        for name, command, copies in ways:
            took, expected = seconds(command, expected, copies)
            times[name].append(took)
    times = {name: values[1:] for name, values in times.items()}  # the first round warms up
    one = times["one thread"]
    rows = json.loads(expected)["results"]
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(),
              "command": " ".join([pathlib.Path(__file__).name, *sys.argv[1:]]), "steal": steal_since(begin),
              "rows": len(rows), "rounds": args.rounds,
              "results": [{"name": name, "command": " ".join(command), "seconds": quartiles(times[name]),
                           "speedup": quartiles([copies * a / b for a, b in zip(one, times[name])])} for name, command, copies in ways]}
    print(f"{len(rows)} rows, the same bytes from all; {args.rounds} rounds, {result['steal']:.1%} of a core's time stolen by other guests")
    for entry in result["results"]:
        low, high = entry["speedup"]["quartiles"]
        print(f"{entry['name']:>16}: {entry['seconds']['median']:.2f} s, {entry['speedup']['median']:.2f} times as fast ({low:.2f} to {high:.2f})")
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
