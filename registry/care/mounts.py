"""Which file system a path lies on, from `/proc/self/mountinfo`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_REMOTE = """
    9p afs beegfs ceph cifs fuse.beegfs fuse.ceph fuse.glusterfs fuse.sshfs glusterfs gpfs lustre nfs nfs4 orangefs
    panfs pvfs2 smb3 virtiofs wekafs
"""
NETWORK = frozenset(_REMOTE.split())
VOLATILE = frozenset(("tmpfs", "ramfs", "overlay"))
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One mounted file system; `options` are those of the mount and of the file system."""

    point: str
    kind: str
    options: str

    @property
    def network(self) -> bool:
        """Whether other machines may write to it as well."""
        return self.kind in NETWORK

    @property
    def volatile(self) -> bool:
        """Whether it is gone after a restart of the machine or the container."""
        return self.kind in VOLATILE

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written here."""
        return "ro" in self.options.split(",")

    @property
    def local_locks(self) -> bool:
        """Whether a lock keeps only processes of the same machine out."""
        given = self.options.split(",")
        return "nolock" in given or any(f"local_lock={kind}" in given for kind in ("all", "flock", "posix"))


def mount_of(path: Path, mountinfo: Path = MOUNTINFO) -> Mount | None:
    """The mount that `path`, links followed, lies on; null where the machine does not say."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found: Mount | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split()[4])
        if real != point and not real.startswith(point.rstrip("/") + "/"):
            continue
        if found is None or len(point) >= len(found.point):  # a later mount on the same point hides the earlier
            kind, _, of_system = after.split(" ", 2)
            options = dict.fromkeys([*before.split()[5].split(","), *of_system.split(",")])
            found = Mount(point, kind, ",".join(options))
    return found
