"""Higgs Audio v2 and v3 by Boson AI. Torch is imported only by what runs in a replica."""
