"""Loads networks from names, files, folders and Hugging Face Hub repositories; lists models; writes model cards and
pushes networks to the Hub.
"""
