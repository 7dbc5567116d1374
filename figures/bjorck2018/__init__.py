"""Figures and tables of Bjorck, Gomes, Selman and Weinberger, "Understanding Batch Normalization" (NeurIPS 2018)."""
