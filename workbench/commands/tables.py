"""``workbench tables``: the papers' tables and figures, regenerated beside the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import write_csv, write_text
from workbench.results.messages import note, show
from workbench.results.table_files import to_markdown

if TYPE_CHECKING:
    from workbench.tables.pipeline.plan import MeasurementPlan
    from workbench.tables.pipeline.profile import Profile

COST_TABLES = ("5", "6", "7", "8", "9", "10", "13")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Regenerate the papers' tables and figures beside the published figures.

    The examples: two tables offline in minutes; cost columns alone; what the real thing takes.

    Examples
    --------
    workbench tables --profile bundled --only 2 5 --out runs/tables
    workbench tables --only 5 13 --columns cost --out runs/tables
    workbench tables --profile paper --config paper.toml --dry-run
    """

    profile: Literal["bundled", "paper"] = "bundled"
    """bundled: models and images that come as packages; paper: the paper's, named in --config."""
    only: tuple[str, ...] = ()
    """Tables: 1 to 13, figure2, figure6, figure7, figure8, sovit1 to sovit4, sovit-shape, vlm2,
    vlm3, vlm4; all of them by default."""
    columns: Literal["all", "cost"] = "all"
    """cost: only the parameters and multiply-accumulates of tables 5 to 10 and 13, and the images/s
    of 13, measured on this device; with --out as table05_cost_columns.md and .csv, and so on."""
    out: Path | None = None
    """Folder for tables, figures, report.html and provenance; runs/tables by default."""
    config: Path | None = None
    """TOML file with dataset names, limits, stores and device; docs/tables.md describes it."""
    dry_run: bool = False
    """Resolve models, sources, stores and datasets, mark what is stored already, and add up bytes
    and the GPU hours of extraction's forward passes; run nothing."""
    check: Path | None = None
    """Instead, report which tables of this folder are stale against their stores, files, the code
    of the analyses and cost columns, or what their figures draw (exit status 1)."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        self._refuse_unused()
        if self.check is not None:
            return self._check(self.check)
        if self.columns == "cost":
            return self._cost()
        from workbench.tables.pipeline import config
        from workbench.tables.pipeline import plan as planning
        from workbench.tables.specs import select

        out = self.out or Path("runs/tables")
        profile = config.load(self.profile, out, self.config)
        plan = planning.make(select(self.only), profile)
        return self._dry_run(plan, profile) if self.dry_run else self._run(plan, profile, out)

    def _refuse_unused(self) -> None:
        """Refuse options that the call would not look at."""
        given = {
            "--only": bool(self.only),
            "--config": self.config is not None,
            "--dry-run": self.dry_run,
            "--out": self.out is not None,
            "--columns": self.columns != "all",
            "--profile": self.profile != "bundled",
        }
        unused: tuple[str, ...] = ()
        if self.check is not None:
            call, unused = "--check looks at every table of its folder, and", tuple(given)
        elif self.columns == "cost":
            call = "--columns cost reads no images and stores, and"
            unused = ("--config", "--dry-run")
        if wrong := [name for name in unused if given[name]]:
            raise InputError(f"{call} takes no {' or '.join(wrong)}; leave it out")

    def _run(self, plan: MeasurementPlan, profile: Profile, out: Path) -> int:
        from workbench.tables.pipeline import run

        outcome = run.run(plan, profile, out, note)
        if outcome.written or outcome.measured or outcome.extracted or outcome.failed:
            done = (
                f"wrote {len(outcome.written)} table(s), {len(outcome.current)} were up to date; "
                f"{outcome.measured} measurement(s), {len(outcome.extracted)} store(s) extended, "
                f"{outcome.seconds:.0f} s. Read {out / 'report.html'}"
            )
        else:
            done = f"nothing to do: {len(outcome.current)} table(s) in {out} are up to date"
            if outcome.renewed:
                done += "; renewed report.html and provenance.json"
        (note if self.json else show)(done)
        if self.json:
            found = {"tables": outcome.tables, "written": outcome.written, "done": done}
            show(strict_json.dumps(found | {"failed": outcome.failed}))
        if outcome.failed:
            raise InputError(_failures(outcome.failed))
        return 0

    def _dry_run(self, plan: MeasurementPlan, profile: Profile) -> int:
        from workbench.tables.pipeline import dry_run, dry_run_text

        found = dry_run.dry_run(plan, profile)
        show(strict_json.dumps(found) if self.json else dry_run_text.text(found))
        return 1 if found["problems"] else 0

    def _check(self, folder: Path) -> int:
        from workbench.tables.records.check import check

        found = check(folder)
        bad = [finding for finding in found if finding["state"] != "current"]
        lines = [f"table {f['table']} is {f['state']}: {'; '.join(f['reasons'])}" for f in bad]
        lines.append(f"{len(found) - len(bad)} of {len(found)} tables in {folder} are current")
        report = {"tables": found, "current": not bad}
        show(strict_json.dumps(report) if self.json else "\n".join(lines))
        return 1 if bad else 0

    def _cost(self) -> int:
        from workbench.cost import published_cost_columns
        from workbench.extraction.local import pick_device
        from workbench.tables.pipeline.throughput import with_throughput
        from workbench.tables.records import provenance

        only = self.only or COST_TABLES
        if unknown := [key for key in only if key not in COST_TABLES]:
            known = ", ".join(COST_TABLES)
            raise InputError(f"table {unknown[0]} has no cost columns; choose from {known}")
        found = {}
        for key in only:
            table = published_cost_columns(int(key))
            if key == "13":
                device = pick_device("auto")
                note(f"table 13: measuring images/s on {device}, 1 minute")
                table = with_throughput(table, profile=self.profile, device=device)
            found[key] = table
            text = to_markdown(table, ".4g")
            (note if self.json else show)(f"Table {key}\n\n{text}\n")
            if self.out is not None:
                stem = self.out / f"table{int(key):02d}_cost_columns"
                made = {"code": provenance.stamp(), "date": provenance.now(), "measurements": {}}
                line = provenance.line(made)
                write_text(f"{text}\n\n{line}\n", stem.with_suffix(".md"))
                write_csv(table, stem.with_suffix(".csv"))
        if self.json:
            show(strict_json.dumps({"tables": found}))
        return 0


def _failures(failed: dict[str, str]) -> str:
    """Tables that could not be made, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for key, why in failed.items():
        reasons.setdefault(why, []).append(key)
    lines = [f"table {', '.join(keys)}: {why}" for why, keys in reasons.items()]
    return f"{len(failed)} table(s) could not be made. {'. '.join(lines)}"
