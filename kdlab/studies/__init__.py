"""The arms of the course's long comparisons, shared by the lessons and the scripts in benchmarks/.

A study's numbers live in ``data/results/NAME.json``, written by ``benchmarks/NAME_study.py``; a lesson draws its
table from that file and runs part of it again.
"""

from kdlab.studies.results import load_results, save_results

__all__ = ["load_results", "save_results"]
