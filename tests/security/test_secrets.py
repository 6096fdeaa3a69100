"""A password is never said: not by a refused connection, a mistyped setting, a log or a traceback."""

from __future__ import annotations

import base64
import contextlib
import logging
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from pydantic import BaseModel, ValidationError

from tasks import steps
from warehouse.errors import LakeError, StudyError
from warehouse.lake import open_lake
from warehouse.masking import MASK, mask, mask_error, mask_logs_and_tracebacks, masked_errors, masking
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "Tr0ub4dor&3/é'x"  # noqa: S105 - of nobody
ENCODED = quote(PASSWORD, safe="")
ESCAPED = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
PERSON = "Zoe Quackenbush"
# Nobody listens there.
PLACE = "127.0.0.1:9/house?connect_timeout=1"
CATALOGS = {
    "uri": f"postgres:postgresql://bob:{ENCODED}@{PLACE}",
    "short scheme": f"postgres:postgres://bob:{ENCODED}@{PLACE}",
    "lower case": f"postgres:postgresql://bob:{ENCODED.lower().replace('tr0ub4dor', 'Tr0ub4dor')}@{PLACE}",
    "query": f"postgres:postgresql://bob@127.0.0.1:9/house?connect_timeout=1&password={ENCODED}",
    "pairs": f"postgres:host=127.0.0.1 port=9 user=bob password='{ESCAPED}' dbname=house",
    "spaces": f"postgres:host=127.0.0.1 port=9 user=bob password = '{ESCAPED}' dbname=house",
    "last": f"postgres:host=127.0.0.1 port=9 dbname=house password='{ESCAPED}'",
}


def shapes(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        secret.replace("'", "''"),
        repr(secret)[1:-1],
        encoded,
    }


def assert_kept(text: str) -> None:
    assert [shape for shape in shapes(PASSWORD) if shape in text] == []
    assert "Tr0ub4dor" not in text


@pytest.fixture(params=CATALOGS.values(), ids=CATALOGS)
def catalog(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    assert home
    monkeypatch.setenv("TRIALHOUSE_CATALOG", request.param)
    return str(request.param)


def whole(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)


def test_a_refused_connection_does_not_repeat_the_password(catalog: str) -> None:
    lake = open_lake("x")
    # A writer's opening takes longer, and fails in the same place.
    way = lake.write if catalog == CATALOGS["uri"] else lake.read
    with pytest.raises(LakeError, match="cannot be opened") as caught, way():
        pass
    assert_kept(whole(caught.value))
    # What is not secret is still told.
    assert "127.0.0.1" in str(caught.value)


def test_settings_do_not_show_the_password(catalog: str) -> None:
    settings = load_settings()
    assert settings.catalog.get_secret_value() == catalog
    assert_kept(
        f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()} {open_lake('x')!r}"
    )


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://bob:{ENCODED}@{PLACE}",
        f"postgre:host=x password='{ESCAPED}'",
        f"sqlite password={PASSWORD}",
        PASSWORD,
    ],
)
@pytest.mark.parametrize("name", ["CATALOG", "STORAGE"])
def test_a_mistyped_setting_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    monkeypatch.setenv(f"TRIALHOUSE_{name}", f"{given}:" if name == "STORAGE" else given)
    with pytest.raises(LakeError, match=f"TRIALHOUSE_{name}: .*not shown") as caught:
        load_settings()
    assert_kept(whole(caught.value))


def test_another_wrong_setting_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALHOUSE_THREADS", "many")
    with pytest.raises(LakeError, match="TRIALHOUSE_THREADS: 'many': Input should be a valid integer"):
        load_settings()


