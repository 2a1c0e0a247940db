# What recorded figures say of the machine and of their spread.
"""Imported by the scripts that record figures."""

import os
import pathlib
import platform
import statistics


def machine():
    """Its processor, the cores that this process may use, and the load."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "load": [round(load, 1) for load in os.getloadavg()]}


def launch_environment():
    """For mpirun, which else refuses to be started by root, as in containers."""
    return {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def steal_clock():
    """Ticks that other guests of the host took from each of the cores that this process may use, and all its ticks, since
    the machine's start; proc(5)."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = (line.split() for line in pathlib.Path("/proc/stat").read_text().splitlines())
    return {words[0]: (int(words[8]), sum(map(int, words[1:9]))) for words in lines if words[0] in cores}


def steal_since(before):
    """The share of a core's time that was stolen since `before`, a steal_clock(), on the core where it is largest."""
    now = steal_clock()
    return round(max((now[core][0] - before[core][0]) / max(1, now[core][1] - before[core][1]) for core in before), 4)


def quartiles(values):
    """Of two figures or more."""
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(median, 4), "quartiles": [round(first, 4), round(third, 4)]}
