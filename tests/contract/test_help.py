"""What commands say of themselves, against what they do."""

from click.testing import CliRunner

from cli.main import medialane
from schemas.scopes import DEFAULT_SCOPES


def test_the_help_of_mint_names_every_scope_that_a_key_gets_by_default():
    said = " ".join(CliRunner().invoke(medialane, ["keys", "mint", "--help"]).output.split())
    default = said.partition("Default: ")[2].partition(".")[0]
    assert all(scope.partition(":")[0] in default for scope in DEFAULT_SCOPES), default
