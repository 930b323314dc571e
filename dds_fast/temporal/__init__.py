"""Notes, not frames: each source is silent, attacked or sounding on.

A search explains each frame by itself. Here a small network reads, source by source, what the
search found around a frame and how the spectrum rises there (`features`), and says how likely the
source sounds and how likely it is struck (`network`); a hidden Markov model makes notes of it
(`states`). The network is learned from mixtures of the dictionary's own isolated notes
(`learning`, `dds_fast.calibration`). It knows arrays, never a recording, a search or a dictionary.
"""
