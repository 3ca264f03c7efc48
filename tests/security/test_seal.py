"""Seals by themselves: what opens, what does not, and that no key is ever shown."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from windlass import ConfigurationError, Seal
from windlass.broker.memory import MemoryBroker
from windlass.broker.port import Broker
from windlass.broker.sealed import sealed
from windlass.core.job import Entry
from windlass.core.outcome import Succeeded
from windlass.core.seal import instead, refused
from windlass.errors import NotOpened
from windlass.testing.conformance import Conformance
from windlass.testing.conformance.kit import NOW, end, start

KEY, OLD, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
ABOUT = ("body", "an id", "a.task")
MAKERS = pytest.mark.parametrize("make", [Seal.signing, Seal.encrypting], ids=["signing", "encrypting"])
Make = Callable[..., Seal]


class TestSealed(Conformance):
    """A broker behind a seal is a broker like any other."""

    @pytest.fixture
    async def broker(self) -> AsyncIterator[Broker]:
        self.behind = MemoryBroker()
        self.seal = Seal.encrypting({"now": KEY})
        broker = sealed(self.behind, self.seal)
        await broker.open()
        yield broker
        await broker.close()

    @pytest.fixture
    async def second(self, broker: Broker) -> AsyncIterator[Broker]:
        second = sealed(self.behind.sibling(), self.seal)
        yield second
        await second.close()


async def test_an_entry_is_of_one_kind_of_one_attempt_of_one_job() -> None:
    behind = MemoryBroker()
    broker = sealed(behind, Seal.signing({"now": KEY}))
    claim, other = await start(broker), await start(broker)
    line = Entry("chunk", b"1", NOW, attempt=1)
    await broker.append([(claim, [line])], now=NOW)
    reading = await behind.read(claim.id)
    assert reading is not None
    (stored,) = reading.entries
    moved = [replace(stored, attempt=2), replace(stored, kind="log"), stored]
    await behind.append([(claim, moved), (other, [stored])], now=NOW)
    found = [await broker.read(claim.id), await broker.read(other.id)]
    opened = [entry.data for one in found if one is not None for entry in one.entries]
    assert [data == b"1" for data in opened] == [True, False, False, True, False]
    assert all(instead(data).startswith("it was changed") for data in opened if data != b"1")


async def test_success_without_a_result_is_nobodys_word() -> None:
    """A worker that succeeds stores a sealed result, be it null."""
    behind = MemoryBroker()
    broker = sealed(behind, Seal.signing({"now": KEY}))
    forged, true = await start(broker), await start(broker)
    await end(broker, true, Succeeded(b"null"))
    await end(behind, forged, Succeeded(b"null"))
    record = behind._space.jobs[forged.id]
    record.job = replace(record.job, result=None)
    jobs = await broker.get([forged.id, true.id])
    assert [job is not None and job.result == b"null" for job in jobs] == [False, True]
    assert [instead(job.result or b"") for job in jobs if job] == [
        "it is not sealed, and this app takes only what is sealed", ""
    ]  # fmt: skip


# --- what opens ---------------------------------------------------------------------------------------------


@MAKERS
@settings(deadline=None)
@given(data=st.binary(max_size=200), about=st.lists(st.text(max_size=20), max_size=4))
def test_what_was_sealed_opens(make: Make, data: bytes, about: list[str]) -> None:
    seal = make({"now": KEY})
    assert seal.open(seal.seal(data, *about), *about) == data


def test_what_is_signed_can_be_read_and_what_is_encrypted_cannot() -> None:
    assert b"hello world" in Seal.signing({"now": KEY}).seal(b"hello world")
    assert b"hello" not in Seal.encrypting({"now": KEY}).seal(b"hello world")


def test_the_same_bytes_are_never_encrypted_the_same() -> None:
    seal = Seal.encrypting({"now": KEY})
    assert len({seal.seal(b"{}", *ABOUT) for _ in range(200)}) == 200


@MAKERS
def test_the_first_key_seals_and_every_key_opens(make: Make) -> None:
    before, between, after = make({"old": OLD}), make({"new": KEY, "old": OLD}), make({"new": KEY})
    assert between.open(before.seal(b"1", *ABOUT), *ABOUT) == b"1"
    assert after.open(between.seal(b"2", *ABOUT), *ABOUT) == b"2"
    with pytest.raises(NotOpened, match="sealed with the key 'old', which this app does not have"):
        after.open(before.seal(b"1", *ABOUT), *ABOUT)


def test_two_rings_are_one_that_seals_as_the_first() -> None:
    signing, encrypting = Seal.signing({"s": OLD}), Seal.encrypting({"e": KEY})
    both = encrypting | signing
    assert both.open(signing.seal(b"x"), *()) == both.open(encrypting.seal(b"x"), *()) == b"x"
    assert b"plain" not in both.seal(b"plain")
    assert not both.accept_unsealed
    assert (both | Seal.signing({"t": OTHER}, accept_unsealed=True)).accept_unsealed
    with pytest.raises(ConfigurationError, match="two keys have the id s"):
        _ = both | Seal.signing({"s": OTHER})


@MAKERS
def test_what_was_never_sealed_is_refused_unless_it_is_accepted(make: Make) -> None:
    for data in (b'{"args":{}}', b"", b"null"):
        with pytest.raises(NotOpened, match="it is not sealed"):
            make({"now": KEY}).open(data, *ABOUT)
        assert make({"now": KEY}, accept_unsealed=True).open(data, *ABOUT) == data


@MAKERS
def test_a_broken_seal_is_never_accepted_as_unsealed(make: Make) -> None:
    seal = make({"now": KEY}, accept_unsealed=True)
    whole = seal.seal(b"{}", *ABOUT)
    for broken in (whole[:-1], whole[:10], whole[:3], whole[:1], make({"x": OTHER}).seal(b"{}"), b"\0\0because"):
        with pytest.raises(NotOpened):
            seal.open(broken, *ABOUT)


# --- what does not ------------------------------------------------------------------------------------------


@MAKERS
def test_no_other_place(make: Make) -> None:
    seal = make({"now": KEY})
    whole = seal.seal(b"{}", *ABOUT)
    for other in (
        ("result", *ABOUT[1:]),
        ("body", "another id", "a.task"),
        ("body", "an id", "b.task"),
        ("body", "an ida", ".task"),
        ABOUT[:2],
        (),
    ):
        with pytest.raises(NotOpened, match="changed, or made for another job"):
            seal.open(whole, *other)


@MAKERS
def test_no_byte_can_be_changed_taken_away_or_added(make: Make) -> None:
    seal = make({"now": KEY, "old": OLD})
    whole = seal.seal(b'{"args":{"to":"me"},"v":1}', *ABOUT)
    forged = [whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in (1, 0x80)]
    forged += [whole[:end] for end in range(len(whole))] + [whole + b" ", b"\0" + whole]
    for data in forged:
        with pytest.raises(NotOpened):
            seal.open(data, *ABOUT)


def test_the_sealed_bytes_do_not_choose_how_they_are_judged() -> None:
    """No "alg": the same key in another ring is another key, and a signature of nothing is none."""
    signing, encrypting = Seal.signing({"now": KEY}), Seal.encrypting({"now": KEY})
    for one, other in ((signing, encrypting), (encrypting, signing)):
        with pytest.raises(NotOpened):
            one.open(other.seal(b"{}", *ABOUT), *ABOUT)
    head = b"\0\1\3now"
    for mac in (b"", b"\0" * 32, b"none"):
        with pytest.raises(NotOpened):
            signing.open(head + mac + b"{}", *ABOUT)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_open_or_are_refused(data: bytes) -> None:
    for seal in (Seal.signing({"now": KEY}), Seal.encrypting({"now": KEY})):
        for one in (data, b"\0\1" + data, b"\0\1\3now" + data):
            with pytest.raises(NotOpened):
                seal.open(one, *ABOUT)


def test_who_has_no_keys_is_told_what_it_looks_at() -> None:
    whole = Seal.signing({"2026-11": KEY}).seal(b"{}")
    assert instead(whole) == "it is sealed with the key '2026-11', and this program has no keys"
    assert instead(refused(NotOpened("because"))) == "because"
    assert instead(b"{}") == instead(b"") == instead(b"\0\7") == ""


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "at least one key"),
        ({"a": b"short"}, "the key 'a' has 5 bytes; 32 random ones are needed: openssl rand -base64 32"),
        ({"a": ""}, "the key 'a' has 0 bytes"),
        ({"a": "no base64!"}, "the key 'a' is no base64"),
        ({"a": "\u00fc"}, "the key 'a' is no base64"),
        ({"a b": KEY}, "a key's id has"),
        ({"": KEY}, "a key's id has"),
        ({"x" * 33: KEY}, "a key's id has"),
    ],
)
@MAKERS
def test_keys_that_are_none(make: Make, keys: dict[str, bytes | str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make(keys)


def test_aes_wants_exactly_32_bytes() -> None:
    assert Seal.signing({"a": b"x" * 64})
    with pytest.raises(ConfigurationError, match="has 64 bytes; AES-256 takes exactly 32"):
        Seal.encrypting({"a": b"x" * 64})


def spelled(key: bytes) -> str:
    return b64encode(key).decode()


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Seal.from_environment() is None
    monkeypatch.setenv("WINDLASS_SIGNING_KEYS", f"new:{spelled(KEY)}, old:{spelled(OLD)}")
    seal = Seal.from_environment()
    assert seal is not None
    assert seal.open(Seal.signing({"old": OLD}).seal(b"x")) == b"x"
    assert Seal.signing({"new": KEY}).open(seal.seal(b"x")) == b"x"
    monkeypatch.setenv("WINDLASS_ENCRYPTION_KEYS", f"e:{spelled(OTHER)}")
    monkeypatch.setenv("WINDLASS_ACCEPT_UNSEALED", "1")
    both = Seal.from_environment()
    assert both is not None
    assert Seal.encrypting({"e": OTHER}).open(both.seal(b"x")) == b"x"
    assert both.open(seal.seal(b"y")) == b"y"
    assert both.open(b"{}") == b"{}"


@pytest.mark.parametrize(
    "text", ["no colon", "a:%", f"a:{spelled(b'short')}", "a:", f"a:{spelled(KEY)},a:{spelled(OLD)}"]
)
def test_nonsense_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WINDLASS_SIGNING_KEYS", text)
    with pytest.raises(ConfigurationError):
        Seal.from_environment()


def test_no_key_is_ever_shown() -> None:
    keys = {"2026-11": os.urandom(32), "2025-01": os.urandom(32)}
    seal = Seal.encrypting(keys)
    assert repr(seal) == "<Seal 2026-11, 2025-01>"
    shown = f"{seal!r} {seal} {vars(seal)} {seal.__dict__}"
    assert not [key for key in keys.values() if repr(key)[2:-1] in shown or key.hex() in shown or spelled(key) in shown]


@pytest.mark.parametrize("text", ["{key}", "{key}:a", "a:{key}=,b", "{key}{key}:{key}"])
def test_no_key_is_shown_in_an_error_wherever_it_was_put(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    key = spelled(os.urandom(33))  # without "=": it looks like an id
    monkeypatch.setenv("WINDLASS_SIGNING_KEYS", text.format(key=key))
    with pytest.raises(ConfigurationError) as error:
        Seal.from_environment()
    assert key not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_encryption_says_what_it_needs_and_signing_needs_nothing() -> None:
    """`cryptography` is an extra: it is imported when a key for it is given, and not before."""
    code = """if True:
        import sys
        sys.modules["cryptography"] = None
        from windlass import ConfigurationError, Seal, Windlass
        key = b"k" * 32
        assert Seal.signing({"a": key}).open(Seal.signing({"a": key}).seal(b"x")) == b"x"
        Windlass("memory://", seal=Seal.signing({"a": key}))
        try:
            Seal.encrypting({"a": key})
        except ConfigurationError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "encryption needs the package cryptography: pip install 'windlass[crypto]'\n"
