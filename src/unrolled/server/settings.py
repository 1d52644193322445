"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.settings import check_settings, setting


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and how much it takes on.

    Raises:
        SettingError: a value that is not allowed.
    """

    host: str = setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for all of this machine's.",
        group="Address",
    )
    port: int = setting(8000, "Port to listen on; 0 for a free one.", minimum=0, maximum=65535)
    workers: int = setting(
        1,
        "Processes; they share the models' memory, but for the words of quantized ones.",
        minimum=1,
        maximum=256,
    )
    cors: str = setting(
        "",
        "Origin of web pages that may call the server, such as https://example.org; * for all.",
        shown_default="none",
    )
    token_file: str = setting(
        "",
        "File that holds a token, which requests must then bring as Authorization: Bearer TOKEN; "
        "the environment variable UNROLLED_TOKEN does the same.",
        shown_default="none",
    )
    threads: int = setting(2, "Threads of each process.", group="Limits", minimum=1, maximum=1024)
    queue: int = setting(
        256,
        "Requests of a process at a time; more are refused with 429 until one has been answered.",
        minimum=1,
    )
    connections: int = setting(2000, "Connections of a process at a time.", minimum=1)
    max_body: int = setting(8 << 20, "Bytes of a request's body.", minimum=1024)
    max_sentences: int = setting(100_000, "Sentences of a request.", minimum=1)
    max_sentence: int = setting(10_000, "Tokens of a sentence.", minimum=1)
    max_tokens: int = setting(
        20_000, "Tokens of a request that is answered word by word.", minimum=1
    )
    max_words: int = setting(10_000, "Words that a request may have generated.", minimum=1)
    time_limit: float = setting(
        30.0, "Seconds that a request may take, its arrival included.", above=0
    )
    grace: float = setting(
        30.0, "Seconds that running requests have to end in when the server is stopped.", above=0
    )
    reload: float = setting(
        1.0, "Seconds between looks at whether a model's file was replaced.", above=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
