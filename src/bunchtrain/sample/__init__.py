"""Trained surrogates in use: files of parameters in, files of quantities out."""
