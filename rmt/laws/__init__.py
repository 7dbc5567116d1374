"""Free probability: a law, and how laws combine. Knows no network."""
