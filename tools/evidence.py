"""Compute the evidence of studies, and check it.

    python tools/evidence.py compute [STUDY ...] [--profile embedded] [--anew]
    python tools/evidence.py check [STUDY ...] [--profile embedded] [-k 3]
    python tools/evidence.py list

`compute` computes what is missing or stale, on all cores, or on the dask cluster whose address
XAI_DASK names; a run that was stopped goes on where it was. `check` computes k random cases of
every study again and fails where one differs.
"""

import argparse
import os
import sys
import time
from contextlib import nullcontext

import torch

from xai_utils import studies
from xai_utils.data import DataMissing


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/evidence.py", description=__doc__)
    parser.add_argument("command", choices=("compute", "check", "list"))
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="none: all")
    parser.add_argument("--profile", choices=studies.PROFILES, default="embedded")
    parser.add_argument("--anew", action="store_true", help="compute all, whatever is kept")
    parser.add_argument("-k", type=int, default=3, help="cases of each study to check")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31, help="of the choice")
    args = parser.parse_args()
    if unknown := set(args.studies) - studies.STUDIES.keys():
        parser.error(f"unknown study {', '.join(unknown)}: one of {', '.join(studies.STUDIES)}")
    chosen = [studies.STUDIES[name] for name in args.studies or studies.STUDIES]
    chosen = [study for study in chosen if study.parts(args.profile)]
    torch.set_num_threads(1)  # as the workers have it
    if args.command == "compute":
        return compute(chosen, args.profile, args.anew)
    if args.command == "list":
        return listed(chosen, args.profile)
    return check(chosen, args.profile, args.k, args.seed)


def compute(chosen, profile: str, anew: bool) -> int:
    missing = 0
    with cluster() as client:
        for study in chosen:
            start = time.time()
            try:
                done = studies.compute(study, profile, client, anew=anew)
            except DataMissing as error:
                print(f"{study.name}: {error}", file=sys.stderr)
                missing += 1
                continue
            told = f"computed {', '.join(done)}" if done else "is up to date"
            print(f"{study.name} {told} ({time.time() - start:.0f} s)", flush=True)
    return 2 if missing else 0


def check(chosen, profile: str, k: int, seed: int) -> int:
    wrong = 0
    for study in chosen:
        try:
            evidence = studies.load(study.name, profile)
        except studies.EvidenceMissing as error:
            print(error)
            continue
        checked = evidence.check(k, seed)
        print(evidence.told(checked), flush=True)
        if not studies.agree(checked):
            print(checked[~checked.agrees].to_string(index=False))
            print(f"stale: make evidence STUDY={study.name}")
            wrong += 1
    return 1 if wrong else 0


def listed(chosen, profile: str) -> int:
    for study in chosen:
        try:
            print(studies.load(study.name, profile).told())
        except studies.EvidenceMissing:
            print(f"{study.name}: not computed yet")
    return 0


def cluster():
    """A dask client: of the cluster that XAI_DASK names, else of a worker for each core; none where
    there is a GPU or one core."""
    from distributed import Client

    if os.environ.get("XAI_DASK"):
        return Client(os.environ["XAI_DASK"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available() or cores == 1:
        return nullcontext()
    alone = dict(n_workers=cores, threads_per_worker=1, memory_limit=0, dashboard_address=None)
    return Client(**alone)


if __name__ == "__main__":
    sys.exit(main())
