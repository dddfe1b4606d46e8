"""`python -m benchmarks.registry`: print each figure that the registry promises, measured on this machine."""

from __future__ import annotations

import sys

from benchmarks.registry.scale import measure_scale


def main() -> None:
    scale = measure_scale(5, lambda text: print(text, file=sys.stderr))
    for timed in scale.times:
        print(f"{timed.what:30} median {timed.median:.3f} s  min {min(timed.seconds):.3f} s  limit {timed.limit}")
    for name, size in scale.sizes.items():
        print(f"{name:30} {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
