"""Where lakes live and how they are stored: the TRIALHOUSE_* environment variables."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.errors import LakeError
from warehouse.masking import mask_secrets
from warehouse.study import HOUSE

SQLITE = "sqlite"
POSTGRES = "postgres:"
# Their values may hold a password, also and above all where they are mistyped.
SECRET = frozenset({"catalog", "storage"})


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

    model_config = SettingsConfigDict(
        env_prefix="TRIALHOUSE_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(default_factory=_home, description="folder of all lakes")
    catalog: SecretStr = Field(
        default=SecretStr(SQLITE),
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
    pseudonym_key_file: Path | None = Field(
        default=None, description="key of the pseudonyms, outside the lakes; made at the first use"
    )
    group_access: bool = Field(default=False, description="whether the user's group reads and writes lakes")

    @field_validator("catalog")
    @classmethod
    def _is_one_of_two_kinds(cls, catalog: SecretStr) -> SecretStr:
        text = catalog.get_secret_value()
        if text != SQLITE and not text.startswith(POSTGRES):
            raise ValueError("allowed: `sqlite`, or `postgres:` and a libpq connection string")
        return catalog

    @property
    def is_sqlite(self) -> bool:
        return self.catalog.get_secret_value() == SQLITE

    @property
    def postgres(self) -> str:
        """Return the connection string of the catalog's server, with its password."""
        return self.catalog.get_secret_value().removeprefix(POSTGRES)

    @property
    def umask(self) -> int:
        """Return what others may not do with the files that we write."""
        return 0o007 if self.group_access else 0o077

    query_seconds: float = Field(
        default=600, gt=0, le=31_536_000, description="longest time of one query of `sql` or one SQL model"
    )

    @field_validator("home")
    @classmethod
    def _refuse_unknown_account(cls, home: Path) -> Path:
        try:
            return home.expanduser()
        except RuntimeError as error:
            raise ValueError(str(error)) from error

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
            _explain(str(problem["loc"][0]), problem["input"], problem["msg"]) for problem in error.errors()
        ]
    # Without the error of pydantic as its cause: that one repeats what was typed.
    raise LakeError("\n".join(wrong))


def _explain(name: str, given: object, message: str) -> str:
    shown = "" if name in SECRET else f" {mask_secrets(repr(given))}:"
    message = message.removeprefix("Value error, ")
    hidden = " (the value is not shown: it may hold a password)" if name in SECRET else ""
    return f"TRIALHOUSE_{name.upper()}:{shown} {message}{hidden}"


def keep_files_private(folder: Path, umask: int) -> None:
    """Take from a folder, and from all in it that is ours, what others were once allowed."""
    files, folders = 0o666 & ~umask, 0o777 & ~umask
    for where, _, names in os.walk(folder):
        _set_mode(where, folders)
        for name in names:
            _set_mode(os.path.join(where, name), files)  # noqa: PTH118 - a lake may hold many thousand files


def _set_mode(path: str, mode: int) -> None:
    try:
        found = os.lstat(path)
        if found.st_uid == os.geteuid() and found.st_mode & 0o777 != mode and not os.path.islink(path):  # noqa: PTH114
            os.chmod(path, mode)  # noqa: PTH101
    except FileNotFoundError:  # a reader's temporary file, gone meanwhile
        return
