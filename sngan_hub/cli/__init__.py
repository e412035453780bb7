"""The ``sngan`` command: its flags, and what each subcommand does."""
