"""What reading a data set costs: its index, a sample, memory.

    python benchmarks/readers.py [--quick]

Each set is written in its distributed layout into a temporary folder, with 100,000 rows and with
pictures of the size that the set has, and those that lie in XAI_DATA are measured there, too.

index     seconds of the processor for `load_dataset`, and those that passed meanwhile
sample    milliseconds of the processor, and how much of it opens and decodes the picture
/ pass    a sample and the part that is no decoding, against a forward pass of conse-lite0 with one
          picture; all on one thread
grown     MiB of resident memory over so many samples, after the first tenth
"""

import argparse
import csv
import gc
import io
import json
import os
import tarfile
import tempfile
import time
import warnings
from pathlib import Path
from zlib import crc32

os.environ["XAI_PROGRESS"] = "0"

import numpy as np
import psutil
import torch
from PIL import Image

import xai_utils as xu
from xai_utils.data import SOURCES, SampleError, lacks, load_dataset
from xai_utils.data.distributed import first_there
from xai_utils.images import rgb

CAPTION = "a child in a pink dress is climbing up a set of stairs no"


def jpeg(size: tuple[int, int], mode: str = "RGB") -> bytes:
    """A picture of soft noise, which takes about as many bytes a pixel as a photograph."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "jpeg")
    return file.getvalue()


def pictures(folder: Path, names, size: tuple[int, int], mode: str = "RGB") -> None:
    """The same picture under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / "first"
    first.write_bytes(jpeg(size, mode))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(first, folder / name)


