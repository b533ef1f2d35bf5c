"""`evaluate` under everything that can stop it; processes are really killed."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_job import alone, fails_on_dark_pictures, job, mean_of_channels, pictures

import xai_utils as xu
from xai_utils.keys import bare_code, code_key, describe
from xai_utils.methods import p_ibisa, random_map
from xai_utils.metrics import (
    confidence_drop,
    iou,
    map_area,
    mask_contrast,
    morf,
    roar_plus,
    zero_shot_roar,
)
from xai_utils.shards import read_shards

JOB = Path(__file__).with_name("evaluate_job.py")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return job(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def start():
    """Start `alone` as a process of its own, forked from one that has imported all it needs."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["evaluate_job"])
    with pytest.MonkeyPatch.context() as patch:  # the server does not know pytest's sys.path
        patch.setenv("PYTHONPATH", str(JOB.parent))
        patch.setenv("XAI_PROGRESS", "0")
        multiprocessing.forkserver.ensure_running()

    def run(out, pause):
        process = forks.Process(target=alone, args=(out, pause))
        process.start()
        return process

    return run


def wait_for_shards(out, n, process):
    deadline = time.time() + 120
    while len(list(out.glob("*.parquet"))) < n:
        assert process.is_alive()
        assert time.time() < deadline
        time.sleep(0.05)


def test_the_table_is_tidy(undisturbed):
    t = undisturbed
    assert len(t) == 12 * 3 * 3
    assert not t.duplicated(["sample", "method", "metric"]).any()
    assert np.isfinite(t.value).all()
    assert (t.error == "").all()
    assert set(t.columns) >= {
        "dataset",
        "model",
        "modality",
        "sample",
        "target",
        "method",
        "metric",
        "value",
        "forwards",
        "seed",
    }
    assert t.groupby("metric").value.std().min() > 0
    s = xu.summarise(t)
    assert len(s) == 9
    assert (s.n == 12).all()
    assert ((s.low <= s["mean"]) & (s["mean"] <= s.high)).all()


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(tmp_path, undisturbed, start):
    for shards in (1, 3):  # killed twice, each time in the middle of the next shard
        process = start(tmp_path, 0.3)
        wait_for_shards(tmp_path, shards, process)
        time.sleep(0.3)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    (tmp_path / ".rows-part-left-by-the-killed-run").write_bytes(b"half a shard")
    before = {f: f.stat().st_mtime_ns for f in tmp_path.glob("*.parquet")}
    assert 3 <= len(before) < 6
    # `pause` is part of the method's key: the run that ends the job has to be the same one
    process = start(tmp_path, 0.3)
    process.join()
    assert process.exitcode == 0
    assert {
        f: f.stat().st_mtime_ns for f in before
    } == before  # nothing that was finished was done again
    table = job(tmp_path, pause=0.3)
    assert table.equals(undisturbed)


