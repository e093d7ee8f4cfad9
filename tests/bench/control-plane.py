"""Size of the control plane: one sweep of so many jobs, planned, followed event by event to its end, and folded.

Usage: control-plane.py PROGRAM [--nodes 1000 10000 100000 1000000] [--fold-up-to 100000]
where PROGRAM is the built example `control-plane` of cedm-planner. Results are made up; no job runs, and neither broker nor store takes part.
Prints one line per size. Plan and fold are seconds on a core, so that other programs do not count; an event is by the clock.
"""

import argparse
import json
import subprocess
import sys

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("program")
arguments.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
arguments.add_argument("--fold-up-to", type=int, default=100_000, help="a fold needs every manifest in memory: some 3 GB for a million")
options = arguments.parse_args()

print("jobs | graph | plan from scratch | one event: median, 99 % | fold | memory per job: nothing done, all done")
for nodes in options.nodes:
    command = [options.program, str(nodes)] + ([] if nodes <= options.fold_up_to else ["no-fold"])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{nodes} jobs: {done.stderr}")
    found = json.loads(done.stdout)

    def seconds(name):
        return f"{found[name]:.2f} s" if name in found else "not run"

    print(
        f"{found['nodes']:,} | {seconds('make_s')} | {seconds('plan_s')} | {found['event_median_ms']:.3f} ms, {found['event_99_ms']:.3f} ms | "
        f"{seconds('fold_s')} | {found['idle_bytes_per_node']:.0f} B, {found['bytes_per_node']:.0f} B",
        flush=True,
    )