def flickr8k(home: Path, rows: int, samples: int) -> None:
    names = [f"{k:010d}_{crc32(b'%d' % k):010x}.jpg" for k in range(rows // 5)]
    pictures(home / "Flickr8k_Dataset", names[:samples], (500, 375))
    text = home / "Flickr8k_text"
    text.mkdir()
    tokens = (f"{name}#{j}\t{CAPTION} {j} .\n" for name in names for j in range(5))
    (text / "Flickr8k.token.txt").write_text("".join(tokens))
    (text / "Flickr_8k.testImages.txt").write_text("\n".join(names))


def flickr30k(home: Path, rows: int, samples: int) -> None:
    names = [f"{k:010d}.jpg" for k in range(rows // 5)]
    pictures(home / "flickr30k-images", names[:samples], (500, 375))
    tokens = (f"{name}#{j}\t{CAPTION} {j} .\n" for name in names for j in range(5))
    (home / "results_20130124.token").write_text("".join(tokens))
    (home / "dataset_flickr30k.json").write_text(karpathy(names))


def rsicd(home: Path, rows: int, samples: int) -> None:
    names = [f"airport_{k}.jpg" for k in range(rows // 5)]
    pictures(home / "RSICD_images", names[:samples], (224, 224))
    (home / "dataset_rsicd.json").write_text(karpathy(names))


def karpathy(names: list[str]) -> str:
    sentences = [
        {"tokens": CAPTION.split(), "raw": f"{CAPTION} {j} .", "sentid": j} for j in range(5)
    ]
    images = [
        {"filename": name, "imgid": k, "split": "test", "sentences": sentences}
        for k, name in enumerate(names)
    ]
    return json.dumps({"images": images})


def roco(home: Path, rows: int, samples: int) -> None:
    folder = home / "data/test/radiology"
    names = [f"PMC{k}_{k}-g01.jpg" for k in range(rows)]
    pictures(folder / "images", names[:samples], (600, 500), "L")
    ids = [f"ROCO_{k:06d}" for k in range(rows)]
    (folder / "captions.txt").write_text("".join(f"{id}\t {CAPTION} {id}\n" for id in ids))
    links = (f"{id}\twget -r ftp://x/PMC{k}.tar.gz -P /x\t{k}-g01.jpg" for k, id in enumerate(ids))
    (folder / "dlinks.txt").write_text("\n".join(links))


def ms_cxr(home: Path, rows: int, samples: int) -> None:
    dicoms = [f"{k:08x}-{k:08x}-{k:08x}" for k in range(rows)]
    paths = [f"files/p10/p{k:08d}/s{k}/{dicom}.jpg" for k, dicom in enumerate(dicoms)]
    pictures(home, paths[:samples], (2544, 3056), "L")
    with open(home / "MS_CXR_Local_Alignment_v1.0.0.csv", "w", newline="") as file:
        table = csv.writer(file)
        names = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"
        table.writerow(names.split(","))
        for k, (dicom, path) in enumerate(zip(dicoms, paths)):
            box = (k % 900, 200, 500, 400, 2544, 3056)
            table.writerow((dicom, "Pneumonia", f"{CAPTION}, {k}", path, *box))


def cc3m_table(home: Path, rows: int, samples: int) -> None:
    links = [f"http://example.org/pictures/{k}.jpg?size=large" for k in range(rows)]
    names = [str(crc32(link.encode())) for link in links]
    pictures(home / "training", names[:samples], (640, 480))
    table = "".join(f"{CAPTION} {k}\t{link}\n" for k, link in enumerate(links))
    (home / "Train_GCC-training.tsv").write_text(table)


def shards(home: Path, rows: int, samples: int) -> None:
    """Ten shards as img2dataset writes them, so that an index of a few samples reads all."""
    data, more = jpeg((256, 256)), json.dumps({"caption": CAPTION, "url": "x" * 300}).encode()
    home.mkdir()
    for s in range(10):
        with tarfile.open(home / f"{s:05d}.tar", "w") as tar:
            for k in range(rows // 10 * s, rows // 10 * (s + 1)):
                txt = f"{CAPTION} {k}".encode()
                for ending, held in (("jpg", data), ("json", more), ("txt", txt)):
                    info = tarfile.TarInfo(f"{k:09d}.{ending}")
                    info.size, info.mtime = len(held), time.time()
                    tar.addfile(info, io.BytesIO(held))


SETS = [  # set, what it is called here, what writes it, which part of the samples is measured
    ("flickr8k", "flickr8k", flickr8k, 1),
    ("flickr30k", "flickr30k", flickr30k, 1),
    ("cc3m", "cc3m, table", cc3m_table, 1),
    ("laion", "laion, shards", shards, 1),
    ("ms-cxr", "ms-cxr", ms_cxr, 1 / 20),
    ("roco", "roco", roco, 1),
    ("rsicd", "rsicd", rsicd, 1),
]


def forward_pass(repeats: int) -> float:
    """Seconds of conse-lite0 with one picture."""
    encoder = xu.load_model("conse-lite0", device="cpu").image
    x = encoder.transform(Image.new("RGB", (224, 224)))[None]
    times = []
    with torch.no_grad():
        for _ in range(repeats):
            start = time.process_time()
            encoder(x)
            times.append(time.process_time() - start)
    return sorted(times)[repeats // 2]


def row(name: str, root: Path | None, samples: int, forward: float, **options) -> str:
    start, passed = time.process_time(), time.perf_counter()
    dataset = load_dataset(name, root=root, **options)
    index, passed = time.process_time() - start, time.perf_counter() - passed
    samples = min(samples, len(dataset))
    grown = grown_over(dataset, samples)
    both = [(timed(sample, dataset, i), decoding(dataset, i)) for i in range(min(samples, 200))]
    one, decoded = (sorted(times)[len(times) // 2] for times in zip(*both))
    return (
        f"{len(dataset):8d} {index:6.2f} {passed:6.2f} {1e3 * one:8.2f} {1e3 * decoded:9.2f}"
        f" {one / forward:7.2f} {max(one - decoded, 0) / forward:6.2f} {grown:6.1f} {samples:6d}"
    )


def sample(dataset, i: int) -> None:
    try:
        dataset[i]
    except SampleError as error:
        warnings.warn(str(error), stacklevel=1)


def timed(call, *args) -> float:
    start = time.process_time()
    call(*args)
    return time.process_time() - start


def decoding(dataset, i: int) -> float:
    """Seconds that the picture of sample i takes alone."""
    made = dataset._make.args[0][i]
    return timed(
        lambda: rgb(
            made.picture() if callable(made.picture) else first_there(made.folder, made.picture)
        )
    )


def grown_over(dataset, samples: int) -> float:
    """MiB of resident memory that are more after the last of the samples than after a tenth."""
    process = psutil.Process()
    for i in range(samples):
        sample(dataset, i)
        if i == samples // 10:
            gc.collect()
            before = process.memory_info().rss
    gc.collect()
    return (process.memory_info().rss - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 rows and 200 samples")
    rows, samples = (5_000, 200) if parser.parse_args().quick else (100_000, 5_000)
    torch.set_num_threads(1)
    forward = forward_pass(21)
    print(
        f"one thread, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {rows} rows;"
        f" a pass of conse-lite0 {1e3 * forward:.1f} ms"
    )
    print(
        f"{'set':22s} {'samples':>8s} {'index':>6s} {'passed':>6s} {'sample':>8s} {'decoding':>9s}"
        f" {'/ pass':>7s} {'rest':>6s} {'grown':>6s} {'over':>6s}",
        flush=True,
    )
    for name, called, write, part in SETS:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / name, rows, int(samples * part))
            options = dict(n=rows) if name == "laion" else {}
            line = row(name, Path(folder), int(samples * part), forward, **options)
        print(f"{called:22s} {line}", flush=True)
    for name in SOURCES if os.environ.get("XAI_DATA") else ():
        if not lacks(name):
            options = dict(n=samples) if name in ("laion", "cc3m") else {}
            print(
                f"{name + ', real':22s} {row(name, None, samples, forward, **options)}", flush=True
            )


if __name__ == "__main__":
    main()
