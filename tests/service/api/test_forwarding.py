"""Behind a reverse proxy: what was asked for, from which page, under which path; and whom to believe."""

from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.api.forwarding import Trusted, asked_for, own_path, prefix_of, to_root
from service.main import create_app
from service.settings import Settings, in_words
from service.store import tokens
from service.tokens import Scope

PROXY = "127.0.0.1"
LAB = {"host": "127.0.0.1:8000", "x-forwarded-host": "nfa.lab.org", "x-forwarded-proto": "https"}


def asked(headers, peer=PROXY, trusted="127.0.0.1,::1", public=None):
    return asked_for("http", peer, headers, Trusted(trusted), urlsplit(public) if public else None)


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "nfa.lab.org"}, "https://nfa.lab.org"),
        ({"host": "nfa.lab.org"}, "http://nfa.lab.org"),
        ({"host": "nfa.lab.org:443"}, "https://nfa.lab.org"),
        ({"host": "nfa.lab.org"}, "https://nfa.lab.org:443"),
        ({"host": "NFA.lab.org"}, "https://nfa.LAB.org"),
        ({"host": "nfa.lab.org:8443"}, "https://nfa.lab.org:8443"),
        ({"host": "[::1]:8000"}, "http://[::1]:8000"),
        (LAB, "https://nfa.lab.org"),
        (LAB | {"x-forwarded-host": "nfa.lab.org:8443"}, "https://nfa.lab.org:8443"),
        (LAB | {"x-forwarded-port": "8443"}, "https://nfa.lab.org:8443"),
        (LAB | {"x-forwarded-host": "nfa.lab.org, inner:80"}, "https://nfa.lab.org"),
    ],
)
def test_a_page_of_the_name_that_was_asked_for_may_change_things(headers, origin):
    assert asked(headers).is_own(origin)


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "127.0.0.1:8000"}, "https://nfa.lab.org"),
        ({"host": "nfa.lab.org"}, "https://evil.org"),
        ({"host": "nfa.lab.org"}, "https://nfa.lab.org.evil.org"),
        ({"host": "nfa.lab.org"}, "https://nfa.lab.org:8443"),
        ({"host": "nfa.lab.org:8443"}, "https://nfa.lab.org"),
        ({"host": "nfa.lab.org"}, "null"),
        ({"host": ""}, ""),
        ({}, "https://"),
        ({"host": "[nonsense"}, "https://[nonsense"),
        (LAB, "https://evil.org"),
    ],
)
def test_a_page_of_another_name_may_not(headers, origin):
    assert not asked(headers).is_own(origin)


def test_words_of_a_proxy_that_nobody_named_do_not_count():
    found = asked(LAB | {"x-forwarded-for": "10.0.0.9", "x-forwarded-prefix": "/nfa"}, peer="10.0.0.1")
    assert found.scheme == "http" and found.hosts == ("127.0.0.1:8000",) and found.prefix == ""
    assert found.client == found.distrusted == "10.0.0.1"
    assert asked(LAB, peer="10.0.0.1", trusted="10.0.0.0/8").scheme == "https"
    assert asked(LAB, peer="::ffff:127.0.0.1").scheme == "https"
    assert asked(LAB, peer=None, trusted="*").scheme == "https"
    assert asked(LAB, peer=PROXY, trusted="").scheme == "http"


def test_who_asked_is_the_last_address_that_is_no_proxy():
    def client(forwarded, trusted="127.0.0.1,10.0.0.0/8"):
        return asked({"x-forwarded-for": forwarded}, trusted=trusted).client

    assert client("198.51.100.7") == "198.51.100.7"
    assert client("1.2.3.4, 198.51.100.7, 10.1.1.1") == "198.51.100.7"  # the first one anybody may write
    assert client("10.1.1.1") == "10.1.1.1"
    assert client("") == client("unknown, _hidden") == PROXY
    # where every address is believed: who came to the nearest proxy
    assert client("1.2.3.4, 198.51.100.7", trusted="*") == "198.51.100.7"
    assert client("10.9.9.9, 10.1.1.5") == "10.1.1.5"
    # a port would make one caller many
    assert client("198.51.100.7:4711") == client('"198.51.100.7:4712"') == "198.51.100.7"
    assert client("[2001:db8::7]:4711") == client("2001:DB8::7") == "2001:db8::7"


