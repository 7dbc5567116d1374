"""Every law of the table keeps every promise."""

import pytest
from cases import LAWS
from law_checks import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_law(law, check):
    check(law)
