"""Settings of tables of stimuli; nothing here loads NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.errors import SettingError
from unrolled.settings import check_settings, setting
from unrolled.text.options import TABLE_FORMATS


@dataclass(frozen=True)
class StimulusOptions:
    """What a row of the table is, and what a row of the result is.

    Raises:
        SettingError: a value that is not allowed, or settings that contradict each other.
    """

    field: str | None = setting(
        None,
        "Column that holds the text.",
        group="Table",
        shown_default="text or sentence, or the only one",
    )
    input_format: str | None = setting(
        None,
        "Format of the table: csv, tsv, jsonl, parquet or text (a line is a text).",
        shown_default="by its suffix, else its first line",
        allowed=", ".join(TABLE_FORMATS),
        check=lambda value: value in TABLE_FORMATS,
    )
    quotes: bool = setting(
        True, 'Whether " quotes cells of CSV and TSV, or is a character like others.'
    )
    invalid: str = setting(
        "error",
        "What is not UTF-8: refuse it, or replace it by U+FFFD.",
        choices=("error", "replace"),
    )
    text: bool = setting(True, "Whether the column of the text is kept on every row.")
    punctuation: str = setting(
        "attached",
        "Marks at words, as in 'mat.': attached (what white space separates is a word with its "
        "marks), apart (marks, and clitics such as n't, are words), or summed (models of words see "
        "them apart, and the row of a word has the sum).",
        group="Words",
        choices=("attached", "apart", "summed"),
    )
    by: str = setting(
        "word", "What a row of the result is: a word or a region.", choices=("word", "region")
    )
    region_mark: str = setting(
        "", "What separates the regions within a text, such as | in 'The cat | sat'; it is removed."
    )
    group_by: str = setting(
        "",
        "Columns, separated by commas: rows in a row with the same values there are the regions of "
        "one text.",
    )
    join: str = setting(
        " ",
        "What stands between the regions that --group-by joins; '' for scripts without spaces.",
        shown_default="a space",
    )
    sentences: str = setting(
        "one",
        "Sentences of a text: one (all of it), lines, or marks (they end after . ! ? and at blank "
        "lines).",
        choices=("one", "lines", "marks"),
    )
    context: str = setting(
        "sentence",
        "What a net remembers: the words of the sentence, or those of the text before it too.",
        choices=("sentence", "text"),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.region_mark and self.group_by:
            raise SettingError("regions are given by region_mark or by group_by, not by both")
        if self.by == "region" and not (self.region_mark or self.group_by):
            raise SettingError(
                "a row a region needs regions",
                hint="Give the sign that separates them (--region-mark), or the columns whose "
                "values the regions of one text share (--group-by)",
            )

    @property
    def groups(self) -> list[str]:
        """The names of `group_by`."""
        return [name.strip() for name in self.group_by.split(",") if name.strip()]

    @property
    def has_regions(self) -> bool:
        """Whether texts have regions."""
        return bool(self.region_mark or self.group_by)