@pytest.mark.parametrize(
    "name",
    [
        "PGPASSWORD",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_SERVER_API_AUTH_STRING",
        "PREFECT_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PGSSLPASSWORD",
        "SOME_DB_PASSWD",
    ],
)
def test_secrets_of_the_environment_are_masked_in_every_shape(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"admin:{PASSWORD}" if name.endswith("AUTH_STRING") else PASSWORD)
    for shape in shapes(PASSWORD):
        assert mask(f"before {shape} after") == f"before {MASK} after"
    header = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    if name.endswith("AUTH_STRING"):
        assert mask(f"Authorization: Basic {header}") == f"Authorization: Basic {MASK}"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://bob:pw@host/db", "postgresql://bob:[masked]@host/db"),
        ("postgresql://:p@w/x@host/db", "postgresql://:[masked]@host/db"),
        ("password=pw host=x", "password=[masked] host=x"),
        ("PASSWORD = 'a b' host=x", "PASSWORD = [masked] host=x"),
        (r"password='a\'b c' host=x", "password=[masked] host=x"),
        ("attach 'postgres:password=''a b'' host=x'", "attach 'postgres:password=[masked] host=x'"),
        (r"'password=\'a b\' host=x'", "'password=[masked] host=x'"),
        ("sslpassword=pw&host=x", "sslpassword=[masked]&host=x"),
        ('password="a b" host=x', "password=[masked] host=x"),
        ("password='never closed", "password=[masked]"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_a_password_that_nobody_knows_is_betrayed_by_its_place(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_short_secret_is_no_letter_of_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "pass")
    assert mask("passengers pass by: pass=pass") == f"passengers {MASK} by: {MASK}={MASK}"
    monkeypatch.setenv("PGPASSWORD", "a")
    assert mask("a cat") == "a cat"


class _Strict(BaseModel):
    number: int


def _refused(value: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        _Strict.model_validate({"number": value})
    return caught.value


def chained(inner: BaseException) -> BaseException:
    try:
        try:
            raise inner  # noqa: TRY301
        except BaseException as error:
            raise StudyError(f"outer {PASSWORD}") from error
    except StudyError as error:
        return error


@pytest.mark.parametrize(
    "inner",
    [
        ValueError(PASSWORD),
        KeyError(PASSWORD),
        OSError(2, "no such file", f"/data/{PASSWORD}"),
        _refused(PASSWORD),
        ExceptionGroup("several", [ValueError(PASSWORD), chained(ValueError(PASSWORD))]),
        UnicodeDecodeError("utf-8", b"x", 0, 1, PASSWORD),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_masked_with_all_that_it_came_from(
    monkeypatch: pytest.MonkeyPatch, inner: Exception
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    inner.add_note(f"a note of {PASSWORD}")
    for error in (inner, chained(inner)):
        masked = mask_error(error)
        assert_kept(whole(masked))
        assert MASK in whole(masked)
        assert_kept(repr(pickle.dumps(masked)))


def test_an_error_keeps_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with pytest.raises(LakeError, match=r"lake \[masked\]"), masked_errors():
        raise LakeError(f"lake {PASSWORD}")


@pytest.mark.parametrize("name", ["trialhouse", "prefect.flow_runs", "prefect.task_runs", "somebody.else"])
def test_logs_are_masked_whoever_writes_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    mask_logs_and_tracebacks()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    person = PERSON
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])  # Prefect's own speaks to a server
    with caplog.at_level(logging.INFO, logger=name), masking(lambda text: text.replace(person, MASK)):
        logger.warning("connecting with %s for %s", PASSWORD, person)
        try:
            raise chained(ValueError(f"{PASSWORD} of {person}"))
        except StudyError:
            logger.exception("failed")
        logger.error("%d of them", 3)
    assert_kept(caplog.text)
    assert person not in caplog.text
    assert "3 of them" in caplog.text


def test_a_step_hands_the_orchestrator_a_masked_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for step in (steps.prepare_study, steps.hash_delivery):
        with pytest.raises(StudyError) as caught:
            step.fn(*[f"{tmp_path}/{PASSWORD}"] * (2 if step is steps.hash_delivery else 1))
        assert_kept(whole(caught.value))


@pytest.fixture
def unexpected(tmp_path: Path) -> Iterator[Path]:
    script = tmp_path / "unexpected.py"
    script.write_text(
        "import os, flows\n"
        "try:\n    raise ValueError('one ' + os.environ['PGPASSWORD'])\n"
        "except ValueError as error:\n    raise RuntimeError('two ' + os.environ['PGPASSWORD']) from error\n",
        encoding="utf-8",
    )
    yield script
    with contextlib.suppress(OSError):
        script.unlink()


def test_the_traceback_of_an_error_that_nobody_expected(
    unexpected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    done = subprocess.run([sys.executable, unexpected], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"ValueError: one {MASK}" in done.stderr
    assert f"RuntimeError: two {MASK}" in done.stderr
    assert_kept(done.stderr + done.stdout)
