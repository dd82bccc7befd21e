"""`python -m tfcount COMMAND` is the command `tfcount COMMAND`."""

from tfcount.commands import main

if __name__ == "__main__":
    main()
