"""Where the shop keeps who its customers are, for `eventcore forget`; each service's tests hold that this is all."""

from __future__ import annotations

from eventcore.events.personal_data import PersonalData, Records

PERSONAL_DATA = PersonalData(
    about="orderId",
    events=("customerId", "email"),
    records=(
        Records("order:*", optional=("customerId", "email")),
        Records("reservation:*", optional=("customerId", "email")),
        Records("notifications:*", required=("recipient",)),
    ),
)
