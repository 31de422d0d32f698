"""``python -m leasetimer`` is the command ``leasetimer``."""

from .cli import main

if __name__ == "__main__":
    main()
