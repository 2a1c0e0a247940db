# What recorded figures say of the machine.
"""Imported by the scripts that record figures."""

import os
import pathlib
import platform


def machine():
    """Its processor, the cores that this process may use, and the load."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "load": [round(load, 1) for load in os.getloadavg()]}


def steal_clock():
    """Ticks that other guests of the host took from the cores, and all ticks, since the start. Linux."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu "):
            ticks = [int(number) for number in line.split()[1:9]]
            return ticks[7], sum(ticks)
    return 0, 0


def steal_since(before):
    """The share of the cores' time that was stolen since `before`, a steal_clock()."""
    now = steal_clock()
    return round((now[0] - before[0]) / max(1, now[1] - before[1]), 4)
