"""Makes a compressed archive: pack.py ARCHIVE FOLDER PRESET. Names are relative to the folder, owners and times are left out.

The x86 filter makes machine code smaller and does no harm elsewhere. A dictionary of 64 MiB finds repeats across most of a binary.
"""

import lzma
import sys
import tarfile
from pathlib import Path


def anonymous(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main():
    archive, folder, preset = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": 1 << 26}]
    with lzma.open(archive, "wb", filters=filters) as out, tarfile.open(fileobj=out, mode="w") as members:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                members.add(path, path.relative_to(folder).as_posix(), filter=anonymous)


main()
