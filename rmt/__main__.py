"""The command line as a module: `python -m rmt`."""


def main() -> None:
    """Run the command `rmt`, which stands above this package and is loaded here alone."""
    from figures import main as run

    run()


if __name__ == "__main__":
    main()
