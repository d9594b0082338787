import pytest

from streams.transport import UnsupportedFaustError, check_names


def test_a_faust_without_a_name_that_we_need_is_refused_with_its_version():
    class Consumer:
        _commit = None

    with pytest.raises(UnsupportedFaustError, match=r"faust-streaming \d.*Consumer\._filter"):
        check_names({Consumer: ("_commit", "_filter_committable_offsets")})


def test_the_installed_faust_has_them_all():
    check_names()
