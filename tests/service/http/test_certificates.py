"""Certificates: read anew each time, and never half."""

import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from ledgercore.service.http.certificates import read_certificate
from ledgercore.service.settings import InvalidSetting, Settings

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for this machine that signs itself, and tells its name."""
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_without_files_there_is_none() -> None:
    assert read_certificate(Settings()) is None


def test_each_reading_is_a_context_of_its_own(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "one")
    settings = Settings(tls_cert=str(cert), tls_key=str(key))
    first, second = read_certificate(settings), read_certificate(settings)
    assert isinstance(first, ssl.SSLContext) and first is not second
    other, _ = make_certificate(tmp_path, "two")
    cert.write_bytes(other.read_bytes())  # Its key is still the old one.
    with pytest.raises(InvalidSetting, match=f"--tls-cert: {cert} with {key} cannot be used"):
        read_certificate(settings)


@pytest.mark.parametrize("missing", ["cert", "key"])
def test_the_file_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    paths = dict(zip(("cert", "key"), make_certificate(tmp_path, "one"), strict=True))
    paths[missing].unlink()
    settings = Settings(tls_cert=str(paths["cert"]), tls_key=str(paths["key"]))
    with pytest.raises(InvalidSetting) as caught:
        read_certificate(settings)
    assert str(caught.value) == f"--tls-{missing}: {paths[missing]}: No such file or directory"


def test_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    """Not at the start, and not at a SIGHUP, when everybody would wait for the answer."""
    cert, key = make_certificate(tmp_path, "one")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:word", "-out", locked],
        check=True,
        capture_output=True,
    )
    with pytest.raises(InvalidSetting) as caught:
        read_certificate(Settings(tls_cert=str(cert), tls_key=str(locked)))
    assert str(caught.value) == f"--tls-key: {locked}: it has a password; write it without one"


@pytest.mark.parametrize("which", ["cert", "key"])
def test_nobody_waits_at_a_pipe(tmp_path: Path, which: str) -> None:
    paths = dict(zip(("cert", "key"), make_certificate(tmp_path, "one"), strict=True))
    paths[which].unlink()
    os.mkfifo(paths[which])
    with pytest.raises(InvalidSetting) as caught:
        read_certificate(Settings(tls_cert=str(paths["cert"]), tls_key=str(paths["key"])))
    assert str(caught.value) == f"--tls-{which}: {paths[which]}: it is no file"
