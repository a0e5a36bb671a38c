"""The lowest versions that pyproject.toml declares, as pip's constraints; `--version V` checks a tag instead.

python .github/floors.py > floors.txt && python -m pip install -c floors.txt -e ".[test]"
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
# Python 3.10, the lowest, has no reader of TOML; every requirement is written `"name>=version"`.
_FLOOR = re.compile(r'"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?>=([0-9.]+)"')
_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)


def floors(text: str) -> list[str]:
    """`name==version` of each requirement that has a lowest version."""
    return [f"{name}=={version}" for name, version in _FLOOR.findall(text)]


def main(words: list[str]) -> int:
    """Print the constraints, or compare the version."""
    text = PYPROJECT.read_text(encoding="utf-8")
    if words[:1] != ["--version"]:
        print("\n".join(floors(text)))
        return 0
    found = _VERSION.search(text)
    declared = found[1] if found else "none"
    if words[1:] == [declared]:
        return 0
    print(f"The tag says {' '.join(words[1:]) or 'nothing'}, pyproject.toml {declared}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
