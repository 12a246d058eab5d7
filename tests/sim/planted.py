#!/usr/bin/env python3
"""Bugs to be found: each drops one fence, order or re-check of protocols 2 from what ships.

    planted.py --list         name and file of each
    planted.py --check        does each still fit its source? Says what does not, and counts
    planted.py NAME ROOT OUT  writes NAME's file as it changes it; "none": only with the bound

An edit is a piece of source, compared with all white space taken out, that must stand there once.
The lookup's 64 tries are 1 in all builds of the simulator: a later try may read less than a first
one that begins as late, so it adds states and no outcome; what a try leaves in its cell is behind
the second view of a scenario.

Not here, since another order implies them:
- the acquire load of `table` and its release store: a reader that has the new count and not yet
  what stands in the new bucket finds that bucket's own sequence changed, behind the acquire fence
  of a miss;
- the acquire of the second load of gen in `check`: the first one, which `look` needs, has read the
  same store;
- the release of `raise_floor`: no op ends but by a message that orders more.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

READER = "core/index/reader.h"
CELLS = "core/index/cells.h"
TABLE = "core/index/table.cpp"
SPACE = "core/space/namespace.cpp"

BOUND = (READER, "kRetries = 64;", "kRetries = 1;")

HOLD_FENCE = "fabric::store_and_fence(*cell, uint64_t{slot} + 1);"
HOLD_AGAIN = (
    "if (header.gen.load_acquire() != gen) { cell->store_release(0); return Check::changed; }"
)
LOOK_AGAIN = "if (header.gen.load_relaxed() != gen) return Check::changed;"
SLOT_FENCE = "fabric::store_and_fence(cell, uint64_t{slot} + 1);"
SLOT_AGAIN = "if (header.gen.load_acquire() != gen) { cell.store_release(0); return false; }"
MISS_LINK = "if (!again && bucket->link.load_relaxed() == link &&"
MISS_TABLE = "header().table.load_relaxed() == table) {"
LIMBO_FENCE = "fabric::fence_seq_cst(); for (const Attachment& attachment : attachments_) {"
SPLIT_ODD = "header_->table.store_relaxed(header_->table.load_relaxed() + 1);"
SPLIT_EVEN = "static_cast<uint32_t>(header_->table.load_relaxed()) + uint64_t{1};"
LOCATE = "SharedWord* word = locate(bucket, slot);"
UNPUBLISH = "header.gen.store_release(header.gen.load_relaxed() + 1); if (header.expiry"
PUBLISH = "header.gen.store_release(header.gen.load_relaxed() + 1);  // even: pairs"
RENEW = "gen.store_release(gen.load_relaxed() + 2);"

Edit = tuple[str, str]
PLANTED: dict[str, tuple[str, list[Edit]]] = {
    # The reader: entries.
    "link-acquire": (READER, [("bucket->link.load_acquire()", "bucket->link.load_relaxed()")]),
    "link-odd": (READER, [("if (odd(link)) continue;", "")]),
    "table-odd": (READER, [("if (odd(table)) continue;", "")]),
    "miss-fence": (READER, [("fabric::fence_acquire(); " + MISS_LINK, MISS_LINK)]),
    "miss-link-again": (READER, [(MISS_LINK, "if (!again &&")]),
    "miss-table-again": (READER, [(MISS_TABLE, "true) {")]),
    # The reader: slots.
    "gen-acquire": (
        READER,
        [
            (
                "uint64_t gen = header.gen.load_acquire();",
                "uint64_t gen = header.gen.load_relaxed();",
            )
        ],
    ),
    "gen-odd": (READER, [("if (odd(gen) || gen == 0) return Check::wrong;", "")]),
    "hazard-fence": (READER, [(HOLD_FENCE, "cell->store_relaxed(uint64_t{slot} + 1);")]),
    "hazard-gen-again": (READER, [(HOLD_AGAIN, "")]),
    "look-fence": (READER, [("fabric::fence_acquire(); " + LOOK_AGAIN, LOOK_AGAIN)]),
    "look-gen-again": (READER, [(LOOK_AGAIN, "")]),
    "follow-fence": (READER, [(SLOT_FENCE, "cell.store_relaxed(uint64_t{slot} + 1);")]),
    "follow-gen-again": (READER, [(SLOT_AGAIN, "")]),
    "clear-release": (
        CELLS,
        [("page_->cells[cell].store_release(0);", "page_->cells[cell].store_relaxed(0);")],
    ),
    # The node: entries.
    "change-fence": (TABLE, [("fabric::fence_release();", "")]),
    "change-release": (TABLE, [("link_.store_release(", "link_.store_relaxed(")]),
    "change-odd": (
        TABLE,
        [
            ("link_.store_relaxed(link_.load_relaxed() + 1);", ""),
            ("static_cast<uint32_t>(link + 1)", "static_cast<uint32_t>(link + 2)"),
        ],
    ),
    "split-odd": (TABLE, [(SPLIT_ODD, ""), (SPLIT_EVEN, SPLIT_EVEN.replace("{1}", "{2}"))]),
    "close-up-odd": (TABLE, [("Change change(*bucket); " + LOCATE, LOCATE)]),
    # The node: slots.
    "limbo-fence": (SPACE, [(LIMBO_FENCE, LIMBO_FENCE.removeprefix("fabric::fence_seq_cst(); "))]),
    "scan-acquire": (SPACE, [("cell.load_acquire()", "cell.load_relaxed()")]),
    "unpublish-late": (
        SPACE,
        [
            (UNPUBLISH, "if (header.expiry"),
            (RENEW, "gen.store_release((gen.load_relaxed() + 2) | 1);"),
        ],
    ),
    "discard-late": (
        SPACE,
        [
            (
                "void Namespace::discard(uint32_t slot) { renew_gen(slot);",
                "void Namespace::discard(uint32_t slot) {",
            )
        ],
    ),
    "publish-release": (SPACE, [(PUBLISH, PUBLISH.replace("store_release", "store_relaxed"))]),
}


def edited(source: str, before: str, after: str) -> str | None:
    """The source with the one place of `before` made `after`; None: there is not one."""
    pattern = r"\s*".join(re.escape(letter) for letter in before if not letter.isspace())
    found = list(re.finditer(pattern, source))
    if len(found) != 1:
        return None
    return source[: found[0].start()] + after + source[found[0].end() :]


def planted(root: Path, file: str, edits: list[Edit]) -> str | None:
    """The file with the edits and, if it is the reader, the bound; None: one does not fit."""
    source: str | None = (root / file).read_text()
    for before, after in edits + ([BOUND[1:]] if file == BOUND[0] else []):
        source = edited(source, before, after) if source is not None else None
    return source


def check(root: Path) -> int:
    """Says which do not fit."""
    unfit = [name for name, (file, edits) in PLANTED.items() if planted(root, file, edits) is None]
    for name in unfit:
        print(
            f"{name}: its source in {PLANTED[name][0]} has changed: "
            "say in tests/sim/planted.py how it is dropped now"
        )
    print(f"{len(PLANTED) - len(unfit)} passed, {len(unfit)} failed")
    return 1 if unfit else 0


def main(arguments: list[str]) -> int:
    if arguments == ["--list"]:
        print("\n".join(f"{name} {file}" for name, (file, _) in PLANTED.items()))
        return 0
    if arguments == ["--check"]:
        return check(Path(__file__).resolve().parents[2])
    name, root, out = arguments
    file, edits = PLANTED.get(name, (BOUND[0], []))
    source = planted(Path(root), file, edits)
    # What no longer fits is built as it is: its test finds nothing then, and fails as --check does.
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text((Path(root) / file).read_text() if source is None else source)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
