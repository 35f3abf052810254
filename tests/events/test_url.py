"""The URL of a store: what it means, and what is said of one that means nothing."""

from __future__ import annotations

import pytest

from allframe.errors import StoreUnavailable
from allframe.events.store import EventStore
from allframe.events.url import MemoryUrl, SqliteUrl, parse_url


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("memory://", MemoryUrl()),
        ("sqlite:///bank.db", SqliteUrl("bank.db")),
        ("sqlite:///data/bank.db", SqliteUrl("data/bank.db")),
        ("sqlite:////var/lib/bank.db", SqliteUrl("/var/lib/bank.db")),
        ("sqlite:///a%20b%3F%25.db", SqliteUrl("a b?%.db")),
        ("sqlite:///#1 & co.db", SqliteUrl("#1 & co.db")),
        ("sqlite:///a.db?durability=process", SqliteUrl("a.db", durability="process")),
        ("sqlite:///a.db?durability=power&busy_timeout=0.5", SqliteUrl("a.db", busy_timeout=0.5)),
        ("sqlite:///a.db?max_page_count=100", SqliteUrl("a.db", max_page_count=100)),
        ("sqlite:///a.db?mode=ro", SqliteUrl("a.db", readonly=True)),
        ("sqlite:///a.db?mode=rw", SqliteUrl("a.db")),
    ],
)
def test_a_url_names_a_store_and_its_options(url: str, meaning: object) -> None:
    assert parse_url(url) == meaning


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("bank.db", "This is no URL of a store."),
        ("", "This is no URL of a store."),
        ("postgresql://me:secret@host/db", "allframe has no store of the kind 'postgresql'."),
        ("memory://bank", "memory:// has no path and no options."),
        ("memory://?durability=power", "memory:// has no path and no options."),
        ("sqlite://bank.db", "The path of a SQLite store begins after three slashes"),
        ("sqlite://me:secret@host/bank.db", "The path of a SQLite store begins after three slashes"),
        ("sqlite://", "The path of a SQLite store begins after three slashes"),
        ("sqlite:///", "The URL names no file."),
        ("sqlite:///a%00b", "The URL names no file."),
        ("sqlite:///:memory:", "A store without a file is memory://"),
        ("sqlite:///a.db?password=secret", "A SQLite store has no option 'password'."),
        ("sqlite:///a.db?mode=ro&mode=rw", "The option mode is given twice."),
        ("sqlite:///a.db?mode=rwc", "The option mode cannot be 'rwc'."),
        ("sqlite:///a.db?mode", "The option mode cannot be ''."),
        ("sqlite:///a.db?durability=full", "The option durability cannot be 'full'."),
        ("sqlite:///a.db?busy_timeout=-1", "The option busy_timeout cannot be '-1'."),
        ("sqlite:///a.db?busy_timeout=nan", "The option busy_timeout cannot be 'nan'."),
        ("sqlite:///a.db?busy_timeout=soon", "The option busy_timeout cannot be 'soon'."),
        ("sqlite:///a.db?max_page_count=0", "The option max_page_count cannot be '0'."),
        ("sqlite:///a.db?max_page_count=1.5", "The option max_page_count cannot be '1.5'."),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_what_is_supported(url: str, complaint: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        EventStore(url)

    text = str(caught.value)
    assert text.startswith(complaint)
    assert "memory://, sqlite:///relative.db and sqlite:////absolute.db" in text
    assert "durability=power|process, busy_timeout=SECONDS, max_page_count=PAGES and mode=ro|rw" in text
    assert "secret" not in text
    assert caught.value.code == "AF403"
    assert not caught.value.in_doubt
