"""What people look at: pictures, tables, the report, the command line. Renders and parses, computes nothing."""

import sys


def main() -> None:
    """Run the command `rmt`; in a core install, name the extras to install."""
    try:
        from figures.cli import cli
    except ModuleNotFoundError as error:
        needed = f"needs {error.name}" if error.name else error
        print(f"rmt: the command line {needed}: pip install 'rmt[torch,data,figures]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(3)
    cli()
