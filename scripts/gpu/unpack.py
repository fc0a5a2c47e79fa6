"""Unpacks the archives of a pack, each once: unpack.py PACK HOME. `NAME.tar.xz` becomes the folder HOME/NAME."""

import hashlib
import shutil
import sys
import tarfile
import time
from pathlib import Path


def unpack(archive, home):
    name = archive.name.removesuffix(".tar.xz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    stamp = home / f".{name}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    start = time.perf_counter()
    target = home / name
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(archive) as members:
        members.extractall(target, filter="data")
    stamp.write_text(digest)
    print(f"unpacked {name} into {target} in {time.perf_counter() - start:.1f} s", file=sys.stderr)


def main():
    pack, home = Path(sys.argv[1]), Path(sys.argv[2])
    home.mkdir(parents=True, exist_ok=True)
    for archive in sorted(pack.glob("*.tar.xz")):
        unpack(archive, home)


main()
