"""Notes: those of a score, those found, how they are named and grouped.

They are numbers, arrays and files of notes: nothing here knows sound or spectra.
"""
