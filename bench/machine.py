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
