"""Every law of the table keeps every promise."""

import pytest
from cases import LAWS, THREE
from law_checks import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("law", [pytest.param(law, marks=pytest.mark.slow) if law is THREE else law for law in LAWS],
                         ids=repr)
def test_every_law(law, check):
    check(law)
