"""Every threshold of this package. Scope and quote were measured (benchmarks/grounded/README.md); topic and language
were set by hand on the passages of the tests, and no curve stands behind them yet."""

from __future__ import annotations

from typing import Final

TOPIC_WH: Final = 0.4
"""Least share of an open question's content (rare words count more) in what the answer stands on."""
TOPIC_POLAR: Final = 0.75
"""The same where yes or no is asked: each word of the question may be the one that decides."""
TOPIC_MARGIN: Final = 0.15
"""How much less than the passages' best sentence it may hold: another sentence is the one that answers."""
TOPIC_LEAD: Final = 0.5
"""By how much the sentence of an answer without a number must lead, in words of its own, one that has a number."""
FOREIGN_MARGIN: Final = 2
"""By how many function words another language must lead before the answer counts as being in it."""
DETECT_CHARS: Final = 40
"""Shorter texts are not shown to the language detector."""
DETECT_LEAST: Final = 0.6

QUOTE_SENTENCES: Final = 3
QUOTE_RANK: Final = 0.15
"""What each place further down among the passages costs: retrieval's own opinion."""
QUOTE_LANGUAGE: Final = 0.1
"""What a passage in another language than the question costs."""
QUOTE_KIND: Final = 0.3
"""What a number is worth where one is asked for."""
QUOTE_OWN: Final = 0.25
"""What words of the question are worth in the sentence itself rather than in its headings."""
QUOTE_ALONE: Final = 1.35
"""A sentence that scores as much is quoted alone."""

SCOPE: Final = (-40.5, 45.9, 3.9)
"""Logistic regression of "the passages are about it": bias, weight of the best cosine, of the share of words found."""
SCOPE_FOREIGN: Final = (-40.9, 51.2, 0.0)
"""Where all passages are in another language, so that words say nothing."""
SCOPE_LEXICAL: Final = (-3.1, 7.5)
"""Without a cosine: bias, weight of the share."""
