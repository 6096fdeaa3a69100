"""Where lakes live and how they are stored: the TRIALHOUSE_* environment variables."""

from __future__ import annotations

import getpass
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.errors import LakeError
from warehouse.study import HOUSE


def _home() -> Path:
    """Return `.trialhouse` in the checkout, or in the current folder for an installed wheel."""
    checkout = (HOUSE / "pyproject.toml").is_file()
    return (HOUSE if checkout else Path.cwd()) / ".trialhouse"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run a user that has no name
        return "unknown"


class Settings(BaseSettings):
    """Read from TRIALHOUSE_HOME, TRIALHOUSE_CATALOG and so on; the defaults need no set-up."""

    model_config = SettingsConfigDict(env_prefix="TRIALHOUSE_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=_home, description="folder of all lakes")
    catalog: str = Field(
        default="sqlite",
        pattern=r"^(sqlite|postgres:.*)$",
        description="`sqlite` (a file in the lake) or `postgres:` and a libpq connection string",
    )
    storage: str | None = Field(
        default=None,
        pattern=r"^[^:]*$",
        description="folder of the Parquet data of all lakes, such as a shared disk; default: in each lake",
    )
    author: str = Field(default_factory=_user, description="who stands in each version")
    memory_limit: str = Field(default="8GB", description="DuckDB's memory limit; beyond it spills to disk")
    temp_limit: str = Field(default="100GB", description="disk that DuckDB may spill to, in the lake's tmp/")
    threads: int | None = Field(default=None, ge=1, description="DuckDB's threads; default: all cores")
    max_file_gb: float = Field(
        default=20, gt=0, description="a delivered file, decompressed, holds at most this"
    )
    max_compression_ratio: float = Field(
        default=200,
        ge=1,
        description="a compressed file above 64 MB expands to at most so many times its size",
    )
    max_columns: int = Field(default=10_000, ge=1, description="columns of a delivered file")
    lock_wait_seconds: float = Field(default=600, ge=0, description="wait for another run of the study")

    query_seconds: float = Field(
        default=600, gt=0, le=31_536_000, description="longest time of one query of `sql` or one SQL model"
    )

    def lake_folder(self, study_id: str) -> Path:
        return self.home.expanduser().resolve() / study_id

    def data_folder(self, study_id: str) -> Path:
        """Return the folder of a lake's Parquet files: in the lake, or below the storage of all lakes."""
        if self.storage is None:
            return self.lake_folder(study_id) / "data"
        return Path(self.storage).expanduser().resolve() / study_id


def load_settings() -> Settings:
    """Read the settings; a wrong one is named as the variable that holds it."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"TRIALHOUSE_{'_'.join(str(part) for part in problem['loc']).upper()}:"
            f" {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise LakeError("\n".join(wrong)) from error