def test_callers_behind_one_proxy_fail_to_sign_in_each_for_themselves(store):
    tokens.create_token(store, "anna", Scope.READ)
    settings = Settings(forwarded_allow_ips="*", failed_sign_ins_per_minute=12)
    with TestClient(create_app(settings, store), base_url="http://127.0.0.1") as client:

        def status(caller, number):
            bearer = {"Authorization": f"Bearer nfa_{number:043}"}
            return client.get("/api/v1/experiments", headers=bearer | {"X-Forwarded-For": caller}).status_code

        # whatever they write in front of their own address
        mallory = {status(f"1.2.3.{number}, 198.51.100.6:{4000 + number}", number) for number in range(30)}
        assert mallory == {401, 429}
        assert status("198.51.100.7", 99) == 401


def test_the_public_address_goes_before_all_headers():
    found = asked({"host": "x", "x-forwarded-proto": "http"}, public="https://lab.org/nfa/")
    assert (found.scheme, found.prefix) == ("https", "/nfa") and found.is_own("https://lab.org")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("/nfa", "/nfa"),
        ("nfa/", "/nfa"),
        ("/user/anna@x.org/proxy/8000/", "/user/anna@x.org/proxy/8000"),
        ("", ""),
        ("/", ""),
        ("//evil.org", "/evil.org"),
        ("/a/../b", ""),
        ("/a b", ""),
        ('/"><script>', ""),
        ("/a//b", ""),
    ],
)
def test_a_prefix_is_a_plain_path_or_none(given, wanted):
    assert prefix_of(given) == wanted


def test_paths_come_with_the_prefix_or_without():
    assert own_path("/nfa/trials/t1", "/nfa") == own_path("/trials/t1", "/nfa") == "/trials/t1"
    assert own_path("/nfa", "/nfa") == own_path("/nfa/", "/nfa") == "/"
    assert own_path("/nfax", "/nfa") == "/nfax"
    assert own_path("/api/v1/experiments", "/api") == "/api/v1/experiments"
    assert [to_root(path) for path in ("/", "/submit", "/trials/t1", "/a/b/")] == ["./", "./", "../", "../../"]


@pytest.fixture
def behind(store):
    """A service with a token, behind a proxy that is believed."""
    secret = tokens.create_token(store, "anna", Scope.SUBMIT)
    with TestClient(
        create_app(Settings(forwarded_allow_ips="*"), store), base_url="http://127.0.0.1", follow_redirects=False
    ) as client:
        client.headers.update(
            {"X-Forwarded-Host": "lab.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/nfa"}
        )
        yield client, secret


def test_signing_in_behind_tls_keeps_a_secure_cookie_for_our_own_paths(behind):
    client, secret = behind
    answer = client.post("/login", data={"token": secret}, headers={"Origin": "https://lab.org"})
    assert answer.status_code == 303 and answer.headers["location"] == "./"
    cookie = answer.headers["set-cookie"]
    assert "; Secure" in cookie and "Path=/nfa/" in cookie and "HttpOnly" in cookie and "SameSite=strict" in cookie
    forgotten = client.post("/logout").headers["set-cookie"]
    assert "; Secure" in forgotten and "Path=/nfa/" in forgotten


def test_signing_in_without_tls_keeps_a_cookie_that_comes_back(store):
    secret = tokens.create_token(store, "anna", Scope.SUBMIT)
    with TestClient(create_app(Settings(), store), base_url="http://127.0.0.1", follow_redirects=False) as client:
        cookie = client.post("/login", data={"token": secret}).headers["set-cookie"]
        assert "Secure" not in cookie and "Path=/;" in cookie
    with TestClient(
        create_app(Settings(public_url="https://lab.org"), store), base_url="http://127.0.0.1", follow_redirects=False
    ) as client:
        assert "; Secure" in client.post("/login", data={"token": secret}).headers["set-cookie"]


