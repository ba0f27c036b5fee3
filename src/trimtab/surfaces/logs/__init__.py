"""What the processes of a gateway write to stderr: lines that nothing from outside can forge, and that hold no text of
a request. README.md beside this says what is in them."""

from trimtab.surfaces.logs.access import AccessLog
from trimtab.surfaces.logs.lines import JsonLines, TextLines, clean
from trimtab.surfaces.logs.settings import LogSettings
from trimtab.surfaces.logs.setup import Output, set_up

__all__ = ["AccessLog", "JsonLines", "LogSettings", "Output", "TextLines", "clean", "set_up"]
