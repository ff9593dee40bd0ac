"""Start, tune, watch and restart a local engine.

``gguf`` reads a model file's header, ``memory`` says what it will take, ``options`` makes the
engine's options from the settings, ``llamacpp`` is the child process that serves, ``supervisor``
keeps it alive.
"""
