#!/usr/bin/env python3
# What a hand-over between two processes costs beside bare MPI, and beside one within a process.
"""Runs bubblescope-perf-mpi several times, for its figures differ from one start of the processes to the next, and prints
medians over these runs with quartiles.

    bench/perf/handover.py --program build/release/bubblescope-perf-mpi --runs 9 -o reports/handover-cpu2.json

`ratio`: the median over pairs of a hand-over by the transport and one by MPI_Send and MPI_Recv, made one after the other. The
goal is 1.15 at most."""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from machine import launch_environment, machine, quartiles, steal_clock, steal_since

GOAL = 1.15
FIGURES = {"bare_us": "bare_us", "transport_us": "transport_us", "ratio": "ratio_of_pairs", "inside_us": "inside_us", "between_us": "between_us", "both_ways_us": "both_ways_us"}


def one_run(command):
    """Name of a benchmark -> its figures."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([*command, f"--benchmark_out={file.name}"], capture_output=True, text=True, env=launch_environment())
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return {entry["name"].removesuffix("/iterations:1/real_time"): entry for entry in json.load(file)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("-o", "--out", help="JSON")
    args = parser.parse_args()
    if args.runs < 2:
        parser.error("--runs: expected at least 2")
    command = ["mpirun", "--oversubscribe", "-n", "2", args.program]
    begin = steal_clock()
    runs = [one_run(command) for _ in range(args.runs)]
    results = [{"name": name, **{figure: quartiles([run[name][key] for run in runs]) for figure, key in FIGURES.items() if key in runs[0][name]}} for name in runs[0]]
    whole = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "machine": machine(), "steal": steal_since(begin),
             "command": " ".join(["bench/perf/handover.py", *sys.argv[1:]]), "runs": args.runs, "results": results}
    for result in results:
        print(f"{result['name']}: " + ", ".join(f"{name} {figure['median']:.4g} ({figure['quartiles'][0]:.4g} to {figure['quartiles'][1]:.4g})" for name, figure in result.items() if name != "name"))
        if "ratio" in result:
            print(f"  {'within' if result['ratio']['median'] <= GOAL else 'misses'} the goal of {GOAL} in the median")
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
