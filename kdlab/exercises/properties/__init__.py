"""What a code answer must satisfy: for each exercise a list of properties, each of which names a misconception.

One module per lesson, found by its name. To add an exercise, write one short function per property, most telling
first, since the first that fails is the diagnosis. It gets the learner's function, calls it, and complains with
``expect``:

    @prop("slug-of-the-exercise", "What goes wrong in the learner's mind when this fails, in Markdown with $maths$.")
    def name_of_the_property(function):
        expect(function(2.0) > function(1.0))

Where the complaint says nothing, the last call and its result are shown. ``RESULTS`` says what kind of result the
exercise's function returns, and ``agrees`` closes the list with a comparison on many inputs. That inputs come back
unchanged and results are finite is looked at on every call. ``assert`` is not used, because ``python -O`` would strip
it. Only a worker imports this package: it needs torch.
"""

import pkgutil
from importlib import import_module

from kdlab.exercises.properties.core import PROPERTIES, RESULTS, NotFinite, Property, WrongKind, expect, shown

__all__ = ["LISTS", "PROPERTIES", "RESULTS", "NotFinite", "Property", "WrongKind", "expect", "shown"]

LISTS = [
    import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
    if module.name.startswith("lesson_")
]
"""The modules with the lists, in the order of the lessons."""
