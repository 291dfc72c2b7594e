"""Who may sign what: keys, signatures over releases, the keyring of a store.

Bytes and a clock in, a `Release` or a named error out. Knows no files, no network and no terminal.
"""