def test_cut_damaged_and_foreign_shards_are_done_again(tmp_path, undisturbed):
    job(tmp_path)
    shards = sorted(tmp_path.glob("*.parquet"))
    shards[0].write_bytes(shards[0].read_bytes()[:-100])
    data = bytearray(shards[1].read_bytes())
    data[len(data) // 2] ^= 1
    shards[1].write_bytes(data)
    shards[2].write_bytes(b"")
    assert len(read_shards(tmp_path)) < len(undisturbed)
    assert job(tmp_path).equals(undisturbed)
    assert job(tmp_path).equals(undisturbed)


@pytest.mark.slow
def test_two_runs_into_one_folder(tmp_path, undisturbed, start):
    runs = [start(tmp_path, 0.0), start(tmp_path, 0.0)]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    assert job(tmp_path).equals(undisturbed)


def test_a_failing_sample_is_recorded_and_the_rest_goes_on(tmp_path):
    methods = {"moody": fails_on_dark_pictures, "random": random_map}
    run = partial(
        xu.evaluate, methods, "conse-lite0", pictures(18), [confidence_drop, map_area], out=tmp_path
    )
    table = run(batch=4)
    failed = table[table.error != ""]
    assert set(failed.method) == {"moody"}
    assert 0 < len(failed) < 36
    assert set(failed.error) == {"RuntimeError: too dark"}
    assert failed.value.isna().all()
    assert table[table.error == ""].value.notna().all()
    s = xu.summarise(table).set_index(["method", "metric"])
    assert s.loc[("moody", "map-area"), "failed"] == len(failed) // 2
    assert s.loc[("moody", "map-area"), "n"] == 18 - len(failed) // 2
    assert s.loc[("random", "map-area"), "failed"] == 0
    assert run(batch=1).equals(table)  # the failed ones are tried again, with the same end


def test_a_new_metric_or_method_adds_and_a_changed_one_is_computed(tmp_path):
    few = pictures(4)
    kwargs = dict(out=tmp_path)
    one = xu.evaluate({"a": mean_of_channels}, "conse-lite0", few, [map_area], **kwargs)
    two = xu.evaluate(
        {"a": mean_of_channels, "b": random_map},
        "conse-lite0",
        few,
        [map_area, confidence_drop],
        **kwargs,
    )
    assert (
        two[(two.method == "a") & (two.metric == "map-area")].value.tolist() == one.value.tolist()
    )
    assert len(two) == 16
    stronger = xu.evaluate(
        {"a": partial(mean_of_channels, power=3.0)}, "conse-lite0", few, [map_area], **kwargs
    )
    assert (stronger.value != one.value).all()
    other_seed = xu.evaluate({"a": random_map}, "conse-lite0", few, [map_area], seed=5, **kwargs)
    assert (
        other_seed.value.to_numpy()
        != two[(two.method == "b") & (two.metric == "map-area")].value.to_numpy()
    ).all()


@pytest.mark.slow
def test_batches_change_nothing(tmp_path):
    methods = {"p-ibisa": partial(p_ibisa, masks=2, steps=2)}
    tables = [
        xu.evaluate(
            methods, "conse-lite0", pictures(6), [confidence_drop], out=tmp_path / str(b), batch=b
        )
        for b in (1, 4)
    ]
    assert tables[0].equals(tables[1])
    assert (tables[0].forwards == 4).all()


def test_things_texts_and_classes(tmp_path, stamps, classifier):
    scenes = xu.load_dataset("scenes", n=3, objects=2)
    t = xu.evaluate(
        {"random": random_map},
        "conse-lite0",
        scenes,
        [iou, confidence_drop],
        out=tmp_path,
        target="things",
    )
    assert len(t) == 12
    assert t["sample"].tolist()[::2] == [
        f"scene-test-0-{i}/{k}" for i in range(3) for k in range(2)
    ]
    t = xu.evaluate(
        {"random": random_map},
        "conse-lite0",
        scenes,
        [confidence_drop],
        out=tmp_path,
        modality="text",
    )
    assert t.value.notna().all()
    assert (t.modality == "text").all()
    t = xu.evaluate(
        {"random": random_map},
        classifier,
        pictures(2),
        {"morf": partial(morf, block=56)},
        out=tmp_path,
        target="predicted",
    )
    assert t.value.between(0, 1).all()


def test_keys_follow_the_code_that_matters():
    key = code_key("xai_utils.methods.p_ibisa")
    assert key == code_key("xai_utils.methods.p_ibisa")
    assert key != code_key("xai_utils.metrics.localization")


def test_what_a_module_says_of_itself_is_not_what_it_computes(tmp_path):
    def key(text: str, name: str) -> bytes:
        (tmp_path / name).write_text(text)
        return bare_code(str(tmp_path / name))

    code = '''"""Says so."""

class A:
    """A class."""

def f(x):
    """Doubles."""
    return 2 * x  # twice
'''
    other = code.replace("Says so", "Says more").replace('    """Doubles."""\n', "")
    other = (
        other.replace("# twice", "").replace("2 * x", "(2\n        * x)").replace("A class", "B")
    )
    assert key(code, "a.py") == key(other, "b.py")
    assert key(code, "a.py") != key(code.replace("2 * x", "3 * x"), "c.py")
    assert key(code, "a.py") != key(code + 'S = """Says so."""\n', "d.py")
    assert describe(partial(random_map, seed=1)) != describe(random_map)
    assert describe(mean_of_channels) == describe(mean_of_channels)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(methods={}), TypeError, "methods must be a dict"),
        (dict(methods={"a": 3}), TypeError, r"methods\['a'\] must be a function"),
        (dict(metrics=[mask_contrast]), ValueError, 'needs others.*target="things"'),
        (dict(metrics=[zero_shot_roar], dataset=[]), ValueError, "dataset is empty"),
        (dict(model="conse"), ValueError, "unknown model"),
        (dict(model="efficientnet-lite0"), ValueError, "no text tower"),
        (dict(modality="audio"), ValueError, "modality must be"),
        (dict(target="nobody"), ValueError, "target must be one of"),
        (dict(target="predicted"), ValueError, "no classifier head"),
        (dict(batch=0), ValueError, "batch must be"),
        (dict(seed=-1), ValueError, "seed must be"),
        (dict(metrics={"x": xu.summarise}), ValueError, "does not judge single maps"),
        (dict(metrics=[iou], modality="text"), ValueError, "judges maps of image, not text"),
        (dict(metrics=[confidence_drop] * 2), ValueError, "two metrics have one slug"),
        (dict(methods={"a": partial(p_ibisa, mask=3)}), TypeError, "has no argument mask"),
        (dict(methods={"a": partial(p_ibisa, masks=0)}), ValueError, "'a'.*masks must be"),
        (dict(methods={"a": partial(p_ibisa, rate="x")}), (ValueError, TypeError), "'a'"),
        (dict(metrics={"d": partial(confidence_drop, protocol="n")}), ValueError, "protocol must"),
        (dict(metrics={"m": partial(morf, blocks=3)}), TypeError, "has no argument blocks"),
        (dict(metrics={"r": partial(roar_plus, repeats=0)}), ValueError, "repeats must be"),
        (dict(methods={"a": partial(random_map, cells=object())}), TypeError, "attribute `key`"),
    ],
)
def test_bad_calls_are_refused_before_any_work(tmp_path, change, error, message):
    call = (
        dict(
            methods={"random": random_map},
            model="conse-lite0",
            dataset=pictures(2),
            metrics=[confidence_drop],
        )
        | change
    )
    with pytest.raises(error, match=message):
        xu.evaluate(**call, out=tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.slow
def test_a_cluster_gives_the_local_table_and_survives_a_killed_worker(tmp_path, undisturbed):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            worker_dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(TypeError, match="model must be a name"):
            xu.evaluate(
                {"random": random_map},
                xu.load_model("conse-lite0"),
                pictures(2),
                [map_area],
                out=tmp_path,
                client=client,
            )
        client.upload_file(str(JOB))
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2
        killer = subprocess.Popen(
            [
                sys.executable,
                "-c",
                (
                    "import os, sys, time, pathlib\nwhile not"
                    " list(pathlib.Path(sys.argv[1]).glob('*.parquet')):"
                    " time.sleep(0.05)\nos.kill(int(sys.argv[2]), 9)"
                ),
                tmp_path,
                str(pids[0]),
            ]
        )
        table = job(tmp_path, client=client, pause=0.1)
        assert killer.wait(timeout=60) == 0
        assert pids[0] not in client.run(os.getpid).values()  # it was really killed
        loads = client.run(
            lambda: sys.modules["xai_utils.evaluate"].worker_model.cache_info().misses
        )
        assert max(loads.values()) == 1  # once per worker, however many units it had
    assert table.equals(undisturbed)
