"""The publisher's side: where source folders come from and where bundles go.

It exists so that making software ready for others stays apart from installing it; it must not
know the store, the forms or anything else of the machine an app ends up on.
"""
