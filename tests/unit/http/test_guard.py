"""Which addresses and which URLs are refused."""

import ipaddress

import pytest

from connectors.http.guard import AddressRefusedError, check_address, check_url
from schemas.errors import ErrorCode, MedialaneError

PRIVATE = [
    "127.0.0.1",
    "127.255.1.2",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "fd00::1",
    "fc00::1",
]
NEVER = [
    "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.100.100.200", "168.63.129.16", "169.254.169.254", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::1", "2002:808:808::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "198.20.0.1", "223.255.255.255",
          "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2001:4860:4860::8888", "2400:cb00::1"]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_addresses_that_are_refused(address):
    with pytest.raises(AddressRefusedError):
        check_address(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are_dialled(address):
    check_address(ipaddress.ip_address(address))
    check_address(ipaddress.ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_development_may_permit_private_networks(address):
    check_address(ipaddress.ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_nothing_permits_metadata_multicast_and_disguises(address):
    with pytest.raises(AddressRefusedError):
        check_address(ipaddress.ip_address(address), allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks",
        "http://example.com:8080/hooks?x=1",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/x",
        "https://bücher.example/",
        "https://1password.example/",
        "https://hooks.example.com.",
    ],
)
def test_urls_that_may_be_registered(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/hooks", "//example.com", "ftp://example.com", "file:///etc/passwd", "gopher://example.com", "javascript:alert(1)",
        "https://", "https:///path", "http://user:pass@example.com/", "http://user@example.com/", "https://example.com/#part",
        "https://example.com:0/", "https://example.com:99999/", "https://exa mple.com/", "https://example.com/\r\nX: y",
        "https://example.com\\@127.0.0.1/", "https://[::1", "http://[@t]@/", "https://example.com/" + "x" * 2048,
        "http://localhost/", "http://LOCALHOST:80/", "http://a.localhost/", "http://localhost./", "http://metadata.google.internal/",
        "http://printer.local/", "http://intranet/", "http://redis:6379/", "http://x.svc.cluster.local/",
        "http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/",
        "http://10.0.0.1/", "http://0.0.0.0/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://017700000001/",
        "http://127.0.0.1./", "http://0177.0.0.1/", "http://\uff11\uff12\uff17.0.0.1/",
    ],
)  # fmt: skip
def test_urls_that_are_refused_name_the_field_and_the_reason(url):
    with pytest.raises(MedialaneError) as caught:
        check_url(url)
    assert caught.value.code is ErrorCode.WEBHOOK_URL_REFUSED
    assert (caught.value.status, caught.value.field) == (422, "url")
    assert caught.value.detail.startswith("Webhooks are not sent to this address: ")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/", "http://localhost:8000/hooks", "http://receiver:80/", "http://[::1]:1/"]
)
def test_development_may_register_loopback(url):
    check_url(url, allow_private=True)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://2130706433/", "ftp://localhost/", "http://u:p@localhost/"]
)
def test_development_still_refuses_the_rest(url):
    with pytest.raises(MedialaneError):
        check_url(url, allow_private=True)
