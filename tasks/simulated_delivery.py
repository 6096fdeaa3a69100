"""Write the raw files of a simulated study where its deliveries are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.simulation import read_assumptions, simulate
from warehouse.errors import StudyError
from warehouse.roots import HOME
from warehouse.settings import load_settings
from warehouse.study import load_study

if TYPE_CHECKING:
    from pathlib import Path


def simulate_delivery(
    study_name: str,
    *,
    seed: int | None = None,
    patients: int | None = None,
    genes: int | None = None,
    out: Path | None = None,
    is_null: bool = False,
) -> tuple[Path, str]:
    """Simulate a delivery; what is not given is the study's own, calibrated, value.

    A null study is the same with no effect on any gene.
    """
    study = load_study(study_name)
    file = study.folder / "simulation.toml"
    if not file.is_file():
        raise StudyError(f"{study.id}: the study has no simulation.toml: it is not a simulated study")
    declared = study.study.data_root
    if out is None:
        if not declared.startswith(HOME):
            raise StudyError(
                f"{study.id}: data_root {declared!r} is no folder to write to: name one with --out"
            )
        out = load_settings().home.expanduser().resolve() / declared.removeprefix(HOME)
    shipped = read_assumptions(file).shipped
    summary = simulate(
        file,
        out.expanduser().resolve(),
        seed=shipped.seed if seed is None else seed,
        patients=shipped.patients if patients is None else patients,
        genes=shipped.genes if genes is None else genes,
        is_null=is_null,
    )
    return out, str(summary)
