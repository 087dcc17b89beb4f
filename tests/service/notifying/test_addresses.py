"""Only public addresses are told, whatever name leads to them, and what an operator allows."""

import ipaddress

import pytest

from service.notifying.addresses import Refused, is_allowed, resolved

PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1"),
    # one inside of another
    *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "2002:7f00:1::", "64:ff9b::10.0.0.1", "2001:db8::1"),
]


def _answering(*addresses):
    asked = []

    def resolve(host, port, *_):
        asked.append((host, port))
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return resolve, asked


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address):
    assert not is_allowed(ipaddress.ip_address(address), [])
    with pytest.raises(Refused, match="NFA_NOTIFY_NETWORKS"):
        resolved("hook.example", 443, [], _answering(address)[0])


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::93.184.215.14"]
)
def test_a_public_address_is_told(address):
    assert is_allowed(ipaddress.ip_address(address), [])


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    with pytest.raises(Refused):
        resolved("hook.example", 443, [], _answering("93.184.215.14", "10.0.0.1")[0])


def test_a_name_is_resolved_once_and_its_first_address_is_taken():
    resolve, asked = _answering("93.184.215.14", "93.184.215.15")
    assert str(resolved("hook.example", 443, [], resolve)) == "93.184.215.14"
    assert asked == [("hook.example", 443)]


def test_an_operator_allows_networks_and_nothing_beside_them():
    allowed = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1"):
        assert is_allowed(ipaddress.ip_address(address), allowed)
    for address in ("127.0.0.1", "192.168.1.1", "fe80::1"):
        assert not is_allowed(ipaddress.ip_address(address), allowed)


def test_a_name_without_addresses_may_have_some_later():
    with pytest.raises(OSError, match="no address"):
        resolved("hook.example", 443, [], lambda *_: [])
