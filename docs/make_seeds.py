"""Write docs/seeds.md, its pictures, and the rows of the README and of docs/measured.md, from the records in results/.

Run it as `python docs/make_seeds.py`.

docs/seeds.toml holds the story of each seed and the questions to ask about its record; every number, verdict and
sentence about a measurement comes from a record. A rung counts once all its planned cells have ended; until then its
row says how many have, and shows no number.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import make_searches
import seed_answers
import seed_tables
from msgspec.structs import replace

from rungs.report.style import save
from rungs.run.record import from_json
from rungs.study.ladder import spec
from rungs.study.ladder.record import LadderRecord
from rungs.study.ladder.staircase import staircase
from rungs.study.search.slices import over_pairs

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PICTURES = ROOT / "docs" / "seeds"
ROWS_IN = ("README.md", "docs/measured.md")
START, END = "<!-- seeds -->\n", "<!-- /seeds -->"


def main() -> None:
    """Write the page, its pictures and the rows."""
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    for path in sorted(RESULTS.glob("*.json")):
        save(staircase(ended(read(path.stem))), PICTURES / path.stem)
    for path in sorted((RESULTS / "searches").glob("*.json")):
        save(over_pairs(make_searches.read(path.stem)), PICTURES / path.stem)
    for drawing in PICTURES.glob("*.svg"):
        drawing.unlink()  # a page on the web shows the PNG
    (ROOT / "docs" / "seeds.md").write_text(page(), encoding="utf-8")
    for name in ROWS_IN:
        path = ROOT / name
        path.write_text(with_rows(path.read_text(encoding="utf-8"), name), encoding="utf-8")


def read(name: str) -> LadderRecord:
    """Return a record of results/."""
    path = RESULTS / f"{name}.json"
    return from_json(path.read_bytes(), LadderRecord, path)


def known(ladder: str) -> LadderRecord | None:
    """Return the record of a ladder; None where none of its cells has ended."""
    return read(ladder) if (RESULTS / f"{ladder}.json").exists() else None


def ended(record: LadderRecord) -> LadderRecord:
    """Return a record of those rungs whose planned cells have all ended."""
    rungs = [rung for rung in record.rungs if seed_tables.progress(record, rung.name).all_ended]
    names = {rung.name for rung in rungs}
    shown = (rung if rung.on in names else replace(rung, difference=None) for rung in rungs)
    return replace(record, rungs=tuple(shown))


def stories() -> dict[str, Any]:
    """Return the content of docs/seeds.toml."""
    return tomllib.loads((ROOT / "docs" / "seeds.toml").read_text(encoding="utf-8"))


def with_rows(text: str, name: str) -> str:
    """Return a page with one row for each seed between its two marks; `name` decides where links lead."""
    before, rest = text.split(START)
    link = "docs/seeds.md" if "/" not in name else "seeds.md"
    heads = "| seed, and one rung of it | claimed | measured | n | verdict |\n|---|---|---|---|---|\n"
    rows = "".join(row(seed, link) for seed in stories()["seeds"])
    return f"{before}{START}{heads}{rows}{END}{rest.split(END)[1]}"


def row(seed: dict[str, Any], link: str) -> str:
    """Return the row of a seed: its headline claim next to the measurement."""
    name, metric = seed["headline"]["rung"], seed["headline"]["metric"]
    ladder, _ = spec.load(seed["ladder"])
    cells = seed_tables.claim(ladder, known(seed["ladder"]), name, metric)
    return f"| [{seed['title']}]({link}#{anchor(seed['title'])}): `{name}` | {' | '.join(cells)} |\n"


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def page() -> str:
    """Return the whole page."""
    texts = stories()
    return texts["intro"].strip() + "\n" + "".join(chapter(one) for one in texts["seeds"])


def chapter(seed: dict[str, Any]) -> str:
    """Return the chapter of one seed: what was true and what was not, then the numbers and where they are from."""
    ladder, _ = spec.load(seed["ladder"])
    record = known(seed["ladder"])
    lines = [f"\n## {seed['title']}\n", f"{seed['story'].strip()}\n", "**What was true, and what was not**\n"]
    lines += seed_answers.answers(record, ladder, seed["questions"])
    for search in seed.get("searches", ()):
        lines += make_searches.answers(search)
    lines += [f"\n{seed['after'].strip()}\n"] if "after" in seed else [""]
    lines += [f"### The numbers of {seed['title'][:3]}\n", seed_tables.claims(ladder, record)]
    if record is not None:
        lines += [f"![Accuracy of each rung, with claims](seeds/{seed['ladder']}.png)\n"]
        lines += [seed_tables.folded(f"All {len(ladder.rungs)} rungs", seed_tables.rungs(ladder, record))]
    for search in seed.get("searches", ()):
        lines += make_searches.section(search)
    lines.append(seed_tables.provenance(ladder, record))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
