"""`python -m infra.cli`, for processes that start others."""

from infra.cli import main

if __name__ == "__main__":
    main()
