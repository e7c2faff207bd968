"""What a mail server's reply means for a mail, and what is shown of it."""

from __future__ import annotations

import re

from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from .base import masked, on_one_line
from .errors import ChannelError, ChannelUnavailable, Declined, Refused, Unanswered
from .smtp_url import SmtpUrl

_ENHANCED = re.compile(r"5\.(\d{1,3})\.(\d{1,3})\b")  # RFC 3463: subject and detail, at the beginning of the text
# RFC 3463, 3.2: no such mailbox, no such system, bad syntax, moved without a new address, a domain that takes no mail.
NO_SUCH_RECIPIENT = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10"})
# A full mailbox; the sender's address; a mail system that is full, or off, or not set up (5.3.4: this mail is too big).
MENDED_BY_PEOPLE = frozenset({"2.2", "1.7", "1.8", "3.1", "3.2", "3.3", "3.5"})
NETWORK, PROTOCOL, POLICY = "4", "5", "7"
CREDENTIALS = frozenset({530, 534, 535, 538})
# Without an enhanced code: not enough room, "transaction failed", and what relays say who are not to take this mail.
CODES_OF_THE_RELAY, WORD_OF_THE_RELAY = frozenset({552, 554}), "relay"
SERVICE_CLOSING = 421


def no_success(error: Exception, url: SmtpUrl, recipient: str) -> ChannelError:
    """What it means that a mail was not accepted; the words of the server without the customer's address."""
    match error:
        case SMTPAuthenticationError(code=code):  # some servers repeat what they were sent: not a word of the answer
            return ChannelUnavailable(f"{url} refused the credentials ({code})")
        case SMTPResponseException(code=code, message=answer):
            said = re.sub(re.escape(recipient), masked(recipient), on_one_line(answer), flags=re.IGNORECASE)[:200]
            return _judged(error, answer, f"{url} answered {code} {said}")
        case TimeoutError():
            return ChannelUnavailable(f"{url} did not answer within {url.timeout.total_seconds():g} s", overloaded=True)
        case _:
            return ChannelUnavailable(f"{url}: {on_one_line(str(error))[:200] or type(error).__name__}")


def lost_reply(error: Exception, url: SmtpUrl, recipient: str) -> ChannelError:
    """The same once the whole mail was on its way: without a reply it may have been accepted (RFC 1047)."""
    if isinstance(error, SMTPResponseException) and error.code >= 400:
        return no_success(error, url, recipient)
    return Unanswered(f"{url} gave no reply to a whole mail, it may have arrived: {type(error).__name__}")


def _judged(error: SMTPResponseException, answer: str, message: str) -> ChannelError:
    """Only what is said of this recipient or this mail is held against it; the rest is for the relay's operator."""
    about_this_mail = isinstance(error, SMTPRecipientRefused | SMTPDataError)
    if error.code == SERVICE_CLOSING or error.code in CREDENTIALS or not about_this_mail:
        return ChannelUnavailable(message, overloaded=error.code == SERVICE_CLOSING)
    if error.code < 500:  # greylisting, a mailbox that is busy
        return ChannelUnavailable(message, only_this_one=True)
    enhanced = _ENHANCED.match(answer.strip())
    if enhanced is None:
        relays = error.code in CODES_OF_THE_RELAY or WORD_OF_THE_RELAY in answer.lower()
        return ChannelUnavailable(message, answered=True) if relays else Declined(message)
    subject, detail = enhanced.groups()
    if f"{subject}.{detail}" in NO_SUCH_RECIPIENT:
        return Refused(message)
    if f"{subject}.{detail}" in MENDED_BY_PEOPLE or subject in (NETWORK, PROTOCOL):
        return ChannelUnavailable(message, answered=True)
    if subject == POLICY and isinstance(error, SMTPRecipientRefused):  # after DATA it is about the content
        return ChannelUnavailable(message, answered=True)
    return Declined(message)
