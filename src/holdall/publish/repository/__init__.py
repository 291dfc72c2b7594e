"""Repositories, the publisher's side: TUF metadata, offers and the catalogue in a folder.

Format: docs/reference/formats/repository.md. Knows nothing of what is in a bundle.
"""
