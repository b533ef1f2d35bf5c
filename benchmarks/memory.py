"""Does a long evaluation need more memory than a short one? Peak resident memory of a fresh process
at 50 and 500 samples.

python benchmarks/memory.py [50 500]
"""

import os
import resource
import subprocess
import sys
import tempfile

os.environ["XAI_PROGRESS"] = "0"


def run(n: int) -> None:
    import xai_utils as xu
    from xai_utils.methods import ones_map, random_map
    from xai_utils.metrics import confidence_drop, confidence_increase

    scenes = xu.load_dataset("scenes", n=n, objects=2)
    with tempfile.TemporaryDirectory() as out:
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        methods, metrics = (
            {"random": random_map, "ones": ones_map},
            [
                confidence_drop,
                confidence_increase,
            ],
        )
        table = xu.evaluate(methods, "conse-lite0", scenes, metrics, out=out, target="things")
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n:8d} {len(table):8d} {start / 1024:18.0f} {most / 1024:10.0f}", flush=True)


def main() -> None:
    print(f"{'samples':>8s} {'rows':>8s} {'before, MiB':>18s} {'peak, MiB':>10s}", flush=True)
    for n in sys.argv[1:] or ("50", "500"):
        subprocess.run([sys.executable, __file__, "--one", n], check=True)


if __name__ == "__main__":
    if "--one" in sys.argv:
        run(int(sys.argv[2]))
    else:
        main()
