"""What people look at: pictures, tables, the report, the command line. Renders and parses, computes nothing."""

import sys


def main() -> None:
    """Run the command `rmt`; in a core install, name the extras to install."""
    try:
        from figures.cli import cli
    except ModuleNotFoundError as error:
        sys.exit(f"rmt: the command line needs {error.name}: pip install 'rmt[torch,data,figures]'")
    cli()
