"""Secrets do not reach trainers, and Ray's token is its owner's alone."""

import os

from workers.environment import prepare, ray_token


def test_preparing_removes_secrets_and_turns_token_authentication_on(monkeypatch, tmp_path):
    secret = {"NFA_DATABASE_URL": "x", "PGPASSWORD": "x", "MY_API_KEY": "x", "GITHUB_TOKEN": "x", "DATABASE_URL": "x"}
    secret["OTEL_EXPORTER_OTLP_HEADERS"] = "x"
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "before")
    prepare(tmp_path / "token")
    assert not set(secret) & set(os.environ)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert "PATH" in os.environ


def test_a_token_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    path = ray_token(tmp_path / "home" / "ray_token")
    first = path.read_text()
    assert len(first) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert ray_token(path).read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
