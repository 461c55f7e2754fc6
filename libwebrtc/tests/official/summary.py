"""One row of the table, from what a test binary printed.

    summary.py NAME LOG

A test that fails with this engine's own "video can't be sent" does not apply. The exit code is 1 if another one failed.
"""

import pathlib
import re
import sys

REFUSAL = "video can't be sent: this implementation has no video encoder"
RESULT = re.compile(r"^test result: .* (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
SECTION = re.compile(r"^---- (\S+) stdout ----$", re.MULTILINE)

name, log = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(errors="replace")
result = RESULT.search(log)
if not result:
    print(f"| {name} | | did not end | |")
    sys.exit(1)

refused, failed = [], []
marks = list(SECTION.finditer(log))
for mark, following in zip(marks, [*marks[1:], None]):
    output = log[mark.end() : following.start() if following else None]
    # An error that came back to the test, and not a panic of whatever kind.
    applies = REFUSAL not in output or "panicked at" in output
    (failed if applies else refused).append(mark.group(1))
if len(refused) + len(failed) != int(result.group(2)):
    failed.append("(a failure that the log does not show)")

print(f"| {name} | {result.group(1)} | {', '.join(failed) or 0} | {len(refused)} |")
sys.exit(1 if failed else 0)
