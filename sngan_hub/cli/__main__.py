"""``python -m sngan_hub.cli``: the ``sngan`` command."""

from .main import main

raise SystemExit(main())
