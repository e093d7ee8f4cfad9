"""The whole pipeline on this machine: wall time, memory, and how long a job waits for its turn.

    cargo xtask bench pipeline [--sweep FILE] [--keep DIR]

Runs `cedm demo` in a fresh folder, the demo's own sweep by default, and reads off the manifests that it leaves:

  planned   from the last input's commit to the job in the queue: the coordinator's part
  started   from the queue to the first line of work, where a worker was free: the broker's and the worker's part
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--sweep", help="a sweep file over the image set `digits`; the demo's own when absent")
arguments.add_argument("--keep", help="folder for the system and the report; a temporary one when absent")
options = arguments.parse_args()

programs = os.environ.get("CEDM_BIN_DIR", "target/debug")


def children(root):
    """Process ids below `root`, itself included."""
    parents = {}
    for status in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(status, encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue  # gone in the meantime
        parents.setdefault(int(fields[1]), []).append(int(status.split("/")[2]))
    found, open_ = [], [root]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_.extend(parents.get(pid, []))
    return found


def resident(pids):
    """Proportional set size of the processes together, in bytes: shared libraries count once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            continue
    return total


def manifests(home):
    found = {}
    for path in glob.glob(os.path.join(home, "**", "manifest", "*"), recursive=True):
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        found[manifest["key"]] = manifest
    return found


def hops(found):
    """(planned, started) in milliseconds of every job whose inputs are jobs too; started only where a worker was free."""
    spans = {}
    for manifest in found.values():
        timings, worker = manifest["timings"], manifest["software"]["worker"]
        spans.setdefault(worker.split("-")[0], {}).setdefault(worker, []).append((timings["started_ms"], timings["finished_ms"]))
    for manifest in found.values():
        ends = [found[entry["key"]]["timings"]["finished_ms"] for entry in manifest["inputs"] if entry["key"] in found]
        if not ends:
            continue
        queued, started = manifest["timings"]["queued_ms"], manifest["timings"]["started_ms"]
        others = spans[manifest["software"]["worker"].split("-")[0]].values()
        free = any(not any(begin < started and queued < end for begin, end in work if begin != started) for work in others)
        yield queued - max(ends), started - queued if free else None


def spread(values):
    values = sorted(values)
    if len(values) < 2:
        return "too few"
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return f"median {statistics.median(values):6.0f} ms   75 % below {cuts[14]:6.0f} ms   ({len(values)} jobs)"


def main():
    with tempfile.TemporaryDirectory() as scratch:
        place = options.keep or scratch
        command = [os.path.join(programs, "cedm"), "--home", os.path.join(place, "home"), "demo", "--out", os.path.join(place, "report")]
        if options.sweep:
            command += ["--sweep", options.sweep]
        began, peak = time.monotonic(), 0
        demo = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while demo.poll() is None:
            peak = max(peak, resident(children(demo.pid)))
            time.sleep(1)
        seconds = time.monotonic() - began
        if demo.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {demo.returncode}")
        waits = list(hops(manifests(os.path.join(place, "home"))))
    print(f"wall time      {seconds:8.0f} s")
    print(f"peak memory    {peak / 2**30:8.2f} GiB (all processes, shared pages once)")
    # What waits for a bound or for a free worker waits for work, not for messages.
    print(f"planned        {spread([planned for planned, _ in waits if planned < 2000])}")
    print(f"started        {spread([started for _, started in waits if started is not None])}")
    sizes = {name: os.path.getsize(os.path.join(programs, name)) for name in sorted(os.listdir(programs)) if name.split(".")[0].startswith("cedm") and "." not in name}
    print("programs       " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
