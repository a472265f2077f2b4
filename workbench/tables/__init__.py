"""The papers' tables and figures, declared one file each and regenerated from stored features.

``specs/`` declares, ``plan`` resolves what a selection needs, ``run`` extracts, measures and
writes, ``check`` says what is stale. The declarations lie inside the package, so that an installed
``workbench tables`` finds them without a checkout.
"""
