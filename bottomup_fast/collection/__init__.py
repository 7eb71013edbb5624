"""Segmenting many images: which they are, what is done already, and who does the rest."""
