"""The language: one source file to one program. See compiler.py."""

from actors.contracts.language.compiled import Compiled
from actors.contracts.language.compiler import compile_source
from actors.contracts.language.faults import LanguageError, LanguageFault

__all__ = ["Compiled", "LanguageError", "LanguageFault", "compile_source"]
