"""Free probability: a law, and how laws combine. Knows no network."""

from rmt.laws import convolution as convolution  # fills the table of rules
from rmt.laws import negation as negation
