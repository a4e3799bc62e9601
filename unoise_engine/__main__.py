"""python -m unoise_engine"""

from unoise_engine.cli import main

if __name__ == "__main__":
    main()
