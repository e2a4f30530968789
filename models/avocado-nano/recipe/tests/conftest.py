"""Lets tests import the recipe's modules by their plain names, and leaves out test files whose packages are not installed."""
import importlib.util
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

# Packages beside pytest that each test file needs, its imports included.
NEEDS = {
    'test_hard.py': ('numpy', 'PIL', 'safetensors', 'tokenizers', 'torch'),
    'test_paint.py': ('numpy', 'PIL', 'torch'),
    'test_shards.py': ('numpy', 'PIL', 'safetensors', 'tokenizers', 'torch'),
    'test_speech.py': ('numpy',),
    'test_world.py': ('numpy', 'PIL', 'torch'),
}
MISSING = {name: [package for package in packages if importlib.util.find_spec(package) is None] for name, packages in NEEDS.items()}
collect_ignore = [name for name, packages in MISSING.items() if packages]


def pytest_terminal_summary(terminalreporter):
    """Names the test files that were left out."""
    for name in collect_ignore:
        terminalreporter.write_line(f'NOT RUN {name}: {", ".join(MISSING[name])} not installed')
