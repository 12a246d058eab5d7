"""What capi/weft.h declares, read from its text, and a stand-in library of just these functions.

The header is plain on purpose (literal #defines, flat structs, no function-like macros), so that a
few regular expressions read all of it; the compiler checks what they found through abi.c.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HEADER = TOP / "capi" / "weft.h"


def _bare(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def literals(text: str) -> dict[str, str]:
    """Every constant with its number as it is written."""
    return dict(re.findall(r"^#define (WEFT_\w+) (\d\w*)\s*$", _bare(text), re.MULTILINE))


def fields(text: str) -> list[tuple[str, str]]:
    """Every (struct, field) in order."""
    result = []
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \w+;", _bare(text), re.DOTALL):
        result += [(name, field) for field in re.findall(r"(\w+)(?:\[\d+\])?;", body)]
    return result


def declarations(text: str) -> dict[str, str]:
    """Every function's name and its whole declaration without the semicolon."""
    found = re.findall(r"WEFT_API ([\w\s*]+?(\bweft_\w+)\([^;]*\));", _bare(text))
    return {name: declaration for declaration, name in found}


def build_stand_in(text: str, folder: Path) -> Path:
    """Builds with -g a library of the header's functions that do nothing; returns its path."""
    folder.mkdir(parents=True)
    (folder / "weft.h").write_text(text)
    bodies = "".join(
        f"{declaration} {{ return 0; }}\n" for declaration in declarations(text).values()
    )
    (folder / "weft.c").write_text(f'#include "weft.h"\n{bodies}')
    library = folder / "libweft.so.1"
    link = ["-Wl,-soname,libweft.so.1", "-Wl,--undefined-version"]
    link.append(f"-Wl,--version-script={TOP / 'capi' / 'weft.map'}")
    subprocess.run(
        ["clang-19", "-std=c11", "-g", "-shared", "-fPIC", *link, folder / "weft.c", "-o", library],
        check=True,
    )
    return library