@pytest.mark.parametrize("passed_on", ["", "/nfa"])
def test_whatever_leads_somewhere_leads_there_under_the_prefix(behind, tiny_grid, passed_on):
    client, secret = behind
    bearer = {"Authorization": f"Bearer {secret}"}
    made = client.post(f"{passed_on}/api/v1/experiments", json=tiny_grid(), headers=bearer)
    assert made.headers["location"] == "/nfa/api/v1/experiments/e1"
    assert client.get(f"{passed_on}/", headers={"Accept": "text/html"}).headers["location"] == "./login"
    deep = client.get(f"{passed_on}/trials/t1", headers={"Accept": "text/html"})
    assert deep.headers["location"] == "../login"
    # Starlette takes away the slash, by an address that only we can reach
    assert client.get(f"{passed_on}/cluster/", headers=bearer).headers["location"] == "../cluster"
    submitted = client.post(f"{passed_on}/submit", data={"grid": "seeds: 1", "do": "submit"}, headers=bearer)
    assert submitted.headers["location"] == "experiments/e2"
    assert client.post(f"{passed_on}/experiments/e2/pause", headers=bearer).headers["location"] == "../e2"
    assert client.get(f"{passed_on}/openapi.json", headers=bearer).json()["servers"] == [{"url": "/nfa"}]
    docs = client.get(f"{passed_on}/docs", headers=bearer).text
    assert "'/nfa/openapi.json'" in docs and '"/nfa/static/docs/swagger-ui-bundle.js"' in docs


def test_no_page_names_an_address_at_the_top(api, submit, train_queue):
    made = submit(claims=[{"id": "c", "metric": "alignment", "every_trial": ">= 0"}])["id"]
    train_queue()
    pages = ("/", f"/experiments/{made}", "/trials/t1", "/submit", "/cluster", "/definitions", "/login", "/a/b/c")
    for page in pages:
        text = api.get(page, headers={"Accept": "text/html"}).text
        assert "static/web/page.css" in text
        for sign in ('="/', "='/", "=/"):
            assert sign not in text, page


def test_a_refused_page_is_told_the_line_that_is_missing(api):
    said = api.post("/login", data={"token": "x"}, headers={"Origin": "https://nfa.lab.org"})
    assert said.status_code == 403
    assert "proxy_set_header Host $http_host;" in said.json()["detail"] and "NFA_PUBLIC_URL" in said.json()["detail"]
    forwarded = {"Origin": "https://nfa.lab.org", "X-Forwarded-Host": "nfa.lab.org"}
    assert "NFA_FORWARDED_ALLOW_IPS" in api.post("/login", headers=forwarded).json()["detail"]


def test_an_open_service_looks_at_every_name_it_was_called_by(store):
    settings = Settings(forwarded_allow_ips="*", host_names=["nfa.lab.org"])
    with TestClient(create_app(settings, store), base_url="http://127.0.0.1") as client:
        assert client.get("/api/v1/experiments", headers={"X-Forwarded-Host": "nfa.lab.org"}).status_code == 200
        for wrong in ({"X-Forwarded-Host": "evil.org"}, {"Host": "evil.org", "X-Forwarded-Host": "127.0.0.1"}):
            assert client.get("/api/v1/experiments", headers=wrong).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"forwarded_allow_ips": "proxy.lab.org"},
        {"forwarded_allow_ips": "10.0.0.300"},
        {"public_url": "nfa.lab.org"},
        {"public_url": "ftp://nfa.lab.org"},
        {"public_url": "https://nfa.lab.org/?x"},
        {"public_url": "https://anna:secret@nfa.lab.org"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize("given", ["hub.org,lab.org", '["hub.org", "lab.org"]', " hub.org , lab.org,"])
def test_names_are_given_with_commas_or_as_json(monkeypatch, given):
    monkeypatch.setenv("NFA_HOST_NAMES", given)
    assert Settings().host_names == ["hub.org", "lab.org"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_TRIALS", "x"), ("HOST_NAMES", "[x"), ("PUBLIC_URL", "nfa.lab"), ("FORWARDED_ALLOW_IPS", "x")],
)
def test_a_wrong_variable_is_named_in_one_line(name, value, monkeypatch):
    monkeypatch.setenv(f"NFA_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert in_words(caught.value).startswith(f"NFA_{name}: ") and "\n" not in in_words(caught.value)
