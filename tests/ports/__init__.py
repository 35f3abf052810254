"""Twenty sagas of public samples, one file for each origin: what `docs/samples.md` is about.

`EXAMPLES` has an instance of each, as `tests.forty.EXAMPLES` has of the forty. What a sample does beyond the process goes to a
`Far` here, which undoes by the key of the call. Those that were refused as they are published stand here as they were mended,
and in `tests.ports.published` as they were.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from allframe import SagaDefinition
from tests.ports import camunda, clouds, cqrs, dbos, eventuate, restate, sage, temporal

__all__ = ["EXAMPLES"]

_ITEMS = [eventuate.LineItem(menu_item="1", name="Chicken Vindaloo", quantity=5)]
_USER = {"user": sage.UserAttributes(email="ada@example.org"), "subscription": sage.SubscriptionAttributes(plan="free")}

#: An instance of each, by its stored name.
EXAMPLES: dict[str, Any] = {
    saga.name if isinstance(saga, SagaDefinition) else type(saga).saga_name: saga
    for saga in (
        temporal.BookTrip(name="trip-1"),
        temporal.MoveMoney(from_account="A", to_account="B", reference="r-1", amount_cents=1000),
        temporal.TransferMoney(amount=54.99, from_account="001-001", to_account="002-002", reference_id="r-1"),
        temporal.OpenAccount(
            account_id="1",
            address=temporal.Address(address1="123 Temporal Street", postal_code="98006"),
            client_email="bart@example.org",
            bank_details=temporal.BankDetails(account_number="123", routing_number="456"),
        ),
        temporal.Transfer(source_account="85-150", target_account="43-812", amount=250, reference_id="12345"),
        sage.CreateAndSubscribeUser(**_USER),
        sage.CreateAndSubscribeUserByHand(**_USER),
        eventuate.CreateOrderWithCredit(
            order_details=eventuate.OrderOfCustomer(customer_id=1, order_total=Decimal("12.34"))
        ),
        eventuate.CreateOrder(
            order_id=1,
            order_details=eventuate.OrderDetails(
                consumer_id=1, restaurant_id=1, line_items=_ITEMS, order_total=Decimal("61.70")
            ),
        ),
        eventuate.CancelOrder(order_id=1, restaurant_id=1, consumer_id=1, order_total=Decimal("61.70")),
        eventuate.ReviseOrder(consumer_id=1, order_id=1, restaurant_id=1, revised_line_items=_ITEMS),
        cqrs.ProcessOrder(
            order_id="1", user_id="1", items=["item_1"], total_amount=100.0, shipping_address="123 Main St"
        ),
        cqrs.ProcessOrderWithFallback(order_id="1", items=["item_1"], total_amount=100.0),
        restate.BookTrip(
            customer_id="12345",
            flight=restate.FlightRequest(flight_id="12345", passenger_name="John Doe"),
            car=restate.CarRequest(pickup_location="Airport", rental_date=date(2024, 12, 16)),
            hotel=restate.HotelRequest(arrival_date=date(2024, 12, 16), departure_date=date(2024, 12, 20)),
        ),
        restate.subscribe("s-1", "Sam", "4111", "p-1", ["Netflix", "Disney+"]),
        dbos.Checkout(),
        camunda.BookTrip(name="trip1"),
        clouds.BookTravel(trip_id="t-1", depart_city="Detroit", arrive_city="Frankfurt", rental="BMW"),
        clouds.ProcessOrder(order_id="1", customer_id="1", product_id="P", quantity=2, amount=Decimal("50.00")),
        clouds.TransferBetweenAccounts(account_from="A", account_to="B", amount=Decimal("100.00")),
    )
}
