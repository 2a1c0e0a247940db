#!/usr/bin/env python3
# Turns measurements of schedules_perf.cpp into a Markdown table and a plot of the cost per op.
"""    bubblescope-perf --benchmark_filter='^(schedule|search|size)/' --benchmark_repetitions=3 --benchmark_out=reports/perf-schedules.json
    bench/perf/plot.py reports/perf-schedules.json

writes reports/perf-schedules.md and reports/perf-schedules.svg. Times are processor times, medians of the repetitions."""

import collections
import json
import math
import pathlib
import statistics
import sys

COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#9498a0"]
LEFT, TOP, WIDTH, HEIGHT = 60, 20, 520, 300


def measured(file):
    """(group, schedule, phase, size) -> (milliseconds, ops, ranks, microbatches)."""
    times = collections.defaultdict(list)
    for run in json.loads(file.read_text())["benchmarks"]:
        if run["run_type"] != "iteration" or not run["name"].startswith(("schedule/", "size/")):
            continue
        group, schedule, phase, size = run["run_name"].split("/")[:4]
        times[group, schedule, phase, int(size)].append((run["cpu_time"], run["ops"], run["ranks"], run["microbatches"]))
    return {key: (statistics.median(row[0] for row in rows), *map(int, rows[0][1:])) for key, rows in times.items()}


def schedule_table(data):
    lines = ["| schedule | ranks | microbatches | ops | generate | lower | simulate | all three |", "|---|---|---|---|---|---|---|---|"]
    for schedule in dict.fromkeys(key[1] for key in data if key[0] == "schedule"):
        rows = {key[2]: value for key, value in data.items() if key[:2] == ("schedule", schedule)}
        _, ops, ranks, microbatches = rows["whole"]
        times = " | ".join(f"{rows[phase][0]:.0f} ms" for phase in ["generate", "lower", "simulate", "whole"])
        lines.append(f"| `{schedule}` | {ranks} | {microbatches} | {ops:,} | {times} |")
    return lines


def searches(file):
    """(schedule, shape) -> (seconds, processor seconds), medians."""
    times = collections.defaultdict(list)
    for run in json.loads(file.read_text())["benchmarks"]:
        if run["run_type"] == "iteration" and run["name"].startswith("search/"):
            times[tuple(run["run_name"].split("/")[1:3])].append((run["real_time"] / 1e3, run["cpu_time"] / 1e3))
    return {key: tuple(map(statistics.median, zip(*rows))) for key, rows in times.items()}


def search_table(found):
    lines = ["| schedule | ranks x microbatches | seconds | of the processor |", "|---|---|---|---|"]
    return lines + [f"| `{schedule}` | {shape.replace('x', ' x ')} | {real:.1f} | {cpu:.1f} |" for (schedule, shape), (real, cpu) in found.items()]


def per_op(data, schedule, phase):
    """Ops and nanoseconds per op, by size."""
    return [(value[1], value[0] * 1e6 / value[1]) for key, value in sorted(data.items(), key=lambda item: item[0][3]) if key[:3] == ("size", schedule, phase)]


def size_table(data):
    names = list(dict.fromkeys(key[1] for key in data if key[0] == "size"))
    sizes = sorted({key[3] for key in data if key[0] == "size"})
    head = [f"10^{round(math.log10(size))} ops" for size in sizes]
    lines = [f"| schedule | what | {' | '.join(head)} | most below 10^7 over 10^4 | 10^7 over 10^4 |", "|---|---|" + "---|" * (len(sizes) + 2)]
    for name in names:
        for phase, what in [("simulate", "simulate"), ("lower+simulate", "lower, simulate"), ("whole", "all three")]:
            costs = [cost for _, cost in per_op(data, name, phase)]
            cells = " | ".join(f"{cost:.0f} ns" for cost in costs)
            lines.append(f"| `{name}` | {what} | {cells} | {max(costs[:-1]) / costs[0]:.2f} | {costs[-1] / costs[0]:.2f} |")
    return lines


def plot(data):
    """Cost per op over ops, both logarithmic: a full line for lowering and simulating, a dashed one with generating."""
    names = list(dict.fromkeys(key[1] for key in data if key[0] == "size"))
    lines = [(name, phase, per_op(data, name, phase)) for name in names for phase in ["lower+simulate", "whole"]]
    xs = [math.log10(x) for _, _, points in lines for x, _ in points]
    ys = [math.log10(y) for _, _, points in lines for _, y in points]
    low, high = math.floor(min(ys)), math.ceil(max(ys))

    def place(x, y):
        return (LEFT + WIDTH * (math.log10(x) - min(xs)) / (max(xs) - min(xs)), TOP + HEIGHT * (high - math.log10(y)) / (high - low))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 200} {TOP + HEIGHT + 50}" font-family="sans-serif" font-size="12">',
           f'<rect width="{LEFT + WIDTH + 200}" height="{TOP + HEIGHT + 50}" fill="white"/>']
    for power in range(low, high + 1):
        for step in range(1, 10 if power < high else 2):
            _, y = place(10 ** min(xs), step * 10 ** power)
            out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{"#aaa" if step == 1 else "#eee"}"/>')
            if step in (1, 2, 5):
                out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step * 10 ** power} ns</text>')
    for power in range(round(min(xs)), round(max(xs)) + 1):
        x, _ = place(10 ** min(max(power, min(xs)), max(xs)), 10 ** high)
        out.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">10<tspan dy="-5" font-size="9">{power}</tspan></text>')
    out.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 40}" text-anchor="middle">lowered ops</text>')
    for index, (name, phase, points) in enumerate(lines):
        colour, dash = COLOURS[names.index(name) % len(COLOURS)], ' stroke-dasharray="6 4"' if phase == "whole" else ""
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        y = TOP + 10 + 18 * index
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<line x1="{LEFT + WIDTH + 12}" x2="{LEFT + WIDTH + 42}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{LEFT + WIDTH + 48}" y="{y + 4}">{name}, {"all three" if phase == "whole" else "lower, simulate"}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    file = pathlib.Path(sys.argv[1])
    data = measured(file)
    context = json.loads(file.read_text())["context"]
    text = ["# What predicting a schedule costs", "",
            f"Generating, lowering and simulating, on one core of {context.get('cpu', 'a machine')} with {context['num_cpus']} cores that others used at the same time "
            f"(load {context['load_avg'][0]:.1f} at the start): processor times, medians of the repetitions; hold them against each other more than against a clock. {context['date'][:10]}.", "",
            f"    bubblescope-perf --benchmark_filter='^(schedule|search|size)/' --benchmark_repetitions=3 --benchmark_out={file.name}", f"    bench/perf/plot.py {file.name}", "",
            "## About a million ops of every schedule", "", *schedule_table(data), "",
            "Searched schedules (8 ranks) learn their order on fewer microbatches than they are then generated for; the time of that search is in `generate`.", "",
            "## Searches where memory is short", "", "F=10, I=12, W=8, 0.5 ms latency; on as many threads as there are cores. Orders far from the lower bound are annealed for longer.", "",
            *search_table(searches(file)), "",
            "## Cost per op by size", "", *size_table(data), "", f"![Cost per op over the number of ops]({file.stem}.svg)"]
    file.with_suffix(".md").write_text("\n".join(text) + "\n")
    file.with_suffix(".svg").write_text(plot(data))


if __name__ == "__main__":
    main()
