"""`python -m jal_hf` is `jal-hf`."""

from __future__ import annotations

from jal_hf.cli.main import entry

if __name__ == "__main__":
    entry()
